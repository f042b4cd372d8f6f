package manifest_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/manifest"
)

type builder struct{ err error }

func (b builder) Build(_ context.Context, dir string) ([]byte, error) {
	return []byte("# built from " + dir), b.err
}

// endlessReader is somebody who types without end.
type endlessReader struct{}

func (endlessReader) Read(p []byte) (int, error) { return len(p), nil }

func TestSources(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"b.yaml", "a.json", "c.txt", "d.yml", "sub/e.yaml"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	in := func(files ...string) manifest.Input {
		for i, file := range files {
			if file != "-" && !strings.Contains(file, "//") {
				files[i] = filepath.Join(dir, file)
			}
		}
		return manifest.Input{Files: files, Stdin: strings.NewReader("typed"), Builder: builder{}}
	}
	recursive := in(".")
	recursive.Recursive = true
	both := in("b.yaml")
	both.Kustomize = "k"
	endless := in("-")
	endless.Stdin = endlessReader{}
	for name, tc := range map[string]struct {
		in   manifest.Input
		want []string
		id   fail.ID
	}{
		"order":        {in: in("b.yaml", "-", "a.json"), want: []string{"b.yaml", "stdin", "a.json"}},
		"folder":       {in: in("."), want: []string{"a.json", "b.yaml", "d.yml"}},
		"recursive":    {in: recursive, want: []string{"a.json", "b.yaml", "d.yml", "sub/e.yaml"}},
		"any ending":   {in: in("c.txt"), want: []string{"c.txt"}},
		"pattern":      {in: in("*.y*ml"), want: []string{"b.yaml", "d.yml"}},
		"kustomize":    {in: manifest.Input{Kustomize: "overlay", Builder: builder{}}, want: []string{"overlay"}},
		"absent":       {in: in("x.yaml"), id: fail.ManifestInvalid},
		"no match":     {in: in("x*.yaml"), id: fail.ManifestInvalid},
		"empty":        {in: in("empty"), id: fail.ManifestInvalid},
		"built":        {in: manifest.Input{Kustomize: "overlay", Builder: builder{errors.New("no")}}, id: fail.ManifestInvalid},
		"url":          {in: in("https://example.org/a.yaml"), id: fail.FlagInvalid},
		"remote":       {in: manifest.Input{Kustomize: "https://example.org/a"}, id: fail.FlagInvalid},
		"stdin two":    {in: in("-", "-"), id: fail.FlagInvalid},
		"endless":      {in: endless, id: fail.ManifestInvalid},
		"endless file": {in: manifest.Input{Files: []string{"/dev/zero"}}, id: fail.ManifestInvalid},
		"both":         {in: both, id: fail.FlagInvalid},
		"none":         {in: manifest.Input{}, id: fail.FlagInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			sources, err := manifest.Sources(t.Context(), tc.in)
			if tc.id != "" {
				if !fail.Is(err, tc.id) {
					t.Errorf("got error %v, want one of the kind %s", err, tc.id)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, source := range sources {
				name, relErr := filepath.Rel(dir, source.Name)
				if relErr != nil {
					name = source.Name
				}
				got = append(got, name)
				if want := map[string]string{"stdin": "typed", "overlay": "# built from overlay"}[source.Name]; want == "" && string(source.Data) != name || want != "" && string(source.Data) != want {
					t.Errorf("%s: got content %q", name, source.Data)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Not parallel: a child that another test forks meanwhile could hold the script open for writing (ETXTBSY).
func TestKubectl(t *testing.T) {
	for name, tc := range map[string]struct{ script, want string }{
		"converts":  {`cat >/dev/null; echo '{"items":[{"kind":"A"}]}'`, ""},
		"says why":  {`echo "error: no kind" >&2; exit 1`, "kubectl convert: no kind"},
		"is silent": {`exit 3`, "exit status 3"},
		"garbage":   {`echo hello`, "read its output"},
		"nothing":   {`echo '{}'`, "returned 0 objects for one"},
		"config":    {`test "$KUBECONFIG" = /dev/null && echo '{"items":[{"kind":"A"}]}'`, ""},
		"arguments": {`test "$*" = "convert --local -o json -f -" && echo '{"items":[{"kind":"A"}]}'`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "kubectl")
			if err := os.WriteFile(path, []byte("#!/bin/sh\n"+tc.script+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			out, err := manifest.Kubectl{Path: path}.Convert(t.Context(), []byte("{}"))
			switch {
			case tc.want == "" && (err != nil || string(out) != `{"kind":"A"}`):
				t.Errorf("got %q and error %v, want the object", out, err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("got error %v, want %q", err, tc.want)
			}
		})
	}
}

// TestStdinFolder: a folder as standard input, as of "< manifests/", is the user's mistake.
func TestStdinFolder(t *testing.T) {
	t.Parallel()
	folder, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = folder.Close() }()
	if _, err := manifest.Sources(t.Context(), manifest.Input{Files: []string{"-"}, Stdin: folder}); !fail.Is(err, fail.ManifestInvalid) {
		t.Errorf("got error %v, want %s", err, fail.ManifestInvalid)
	}
}
