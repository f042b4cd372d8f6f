package skiff_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/skiff-k8s/skiff"

// rule forbids an import, direct or through other packages of this module, and says why. What foreign packages import is
// their own business.
//
// Patterns are import paths, those of this module as "./machine". One that ends in "/..." means all below it too, and
// "..." alone is everything but the standard library.
type rule struct {
	from, to string
	why      string
	but      []string // imports that are allowed nevertheless
	except   []string // packages of from that the rule leaves alone
}

// layers is the direction of imports: cmd, dashboard, cluster, then the parts that it puts together, then machine and
// fail. Change a row together with its reason. The linter has the same picture of direct imports (.golangci.yml).
func layers() []rule {
	return []rule{
		{from: "./machine", to: "...", why: "machine is a leaf on the standard library: everyone shares its words"},
		{from: "./tuning", to: "...", why: "drivers and provision both take their part of it, so it knows neither"},
		{from: "./fail", to: "...", why: "every layer makes failures, so fail knows none"},
		{from: "./internal/...", to: "./...", why: "small things without domain meaning", but: []string{"./internal/..."}},
		{from: "./store", to: "./...", why: "it names and writes files, whatever is in them", but: []string{"./fail", "./machine", "./internal/..."}},
		{from: "./config", to: "./...", why: "it holds what the user asked for, not how it is done", but: []string{"./fail", "./machine", "./store", "./internal/..."}},
		{from: "./manifest/...", to: "./...", why: "manifests are text, with or without a cluster", but: []string{"./manifest/...", "./fail", "./machine", "./internal/..."}},

		{from: "./drivers/...", to: "./cluster/...", why: "drivers make machines, not clusters"},
		{from: "./drivers/...", to: "./addons/...", why: "drivers know no Kubernetes"},
		{from: "./drivers/...", to: "./agent/...", why: "drivers are given the socket of a network, whoever runs it"},
		{from: "./drivers/...", to: "./provision/...", why: "drivers know no Kubernetes, and use only its Runner over SSH", but: []string{"./provision/ssh/..."}},
		{from: "./drivers/...", to: "k8s.io/...", why: "drivers know no Kubernetes"},
		{from: "./drivers", to: "./drivers/...", why: "the interface knows none of those who fulfil it"},

		{from: "./provision/ssh/...", to: "./...", why: "drivers use it too, so it knows only machines", but: []string{"./provision/ssh/...", "./machine", "./fail", "./internal/..."}},
		{from: "./provision/...", to: "./drivers/...", why: "provision works on any machine, through its Runner"},
		{from: "./provision/...", to: "./cluster/...", why: "cluster calls provision"},
		{from: "./provision/...", to: "./addons/...", why: "cluster applies addons when provision is done"},

		{from: "./addons/...", to: "./drivers/...", why: "addons need the address of an API server and nothing else"},
		{from: "./addons/...", to: "./provision/...", why: "addons need the address of an API server and nothing else"},
		{from: "./addons/...", to: "./cluster/...", why: "cluster calls addons"},

		{from: "./agent/...", to: "./cluster/...", why: "cluster talks to the agent through its client"},
		{from: "./agent/...", to: "./provision/...", why: "the agent runs the network; what runs in the guest is not its business, but SSH may be the way to it", but: []string{"./provision/ssh/..."}},
		{from: "./agent/...", to: "./addons/...", why: "the agent knows no addons"},

		{from: "./images/...", to: "./cluster/...", why: "images exist without clusters"},
		{from: "./images/...", to: "./drivers/...", why: "images are made without running machines"},

		{from: "./cluster/...", to: "./drivers/...", why: "drivers are handed in by cmd", but: []string{"./drivers"}},
		{from: "./cluster/...", to: "./dashboard/...", why: "the dashboard uses clusters"},
		{from: "./cluster/...", to: "github.com/spf13/...", why: "the domain knows no flags"},

		{from: "./dashboard/...", to: "./drivers/...", why: "the dashboard is handed clusters, and knows no machines", but: []string{"./drivers"}},

		{from: "./doctor/...", to: "./cluster/...", why: "the doctor looks at the parts, also where no cluster can be made of them"},
		{from: "./doctor/...", to: "./drivers/...", why: "drivers are handed in by cmd", but: []string{"./drivers"}},
		{from: "./cluster/...", to: "./doctor/...", why: "clusters tell their own failures; the doctor is for those who ask"},

		{from: "./...", to: "github.com/spf13/...", why: "flags and settings are read in cmd, which fills a config.Config", except: []string{"./cmd/..."}},
		{from: "./...", to: "github.com/schollz/progressbar/...", why: "others send events, cmd/internal/ui draws them", except: []string{"./cmd/..."}},
		{from: "./...", to: "./drivers/builtin", why: "only cmd chooses among drivers", except: []string{"./cmd/..."}},
		{from: "./...", to: "./cmd/...", why: "nothing below knows the commands", except: []string{"./cmd/..."}},
		{from: "./...", to: "C", why: "cgo stays in one driver, so that the rest compiles everywhere", except: []string{"./drivers/libvirt/...", "./drivers/builtin", "./cmd/skiff"}},
		{from: "./...", to: "testing", why: "it would add its flags to the program", except: []string{"./internal/golden", "./drivers/drivertest", "./provision/ssh/sshtest", "./agent/network/networktest", "./test/..."}},
	}
}

func TestImports(t *testing.T) {
	t.Parallel()
	imports, err := readImports(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range layers() {
		if !slices.ContainsFunc(packages(imports), func(name string) bool { return match(row.from, name) }) {
			t.Errorf("no package matches %s: the folder has moved, and the rule with it?", row.from)
		}
	}
	for _, problem := range check(imports, layers()) {
		t.Error(problem)
	}
}

// TestCheck shows that the rules can fail.
func TestCheck(t *testing.T) {
	t.Parallel()
	source := func(imports ...string) string {
		text := "package x\n"
		for _, name := range imports {
			text += fmt.Sprintf("import _ %q\n", name)
		}
		return text
	}
	tests := []struct {
		name  string
		files map[string]string
		rule  rule
		want  string // part of the one problem; empty: none
	}{
		{"direct", map[string]string{"a/a.go": source(module + "/b"), "b/b.go": source()}, rule{from: "./a", to: "./b"}, "./a imports ./b:"},
		{"through another", map[string]string{"a/a.go": source(module + "/b"), "b/b.go": source("example.com/c/d")}, rule{from: "./a", to: "example.com/c/..."}, "./a imports ./b imports example.com/c/d:"},
		{"in the file of another system", map[string]string{"a/a_windows.go": "//go:build windows\n\n" + source("C")}, rule{from: "./...", to: "C"}, "./a imports C:"},
		{"in a cycle", map[string]string{"a/a.go": source(module + "/b"), "b/b.go": source(module+"/a", "example.com/c")}, rule{from: "./a", to: "example.com/c"}, "imports example.com/c"},
		{"allowed", map[string]string{"a/a.go": source(module + "/b/c")}, rule{from: "./a", to: "./b/...", but: []string{"./b/c"}}, ""},
		{"excepted", map[string]string{"a/a.go": source(module + "/b")}, rule{from: "./...", to: "./b", except: []string{"./a"}}, ""},
		{"other direction", map[string]string{"a/a.go": source(), "b/b.go": source(module + "/a")}, rule{from: "./a", to: "./b"}, ""},
		{"only begins alike", map[string]string{"a/a.go": source(module + "/bc")}, rule{from: "./a", to: "./b/..."}, ""},
		{"in a test", map[string]string{"a/a_test.go": source(module + "/b")}, rule{from: "./a", to: "./b"}, ""},
		{"in another module", map[string]string{"a/go.mod": "module y\n", "a/a.go": source(module + "/b")}, rule{from: "./a", to: "./b"}, ""},
		{"foreign", map[string]string{"a/a.go": source("os", "example.com/c")}, rule{from: "./a", to: "..."}, "./a imports example.com/c:"},
		{"standard", map[string]string{"a/a.go": source("os", "net/http")}, rule{from: "./a", to: "..."}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for name, text := range test.files {
				if err := os.MkdirAll(path.Join(dir, path.Dir(name)), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path.Join(dir, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			imports, err := readImports(os.DirFS(dir))
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(check(imports, []rule{test.rule}), "\n")
			if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
				t.Errorf("check: got %q, want it to contain %q", got, test.want)
			}
		})
	}
}

// readImports returns what each package of the module in root imports, tests left out. It reads the files itself: so files
// for other systems count as well, and go test knows that this test depends on all of them when it looks into its cache.
func readImports(root fs.FS) (map[string][]string, error) {
	imports := map[string][]string{}
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name != "." && skipFolder(root, name) {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		found, err := readFile(root, name)
		if err != nil {
			return err
		}
		from := "./" + path.Dir(name)
		imports[from] = append(imports[from], found...)
		return nil
	})
	return imports, err
}

// readFile returns what one file imports.
func readFile(root fs.FS, name string) ([]string, error) {
	content, err := fs.ReadFile(root, name)
	if err != nil {
		return nil, err
	}
	file, err := parser.ParseFile(token.NewFileSet(), name, content, parser.ImportsOnly)
	if err != nil {
		return nil, err
	}
	imports := make([]string, 0, len(file.Imports))
	for _, spec := range file.Imports {
		to, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: import %s: %w", name, spec.Path.Value, err)
		}
		if rest, ours := strings.CutPrefix(to, module+"/"); ours {
			to = "./" + rest
		}
		imports = append(imports, to)
	}
	return imports, nil
}

// skipFolder reports whether the go command would not look into the folder, or finds another module there.
func skipFolder(root fs.FS, name string) bool {
	base := path.Base(name)
	if base == "testdata" || base == "node_modules" || base == "bin" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return true
	}
	_, err := fs.Stat(root, path.Join(name, "go.mod"))
	return err == nil
}

// check returns a line for each package and rule that do not agree, with the chain of imports and the reason.
func check(imports map[string][]string, rules []rule) []string {
	var problems []string
	for _, row := range rules {
		for _, name := range packages(imports) {
			if !match(row.from, name) || matchAny(row.except, name) {
				continue
			}
			if chain := find(imports, []string{name}, row, map[string]bool{name: true}); chain != nil {
				problems = append(problems, fmt.Sprintf("%s: %s", strings.Join(chain, " imports "), row.why))
			}
		}
	}
	return problems
}

// find returns the chain of imports from the last of chain to one that row forbids, or nil.
func find(imports map[string][]string, chain []string, row rule, seen map[string]bool) []string {
	for _, name := range imports[chain[len(chain)-1]] {
		if seen[name] {
			continue
		}
		seen[name] = true
		next := append(slices.Clone(chain), name)
		if name != chain[0] && match(row.to, name) && !matchAny(row.but, name) {
			return next
		}
		if found := find(imports, next, row, seen); found != nil {
			return found
		}
	}
	return nil
}

func match(pattern, name string) bool {
	if pattern == "..." {
		first, _, _ := strings.Cut(name, "/")
		return strings.Contains(first, ".") // the standard library's paths do not begin with a domain
	}
	above, all := strings.CutSuffix(pattern, "/...")
	return name == above || all && strings.HasPrefix(name, above+"/")
}

func matchAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return match(pattern, name) })
}

func packages(imports map[string][]string) []string { return slices.Sorted(maps.Keys(imports)) }
