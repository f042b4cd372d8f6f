package kubeconfig_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skiff-k8s/skiff/provision/kubeconfig"
)

// named is a kubeconfig whose context, cluster and user have the name dev.
func named(cluster, user string) string {
	return "apiVersion: v1\nkind: Config\ncurrent-context: dev\nclusters:\n- name: dev\n  cluster: " + cluster +
		"\ncontexts:\n- name: dev\n  context: {cluster: dev, user: dev}\nusers:\n- name: dev\n  user: " + user + "\n"
}

// TestForeign: what is not skiff's must outlive Merge and Remove, whatever its name.
func TestForeign(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		before  string
		kinds   string
		context bool
	}{
		"all of it":           {named("{server: \"https://127.9.9.9\"}", "{token: mine}"), "cluster user context", false},
		"another port":        {named("{server: \"https://127.77.3.1:8443\"}", "{token: mine}"), "cluster user context", false},
		"no address of ours":  {named("{server: \"https://127.77.3.2:6443\"}", "{token: mine}"), "cluster user context", false},
		"another authority":   {named("{server: \"https://dev.example.com\", certificate-authority-data: T1RIRVI=}", "{token: mine}"), "cluster user context", false},
		"no server":           {named("{insecure-skip-tls-verify: true}", "{token: mine}"), "cluster user context", false},
		"context":             {"contexts:\n- name: dev\n  context: {cluster: old, user: old}\ncurrent-context: dev\n", "context", true},
		"user":                {"users:\n- name: dev\n  user: {token: mine}\n", "user", false},
		"context and user":    {"contexts:\n- name: dev\n  context: {cluster: dev, user: dev}\nusers:\n- name: dev\n  user: {token: mine}\n", "user context", false},
		"cluster":             {"clusters:\n- name: dev\n  cluster: {server: \"https://dev.example.com\"}\n", "cluster", false},
		"user of another one": {"contexts:\n- name: dev\n  context: {cluster: dev, user: oidc}\n", "context", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "config")
			write(t, path, test.before)
			for call, err := range map[string]error{
				"Conflict": kubeconfig.Conflict(path, "dev", nil),
				"Merge":    kubeconfig.Merge(t.Context(), path, "dev", []byte(own), true),
			} {
				foreign, ok := errors.AsType[*kubeconfig.Foreign](err)
				if !ok || strings.Join(foreign.Kinds, " ") != test.kinds || foreign.ContextOnly != test.context || foreign.File != path {
					t.Errorf("%s: got %+v (%v), want the foreign kinds %q in %s", call, foreign, err, test.kinds, path)
				}
			}
			if seen, err := kubeconfig.Look(path, "dev", []byte(own)); err != nil || seen.Configured || strings.Contains(test.kinds, "context") && seen.Current {
				t.Errorf("Look: got %+v, %v; want nothing of ours", seen, err)
			}
			for _, own := range [][]byte{[]byte(own), nil, []byte("{")} {
				if err := kubeconfig.Remove(t.Context(), path, "dev", own); err != nil {
					t.Error(err)
				}
			}
			if diff := cmp.Diff(test.before, read(t, path)); diff != "" {
				t.Errorf("-before +after:\n%s", diff)
			}
		})
	}
}

// TestOwn: what is skiff's must be known as such while the cluster is there, and after it is gone where the entry alone says so.
func TestOwn(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		before string
		gone   bool // also without the cluster's own kubeconfig
	}{
		"another address":     {named("{server: \"https://127.77.9.1:6443\", certificate-authority-data: Q0E=}", "{token: old}"), true},
		"made anew":           {named("{server: \"https://127.77.3.1:6443\", certificate-authority-data: T0xE}", "{token: old}"), true},
		"moved by the user":   {named("{server: \"https://localhost:7777\", certificate-authority-data: Q0E=}", "{token: old}"), false},
		"its user replaced":   {named("{server: \"https://127.77.3.1:6443\"}", "{exec: {command: login}}"), true},
		"cluster removed":     {"contexts:\n- name: dev\n  context: {cluster: dev, user: dev}\nusers:\n- name: dev\n  user: {client-certificate-data: Q0VSVA==, client-key-data: S0VZ}\n", false},
		"context leads to it": {"clusters:\n- name: dev\n  cluster: {server: \"https://127.77.3.1:6443\"}\ncontexts:\n- name: dev\n  context: {cluster: dev, user: oidc}\n", true},
		"empty":               {"clusters:\n- name: dev\ncontexts:\n- name: dev\n  context: {}\nusers:\n- name: dev\n  user: null\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "config")
			owns := [][]byte{[]byte(own)}
			if test.gone {
				owns = append(owns, nil)
			}
			for _, with := range owns {
				write(t, path, test.before)
				if err := kubeconfig.Conflict(path, "dev", with); err != nil {
					t.Errorf("Conflict: got %v, want none", err)
				}
				if err := kubeconfig.Remove(t.Context(), path, "dev", with); err != nil {
					t.Error(err)
				}
				if got := read(t, path); strings.Contains(got, "dev") {
					t.Errorf("after Remove with a kubeconfig of %d bytes there is still\n%s", len(with), got)
				}
			}
			write(t, path, test.before)
			if err := kubeconfig.Merge(t.Context(), path, "dev", []byte(own), true); err != nil {
				t.Fatal(err)
			}
			if seen, err := kubeconfig.Look(path, "dev", []byte(own)); err != nil || !seen.Configured || !seen.Current {
				t.Errorf("after Merge: got %+v, %v", seen, err)
			}
		})
	}
}

// TestForeignBehind: an entry of another file that skiff's hides must stay, and the current context with it.
func TestForeignBehind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	list := first + string(filepath.ListSeparator) + second
	theirs := named("{server: \"https://dev.example.com\"}", "{token: mine}")
	write(t, first, named("{server: \"https://127.77.3.1:6443\"}", "{token: ours}"))
	write(t, second, theirs)
	if err := kubeconfig.Conflict(list, "dev", nil); err != nil {
		t.Errorf("got %v, want no conflict: the first file counts", err)
	}
	if err := kubeconfig.Remove(t.Context(), list, "dev", nil); err != nil {
		t.Fatal(err)
	}
	if got := read(t, first); strings.Contains(got, "ours") {
		t.Errorf("skiff's entry is still there:\n%s", got)
	}
	if diff := cmp.Diff(theirs, read(t, second)); diff != "" {
		t.Errorf("-before +after:\n%s", diff)
	}
}

// TestFreeName: the name that is offered for a context must be one that kubectl takes.
func TestFreeName(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config")
	write(t, path, "contexts:\n- name: dev\n  context: {cluster: a}\n- name: dev-old\n  context: {cluster: b}\n")
	foreign, ok := errors.AsType[*kubeconfig.Foreign](kubeconfig.Conflict(path, "dev", nil))
	if !ok || foreign.Renamed != "dev-old2" {
		t.Errorf("got %+v, want the name dev-old2", foreign)
	}
}
