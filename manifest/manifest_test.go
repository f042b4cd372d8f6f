package manifest_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/internal/golden"
	"github.com/skiff-k8s/skiff/manifest"
)

const recordings = "testdata/conversions.json"

// updating says whether golden files are to be written; the recordings are, when SKIFF_KUBECTL names the tool.
func updating() bool { return flag.Lookup("update").Value.String() == "true" }

// recorded answers from the file of recordings. With SKIFF_KUBECTL it asks the real tool and compares, so that a recording
// cannot grow stale unseen.
type recorded struct {
	t       *testing.T
	mu      sync.Mutex
	answers map[string]string
	real    *manifest.Kubectl
	asked   map[string]string
}

func newRecorded(t *testing.T) *recorded {
	t.Helper()
	r := &recorded{t: t, answers: map[string]string{}, asked: map[string]string{}}
	data, err := os.ReadFile(recordings)
	if err == nil {
		err = json.Unmarshal(data, &r.answers)
	}
	if err != nil && !updating() {
		t.Fatal(err)
	}
	if path := os.Getenv("SKIFF_KUBECTL"); path != "" {
		r.real = &manifest.Kubectl{Path: path}
	}
	return r
}

func (r *recorded) Convert(ctx context.Context, object []byte) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	answer, ok := r.answers[string(object)]
	if r.real == nil {
		if !ok {
			return nil, errors.New("no recording of this conversion: run with SKIFF_KUBECTL and -update")
		}
	} else {
		out, err := r.real.Convert(ctx, object)
		said := string(out)
		if err != nil {
			said = "error: " + err.Error()
		}
		if said != answer && !updating() {
			r.t.Errorf("the recording is stale: got %s, want %s", said, answer)
		}
		answer = said
	}
	r.asked[string(object)] = answer
	if message, failed := strings.CutPrefix(answer, "error: "); failed {
		return nil, errors.New(message)
	}
	return []byte(answer), nil
}

// save keeps what was asked, in the run that writes golden files.
func (r *recorded) save() {
	if !updating() || r.real == nil {
		return
	}
	data, err := json.MarshalIndent(r.asked, "", " ")
	if err == nil {
		err = os.WriteFile(recordings, append(data, '\n'), 0o644)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// TestRaise raises every file in testdata/raise; the golden file holds the changes, as comments, and the output.
func TestRaise(t *testing.T) {
	conv := newRecorded(t)
	files, err := filepath.Glob("testdata/raise/*.in")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test files: %v", err)
	}
	for _, file := range append(files, "../examples/http-echo.yaml") {
		name := strings.TrimSuffix(filepath.Base(file), ".in")
		t.Run(name, func(t *testing.T) {
			in, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			out, changes, err := manifest.Raise(t.Context(), conv, name, in)
			var got strings.Builder
			for _, change := range changes {
				got.WriteString("# " + change.String() + "\n")
			}
			if err != nil {
				if !fail.Is(err, fail.ManifestInvalid) {
					t.Errorf("got error %v, want one of the kind ManifestInvalid", err)
				}
				got.WriteString("# error: " + err.Error() + "\n")
			}
			got.Write(out)
			golden.Compare(t, filepath.Join("testdata/raise", name+".golden"), []byte(got.String()))

			if strings.Contains(string(in), "\r\n") && strings.Count(string(out), "\r\n") != strings.Count(string(out), "\n") {
				t.Errorf("got %q, want all lines to end as those of the input", out)
			}
			again, changes, err := manifest.Raise(t.Context(), conv, name, out)
			if err != nil || len(changes) > 0 || string(again) != string(out) {
				if len(out) > 0 {
					t.Errorf("raised again: got %d changes and error %v, want the same bytes", len(changes), err)
				}
			}
		})
	}
	conv.save()
}

// The tutorial's three objects, as the issue states what must come of them.
func TestTutorialFile(t *testing.T) {
	t.Parallel()
	in, err := os.ReadFile("../examples/http-echo.yaml")
	if err != nil {
		t.Fatal(err)
	}
	out, changes, err := manifest.Raise(t.Context(), newRecorded(t), "http-echo.yaml", in)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]string, len(changes))
	for i, change := range changes {
		got[i] = change.String()
	}
	want := []string{
		"http-echo.yaml: Deployment default/meow: extensions/v1beta1 -> apps/v1",
		"http-echo.yaml: Ingress default/meow-ingress: extensions/v1beta1 -> networking.k8s.io/v1 (pathType ImplementationSpecific added)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	for _, must := range []string{"pathType: ImplementationSpecific", `ssl-redirect: \"false\"`} {
		if !strings.Contains(string(out), must) {
			t.Errorf("the output lacks %q", must)
		}
	}
	for _, never := range []string{"2147483647", "status", "strategy", "creationTimestamp", "terminationMessagePath"} {
		if strings.Contains(string(out), never) {
			t.Errorf("the output holds %q, which the user did not write", never)
		}
	}
}

func TestRaiseCopiesWhatIsServed(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]string{
		"nothing":    "",
		"comments":   "# only\n---\n# this\n",
		"yaml":       "# a\napiVersion: v1\nkind: Service # b\nmetadata: {name: a}\n---   # c\n\n---\nkind: Pod\napiVersion: v1\n...\n",
		"no newline": "kind: Pod\napiVersion: v1",
		"crlf, bom":  "\xef\xbb\xbf---\r\napiVersion: v1\r\nkind: Pod\r\n---\r\n",
		"inline":     "--- {apiVersion: v1, kind: Pod}\n--- {apiVersion: v1, kind: Pod}\n",
		"json":       "{\"apiVersion\":\"v1\",\"kind\":\"Pod\"}\n {\"apiVersion\":\"v1\",\"kind\":\"Pod\"}\n\n",
		"json, yaml": "{\"apiVersion\":\"v1\",\"kind\":\"Pod\"}\n---\napiVersion: v1\nkind: Pod\n",
		"scalar":     "apiVersion: v1\nkind: ConfigMap\ndata:\n  a: |\n    ---\n    ...\n  b: |\n    --- x\n",
		"directive":  "%YAML 1.2\n---\napiVersion: v1\nkind: Pod\n",
		"list":       "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod} # here\n",
		"custom":     "apiVersion: example.org/v1beta1\nkind: Deployment\nitems: 3\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, changes, err := manifest.Raise(t.Context(), nil, "a.yaml", []byte(in))
			if err != nil || len(changes) > 0 {
				t.Fatalf("got %d changes, error %v, want none", len(changes), err)
			}
			if diff := cmp.Diff(in, string(out)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestRaiseErrors(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ in, want string }{
		"syntax":  {"apiVersion: v1\nkind: Pod\n---\n# here\na: b\n c: [\n", "document at line 5: yaml: line 6"},
		"kind":    {"---\n---\napiVersion: v1\nmetadata: {}\n", "document at line 3: the field kind is missing"},
		"version": {"kind: Pod\n", "Pod: the field apiVersion is missing"},
		"text":    {"hello\n", "document at line 1: not a Kubernetes object"},
		"utf-16":  {"\xff\xfea\x00", "save it as UTF-8"},
		"psp":     {"apiVersion: policy/v1beta1\nkind: PodSecurityPolicy\n", "Pod Security Admission"},
		"crd":     {"apiVersion: apiextensions.k8s.io/v1beta1\nkind: CustomResourceDefinition\n", "structural schema"},
		"item":    {"apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: Pod}, {kind: Pod}]\n", "items[1]: Pod: the field apiVersion"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := manifest.Raise(t.Context(), nil, "a.yaml", []byte(tc.in))
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.HasPrefix(err.Error(), "read manifest a.yaml: ") {
				t.Errorf("got error %v, want %q", err, tc.want)
			}
			if !fail.Is(err, fail.ManifestInvalid) {
				t.Errorf("got error %#v, want the kind ManifestInvalid", err)
			}
		})
	}
}

func TestRaiseStops(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	in := []byte("apiVersion: apps/v1beta1\nkind: Deployment\n")
	_, _, err := manifest.Raise(ctx, manifest.Kubectl{Path: "/bin/sh"}, "a.yaml", in)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want context.Canceled", err)
	}
}

func TestJoin(t *testing.T) {
	t.Parallel()
	pod := `{"apiVersion":"v1","kind":"Pod"}`
	got := manifest.Join([]byte("# empty\n"), []byte("kind: A\n---\n\nkind: B"), []byte("\xef\xbb\xbf"+pod+pod), []byte("---\nkind: C\n---\n"))
	want := "kind: A\n---\n\nkind: B\n---\n" + pod + "\n---\n" + pod + "\n---\nkind: C\n"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
