package provision

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
)

// keeper is a machine that has a cluster's keys.
type keeper struct{ files map[string][]byte }

func newKeeper(p *PKI) keeper {
	k := keeper{map[string][]byte{}}
	for _, file := range p.Guest() {
		k.files[file.Path] = file.Body
	}
	return k
}

func (k keeper) Run(_ context.Context, cmd machine.Cmd) (machine.Result, error) {
	content, ok := k.files[cmd.Args[1]]
	if !ok || cmd.Args[0] != "cat" {
		return machine.Result{}, &machine.RunError{Cmd: strings.Join(cmd.Args, " "), ExitCode: 1}
	}
	_, err := cmd.Stdout.Write(content)
	return machine.Result{}, err
}

func (keeper) Put(context.Context, string, fs.FileMode, io.Reader) error { return nil }

// provisioned makes the keys of a cluster that has been brought up.
func provisioned(t *testing.T) (dir string, config Config, p *PKI) {
	t.Helper()
	dir, config = t.TempDir(), testConfig()
	p = mustPKI(t, dir, config, time.Now())
	config.Provisioned = true
	return dir, config, p
}

func contentOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(filepath.Join(dir, path))
		all[path] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestWrongClockReplacesNoAuthority(t *testing.T) {
	t.Parallel()
	dir, config, first := provisioned(t)
	before := contentOf(t, dir)
	for name, now := range map[string]time.Time{
		"a day before": time.Now().Add(-24 * time.Hour), "1970": time.Unix(0, 0), "after the authority's end": time.Now().Add(caLife + time.Hour),
	} {
		_, err := EnsurePKI(dir, config, now)
		known, ok := errors.AsType[*fail.Error](err)
		if !ok || known.ID != fail.ClockWrong || known.Next == "" || !strings.Contains(err.Error(), now.Format(time.DateTime)) {
			t.Errorf("%s: got %v, want %s with the clock's time and the command that sets it", name, err, fail.ClockWrong)
		}
		if err := CheckClock("dev", dir, now); !fail.Is(err, fail.ClockWrong) {
			t.Errorf("%s: CheckClock gives %v, want %s", name, err, fail.ClockWrong)
		}
		if !maps.Equal(contentOf(t, dir), before) {
			t.Errorf("%s: files of the cluster have changed", name)
		}
	}
	if err := CheckClock("dev", dir, time.Now()); err != nil {
		t.Errorf("the right clock: %v", err)
	}
	// Within the authority's life certificates come and go with the clock, and the authority stays.
	for _, now := range []time.Time{time.Now().Add(caLife - 24*time.Hour), time.Now()} {
		p, err := EnsurePKI(dir, config, now)
		if err != nil || string(p.ca()) != string(first.ca()) {
			t.Errorf("at %s: got error %v and the authority replaced: %v, want neither", now, err, err == nil)
		}
	}
}

func TestDamagedKeysComeFromTheMachine(t *testing.T) {
	t.Parallel()
	damage := map[string]func(path string) error{
		"missing": os.Remove,
		"garbled": func(path string) error { return os.WriteFile(path, []byte("\x00\x00"), 0o600) },
		"empty":   func(path string) error { return os.Truncate(path, 0) },
	}
	for _, file := range []string{"ca.crt", "ca.key", "front-proxy-ca.crt", "etcd/ca.key", "sa.key"} {
		for name, do := range damage {
			dir, config, p := provisioned(t)
			before := contentOf(t, dir)
			if err := do(filepath.Join(dir, file)); err != nil {
				t.Fatal(err)
			}
			_, err := EnsurePKI(dir, config, time.Now())
			damaged, ok := errors.AsType[*DamagedError](err)
			if !ok || !slices.Equal(damaged.Files, []string{strings.TrimSuffix(file, filepath.Ext(file))}) {
				t.Errorf("%s is %s: got %v, want a DamagedError that names it", file, name, err)
				continue
			}
			if err := Restore(t.Context(), newKeeper(p), damaged); err != nil {
				t.Errorf("%s is %s: restore: %v", file, name, err)
			}
			again, err := EnsurePKI(dir, config, time.Now())
			if err != nil || again.Fingerprint() != p.Fingerprint() || len(again.Renewed) > 0 || !maps.Equal(contentOf(t, dir), before) {
				t.Errorf("%s is %s: got error %v, want all as it was", file, name, err)
			}
		}
	}
}

func TestKeysThatDoNotFitAreNotRestored(t *testing.T) {
	t.Parallel()
	_, _, other := provisioned(t)
	for _, file := range []string{"ca.key", "ca.crt", "sa.key"} {
		for name, change := range map[string]func(k keeper){
			"another's":             func(k keeper) { maps.Copy(k.files, newKeeper(other).files) },
			"missing there as well": func(k keeper) { delete(k.files, pkiDir+"/"+file) },
			"garbled there as well": func(k keeper) { k.files[pkiDir+"/"+file] = []byte("what") },
			"not the one in use": func(k keeper) {
				for _, path := range []string{"/ca.crt", "/ca.key", "/sa.key"} {
					k.files[pkiDir+path] = newKeeper(other).files[pkiDir+path]
				}
			},
		} {
			dir, config, p := provisioned(t)
			// With the host's public half gone only what the machine uses can tell, so it stays but for one case.
			if err := os.Remove(filepath.Join(dir, file)); err != nil {
				t.Fatal(err)
			}
			before := contentOf(t, dir)
			k := newKeeper(p)
			change(k)
			_, err := EnsurePKI(dir, config, time.Now())
			damaged, ok := errors.AsType[*DamagedError](err)
			if !ok {
				t.Fatalf("%s: got %v, want a DamagedError", file, err)
			}
			if file == "ca.crt" && name == "another's" {
				continue // a machine whose keys are all another's, and nothing left here to tell: pushing finds that out
			}
			err = Restore(t.Context(), k, damaged)
			if !fail.Is(err, fail.StateCorrupt) || !strings.Contains(err.Error(), filepath.Join(dir, strings.TrimSuffix(file, filepath.Ext(file)))) {
				t.Errorf("%s is %s: got %v, want %s that names it", file, name, err, fail.StateCorrupt)
			}
			if !maps.Equal(contentOf(t, dir), before) {
				t.Errorf("%s is %s: files have changed", file, name)
			}
		}
	}
}

// TestPushScriptResets runs the script on a machine that has another authority's etcd, or lost the note that says whose it is.
func TestPushScriptResets(t *testing.T) {
	t.Parallel()
	const authority = "3608bca1e44ea6c4d268eb6db02260269892c0b42b86bbf1e77a6fa16c3c9282" // SHA-256 of "xyz"
	for name, test := range map[string]struct {
		ca, provisioned string
		status          int
		reset           bool
	}{
		"new cluster, another's machine":                    {"other", "", 0, true},
		"new cluster, its own machine without the note":     {"xyz", "", 0, false},
		"provisioned, its own machine without the note":     {"xyz", "provisioned", 0, false},
		"provisioned, another's machine":                    {"other", "provisioned", exitForeign, false},
		"provisioned, etcd but no authority on the machine": {"", "provisioned", exitForeign, false},
	} {
		dir := t.TempDir()
		at := func(path string) string { return filepath.Join(dir, path) }
		files := map[string]string{
			"etc/manifests/etcd.yaml": "", "etc/pki/other": "", "lib/config.yaml": "", "resolv.conf": "",
			"bin/systemctl": "#!/bin/sh\n", "bin/kubeadm": "#!/bin/sh\necho \"$@\" >" + at("reset") + "\n", "bin/tar": "#!/bin/sh\n",
		}
		if test.ca != "" {
			files["etc/pki/ca.crt"] = test.ca
		}
		for path, text := range files {
			if err := errors.Join(os.MkdirAll(filepath.Dir(at(path)), 0o700), os.WriteFile(at(path), []byte(text), 0o700)); err != nil {
				t.Fatal(err)
			}
		}
		cmd := pushCommand(t, at, pushArgs{fingerprint: authority, certificates: "keys", provisioned: test.provisioned, node: "skiff"})
		out, err := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != test.status {
			t.Errorf("%s: got status %d (%v: %s), want %d", name, got, err, out, test.status)
		}
		if _, err := os.Stat(at("reset")); (err == nil) != test.reset {
			t.Errorf("%s: the machine was reset: %v, want %v", name, err == nil, test.reset)
		}
	}
}
