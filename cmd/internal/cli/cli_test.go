package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/cluster/clustertest"
	"github.com/skiff-k8s/skiff/cmd/internal/ui"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/fake"
	"github.com/skiff-k8s/skiff/internal/golden"
	"github.com/skiff-k8s/skiff/internal/host"
	"github.com/skiff-k8s/skiff/store"
)

// testDeps are stand-ins, with a home of their own.
func testDeps(t *testing.T) Deps {
	t.Helper()
	dir := t.TempDir()
	if err := clustertest.Image(t.Context(), filepath.Join(dir, "image")); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{
		"SKIFF_HOME": filepath.Join(dir, "home"), "SKIFF_IMAGE": filepath.Join(dir, "image"), "KUBECONFIG": filepath.Join(dir, "kubeconfig"),
	}
	t.Cleanup(func() { // a long path of a test has its sockets elsewhere
		if home, err := store.Locate(func(name string) string { return env[name] }); err == nil {
			_ = os.RemoveAll(home.Run)
		}
	})
	id := 0
	return Deps{
		Version: "v1.2.3", Commit: "0123abc", Build: BuildStatic, Env: func(name string) string { return env[name] },
		Facts: func() host.Facts { return host.Facts{CPUs: 8, MemoryMiB: 16384, AvailableMiB: 12000} },
		Drivers: func(context.Context, store.Home) func(string) (drivers.Driver, error) {
			return func(string) (drivers.Driver, error) { return fake.New(fake.Options{}), nil }
		},
		AllDrivers: func(store.Home) (auto, named []drivers.Driver) {
			return []drivers.Driver{fake.New(fake.Options{})}, nil
		},
		Agents: clustertest.Agents{}, Kubernetes: clustertest.Kubernetes{},
		NewID: func() string { id++; return strconv.Itoa(id) },
		Now:   func() time.Time { return time.Date(2031, time.May, 4, 12, 0, 0, 0, time.UTC) },
	}
}

func testApp(t *testing.T) *app {
	t.Helper()
	a := &app{deps: testDeps(t), streams: Streams{Out: &bytes.Buffer{}, Err: &bytes.Buffer{}}, ctx: t.Context()}
	a.out = ui.New(a.streams, ui.Options{Env: a.deps.Env})
	return a
}

// TestEvents: the stream of `start -o json`.
func TestEvents(t *testing.T) {
	t.Parallel()
	deps := testDeps(t)
	var out, said bytes.Buffer
	args := []string{"start", "-p", "dev", "--addons", "ingress", "-o", "json", "--keep-context"}
	if code := Main(t.Context(), args, Streams{Out: &out, Err: &said}, deps); code != 0 {
		t.Fatalf("start: got exit code %d, want 0\n%s%s", code, out.String(), said.String())
	}
	golden.Compare(t, filepath.Join("testdata", "events.golden"), blur(out.Bytes()))
	if said.Len() > 0 {
		t.Errorf("stderr: got %q, want nothing", said.String())
	}
}

// blur hides what differs from run to run: IDs, progress, the time it took and the address.
func blur(text []byte) []byte {
	lines := strings.Split(string(text), "\n")
	// How often progress is told depends on the files.
	lines = slices.DeleteFunc(lines, func(line string) bool { return strings.Contains(line, "io.skiff.download") })
	for i, line := range lines {
		if before, rest, ok := strings.Cut(line, `"id":"`); ok {
			_, after, _ := strings.Cut(rest, `"`)
			line = before + `"id":"ID"` + after
		}
		if before, rest, ok := strings.Cut(line, "is ready after "); ok {
			_, after, _ := strings.Cut(rest, ": ")
			line = before + "is ready after TIME: " + after
		}
		if before, rest, ok := strings.Cut(line, "address 127.77."); ok {
			_, after, _ := strings.Cut(rest, ".1.")
			line = before + "address ADDRESS." + after
		}
		lines[i] = line
	}
	return []byte(strings.Join(lines, "\n"))
}

// TestObserved: those who observe are told every event, in order.
func TestObserved(t *testing.T) {
	t.Parallel()
	deps := testDeps(t)
	var kinds []string
	deps.Observe = func(_ context.Context, e cluster.Event) { kinds = append(kinds, string(e.Kind)+" "+e.Step) }
	if code := Main(t.Context(), []string{"start", "-q"}, Streams{Out: &bytes.Buffer{}, Err: &bytes.Buffer{}}, deps); code != 0 {
		t.Fatalf("start: got exit code %d, want 0", code)
	}
	for _, want := range []string{"began create", "ended create", "began wait", "ended wait"} {
		if !slices.Contains(kinds, want) {
			t.Errorf("events: got %v, want %q among them", kinds, want)
		}
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	names := []string{"start", "stop", "status", "ssh", "kubectl", "kubernetes-version"}
	for word, want := range map[string]string{
		"strt": "start", "statu": "status", "kubctl": "kubectl", "kubernetes-vers": "kubernetes-version", "snapshot": "", "": "", "x": "",
	} {
		got := ""
		if near := nearest(word, names); len(near) > 0 {
			got = near[0]
		}
		if got != want {
			t.Errorf("nearest(%q): got %q, want %q", word, got, want)
		}
	}
}

func TestGuestCommand(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ args, want []string }{
		{nil, nil},
		{[]string{"uname"}, []string{"uname"}},
		{[]string{"ls -l | wc"}, []string{"sh", "-c", "ls -l | wc"}},
		{[]string{"echo", "a b"}, []string{"echo", "a b"}},
		{[]string{"sh", "-c", "free -m | head"}, []string{"sh", "-c", "free -m | head"}},
	} {
		if got := guestCommand(test.args); !slices.Equal(got, test.want) {
			t.Errorf("guestCommand(%q): got %q, want %q", test.args, got, test.want)
		}
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		value any
		want  []string
	}{
		{nil, nil}, {"", nil}, {"a", []string{"a"}}, {"a,b", []string{"a", "b"}}, {[]any{"a", 2}, []string{"a", "2"}}, {[]string{"a", ""}, []string{"a"}}, {true, []string{"true"}},
	} {
		if got := words(test.value); !slices.Equal(got, test.want) {
			t.Errorf("words(%v): got %q, want %q", test.value, got, test.want)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	bools := refusedBools()
	for _, one := range refusedFlags() {
		if !strings.HasSuffix(one.way, ".") {
			t.Errorf("--%s: %q is not a sentence", one.name, one.way)
		}
		args := []string{"start", "--" + one.name}
		if !bools[one.name] {
			args = append(args, "value")
		}
		var said bytes.Buffer
		if code := Main(t.Context(), args, Streams{Out: &bytes.Buffer{}, Err: &said}, testDeps(t)); code != 2 || !strings.Contains(said.String(), one.way) {
			t.Errorf("%q: got exit code %d and %q, want 2 and %q", args, code, said.String(), one.way)
		}
	}
}
