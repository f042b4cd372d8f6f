// Package site_test checks the pages of the documentation: every page has a title and can be reached from the first one,
// and every link between pages leads somewhere.
package site_test

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"testing"
	"testing/fstest"
)

const firstPage = "_index.md"

func TestPages(t *testing.T) {
	t.Parallel()
	for _, problem := range check(t, os.DirFS("content")) {
		t.Error(problem)
	}
}

// TestCheck shows that the check can fail.
func TestCheck(t *testing.T) {
	t.Parallel()
	page := func(body string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte("---\ntitle: Page\n---\n" + body)}
	}
	tests := []struct {
		name  string
		pages fstest.MapFS
		want  []string
	}{
		{"good", fstest.MapFS{firstPage: page("[a](a/b.md#top), [web](https://example.com/x)"), "a/b.md": page("[up](../_index.md)")}, nil},
		{"dead link", fstest.MapFS{firstPage: page("[a](b.md)")}, []string{"_index.md: links to b.md, which is not there"}},
		{"no way there", fstest.MapFS{firstPage: page(""), "a.md": page("")}, []string{"a.md: no way leads here from _index.md"}},
		{"no title", fstest.MapFS{firstPage: {Data: []byte("# Page\n")}}, []string{"_index.md: begins without a title"}},
		{"an example is no link", fstest.MapFS{firstPage: page("```\n[a](b.md)\n```\n`[a](c.md)`\n")}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := check(t, test.pages); !slices.Equal(got, test.want) {
				t.Errorf("check: got %q, want %q", got, test.want)
			}
		})
	}
}

// check returns one line for everything that is wrong with the pages.
func check(t *testing.T, content fs.FS) []string {
	t.Helper()
	title := regexp.MustCompile(`\A---\n(?:[a-z]+: .*\n)*?title: .+\n(?:[a-z]+: .*\n)*---\n`)
	code := regexp.MustCompile("(?ms)^```.*?^```|`[^`\n]*`")
	link := regexp.MustCompile(`\]\(([^)#\s:]+)(?:#[^)]*)?\)`) // no colon: pages, not the web

	var problems []string
	links := map[string][]string{}
	err := fs.WalkDir(content, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || path.Ext(name) != ".md" {
			return err
		}
		text, err := fs.ReadFile(content, name)
		if err != nil {
			return err
		}
		if !title.Match(text) {
			problems = append(problems, name+": begins without a title")
		}
		links[name] = nil
		for _, found := range link.FindAllStringSubmatch(code.ReplaceAllString(string(text), ""), -1) {
			target := path.Join(path.Dir(name), found[1])
			if _, err := fs.Stat(content, target); err != nil {
				problems = append(problems, fmt.Sprintf("%s: links to %s, which is not there", name, found[1]))
			}
			links[name] = append(links[name], target)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range links {
		if !reachable(links, firstPage, name) {
			problems = append(problems, fmt.Sprintf("%s: no way leads here from %s", name, firstPage))
		}
	}
	slices.Sort(problems)
	return problems
}

func reachable(links map[string][]string, from, to string) bool {
	seen := map[string]bool{from: true}
	for todo := []string{from}; len(todo) > 0; todo = todo[1:] {
		for _, name := range links[todo[0]] {
			if !seen[name] {
				seen[name] = true
				todo = append(todo, name)
			}
		}
	}
	return seen[to]
}
