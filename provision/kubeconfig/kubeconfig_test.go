package kubeconfig_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/internal/golden"
	"github.com/skiff-k8s/skiff/provision/kubeconfig"
)

const own = `apiVersion: v1
kind: Config
current-context: admin@dev
contexts:
- name: admin@dev
  context: {cluster: kubernetes, user: admin}
clusters:
- name: kubernetes
  cluster:
    server: https://127.77.3.1:6443
    certificate-authority-data: Q0E=
users:
- name: admin
  user:
    client-certificate-data: Q0VSVA==
    client-key-data: S0VZ
`

const others = `# kept by hand
apiVersion: v1
kind: Config
current-context: prod # careful
preferences: {colors: true}
clusters:
- cluster:
    server: https://prod.example.com
    x-unknown: [1, "2"]
  name: prod
contexts:
- context: {cluster: prod, user: prod, namespace: web}
  name: prod
users:
- name: prod
  user:
    exec: {apiVersion: client.authentication.k8s.io/v1, command: login, args: ["0755"]}
x-other-tool: "yes"
`

func TestMerge(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		before     string
		setCurrent bool
	}{
		"new":         {"", true},
		"others":      {others, true},
		"keep":        {others, false},
		"nulls":       {"apiVersion: v1\nkind: Config\nclusters: null\ncontexts: []\nusers:\ncurrent-context: \"\"\n", true},
		"outdated":    {named("{server: \"https://127.77.9.1:6443\"}", "{token: old}") + "x-mine: 1\n", true},
		"json":        {`{"apiVersion":"v1","kind":"Config","clusters":[{"name":"a","cluster":{"server":"https://a"}}]}`, true},
		"with prefs":  {"# empty but for this\n", true},
		"own context": {"contexts:\n- name: dev\n  context: {cluster: dev, user: dev, namespace: mine}\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "sub", "config")
			if test.before != "" {
				write(t, path, test.before)
			}
			for range 2 {
				if err := kubeconfig.Merge(t.Context(), path, "dev", []byte(own), test.setCurrent); err != nil {
					t.Fatal(err)
				}
			}
			got := read(t, path)
			golden.Compare(t, "testdata/"+strings.ReplaceAll(name, " ", "-")+".golden", []byte(got))
			seen, err := kubeconfig.Look(path, "dev", []byte(own))
			if want := (kubeconfig.Seen{Configured: true, Current: test.setCurrent}); err != nil || seen != want {
				t.Errorf("Look: got %+v, %v; want %+v", seen, err, want)
			}
			if info, _ := os.Stat(path); info.Mode() != 0o600 {
				t.Errorf("got mode %v, want 0600", info.Mode())
			}
			if _, err := os.Stat(path + ".lock"); err == nil {
				t.Error("the lock is still there")
			}
			if err := kubeconfig.Remove(t.Context(), path, "dev", nil); err != nil {
				t.Fatal(err)
			}
			if seen, err := kubeconfig.Look(path, "dev", []byte(own)); err != nil || seen != (kubeconfig.Seen{}) {
				t.Errorf("Look after Remove: got %+v, %v; want nothing", seen, err)
			}
		})
	}
}

// Merge and Remove must give back what was there, comments included.
func TestOthersStay(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config")
	write(t, path, others)
	if err := kubeconfig.Merge(t.Context(), path, "dev", []byte(own), false); err != nil {
		t.Fatal(err)
	}
	if err := kubeconfig.Remove(t.Context(), path, "dev", nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(others, read(t, path)); diff != "" {
		t.Errorf("-before +after:\n%s", diff)
	}
}

func TestSeveralFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	missing, first, second := filepath.Join(dir, "missing"), filepath.Join(dir, "first"), filepath.Join(dir, "second")
	list := strings.Join([]string{missing, first, second, "", first}, string(filepath.ListSeparator))
	write(t, first, others)
	write(t, second, "contexts:\n- name: dev\n  context: {cluster: dev, user: dev}\n")
	if err := kubeconfig.Merge(t.Context(), list, "dev", []byte(own), true); err != nil {
		t.Fatal(err)
	}
	rules := clientcmd.ClientConfigLoadingRules{Precedence: filepath.SplitList(list)}
	merged, err := rules.Load() // as kubectl does
	if err != nil {
		t.Fatal(err)
	}
	context := merged.Contexts["dev"]
	switch {
	case merged.CurrentContext != "dev":
		t.Errorf("got current context %q, want dev", merged.CurrentContext)
	case context == nil || context.LocationOfOrigin != second:
		t.Errorf("got context %+v, want it in the file that had it", context)
	case merged.Clusters["dev"].LocationOfOrigin != first:
		t.Errorf("got cluster in %q, want it in the first file that exists", merged.Clusters["dev"].LocationOfOrigin)
	case merged.Contexts["prod"] == nil:
		t.Error("another context is gone")
	}
	if _, err := os.Stat(missing); err == nil {
		t.Error("a file that was not there was made")
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		content string
		want    fail.ID
	}{
		"no yaml":        {"{", fail.KubeconfigUnreadable},
		"binary":         {"\x00\x01", fail.KubeconfigUnreadable},
		"list":           {"- a\n", fail.KubeconfigUnreadable},
		"wrong type":     {"clusters: 3\n", fail.KubeconfigUnreadable},
		"wrong kind":     {"apiVersion: v1\nkind: Pod\n", fail.KubeconfigUnreadable},
		"two documents":  {own + "---\n" + own, fail.KubeconfigUnreadable},
		"list by anchor": {"x: &a []\nclusters: *a\n", fail.KubeconfigUnreadable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "config")
			write(t, path, test.content)
			for call, err := range map[string]error{
				"Merge":  kubeconfig.Merge(t.Context(), path, "dev", []byte(own), true),
				"Remove": kubeconfig.Remove(t.Context(), path, "dev", nil),
				"Check":  kubeconfig.Check(path),
			} {
				if !fail.Is(err, test.want) {
					t.Errorf("%s: got %v, want %s", call, err, test.want)
				}
			}
			if got := read(t, path); got != test.content {
				t.Errorf("the file was changed to %q", got)
			}
		})
	}
}

func TestNotWritable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "file"), "")
	path := filepath.Join(dir, "file", "config") // not even root can make that
	if err := kubeconfig.Merge(t.Context(), path, "dev", []byte(own), true); err == nil {
		t.Error("got no error for a path below a file")
	}
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere")
	}
	path = filepath.Join(dir, "config")
	write(t, path, others)
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(dir, 0o700) })
	for call, err := range map[string]error{
		"Check": kubeconfig.Check(path), "Merge": kubeconfig.Merge(t.Context(), path, "dev", []byte(own), true),
	} {
		if !fail.Is(err, fail.KubeconfigNotWritable) {
			t.Errorf("%s: got %v, want %s", call, err, fail.KubeconfigNotWritable)
		}
	}
}

func TestSymbolicLink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	link, real := filepath.Join(dir, "link"), filepath.Join(dir, "real")
	if err := os.Symlink("real", link); err != nil {
		t.Fatal(err)
	}
	for _, before := range []string{"", others} { // a link to nothing as well
		if before != "" {
			write(t, real, before)
		}
		if err := kubeconfig.Merge(t.Context(), link, "dev", []byte(own), true); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
			t.Errorf("got %v, %v; want the link to stay", info, err)
		}
		if !strings.Contains(read(t, real), "127.77.3.1") {
			t.Error("the target of the link was not changed")
		}
	}
}

func TestLock(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config")
	write(t, path, others)
	write(t, path+".lock", "")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := kubeconfig.Merge(ctx, path, "dev", []byte(own), true); !fail.Is(err, fail.KubeconfigNotWritable) {
		t.Errorf("got %v, want it to wait for the lock and give up", err)
	}
	go func() {
		time.Sleep(50 * time.Millisecond)
		_ = os.Remove(path + ".lock")
	}()
	if err := kubeconfig.Merge(t.Context(), path, "dev", []byte(own), true); err != nil {
		t.Errorf("got %v, want success once the lock is free", err)
	}
}

func FuzzMerge(f *testing.F) {
	for _, seed := range []string{"", own, others, "clusters: null\n", "a: &x {b: 1}\nc: *x\n", "users: [{name: dev}]\n", "{}", "null", "? a\n: b\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "config")
		write(t, path, string(content))
		if err := kubeconfig.Merge(t.Context(), path, "dev", []byte(own), true); err != nil {
			if got := read(t, path); got != string(content) {
				t.Errorf("Merge failed with %v and changed the file to %q", err, got)
			}
			return
		}
		if seen, err := kubeconfig.Look(path, "dev", []byte(own)); err != nil || !seen.Configured || !seen.Current {
			t.Errorf("after Merge: got %+v, %v from\n%s", seen, err, read(t, path))
		}
		before, after := unrelated(t, content), unrelated(t, []byte(read(t, path)))
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("Merge changed what is not ours: -before +after\n%s", diff)
		}
	})
}

// unrelated is what a kubeconfig says besides our entry.
func unrelated(t *testing.T, content []byte) map[string]any {
	var all map[string]any
	if err := yaml.Unmarshal(content, &all); err != nil {
		t.Fatal(err)
	}
	left := map[string]any{}
	for key, value := range all {
		if list, ok := value.([]any); ok {
			var kept []any
			for _, item := range list {
				if m, ok := item.(map[string]any); !ok || m["name"] != "dev" {
					kept = append(kept, item)
				}
			}
			value = kept
		}
		switch key {
		case "apiVersion", "kind", "current-context":
			continue
		case "clusters", "users", "contexts":
			if list, _ := value.([]any); len(list) == 0 {
				continue
			}
		}
		left[key] = value
	}
	return left
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
