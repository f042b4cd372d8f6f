package provision

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// kubeadm's files, shortened. The second has a variable that kubeadm took from the machine.
const (
	staticPod   = "spec:\n  containers:\n  - command:\n    - etcd\n    - --name=skiff\n    image: registry.k8s.io/etcd:3.7.3\n    volumeMounts:\n    - mountPath: /var/lib/etcd\n"
	staticProxy = "spec:\n  containers:\n  - command:\n    - etcd\n    env:\n    - name: NO_PROXY\n      value: localhost\n    image: registry.k8s.io/etcd:3.7.3\n    volumeMounts:\n    - mountPath: /var/lib/etcd\n"
	flagsFile   = "KUBELET_KUBEADM_ARGS=\"--node-ip=192.168.127.2\"\n"
)

// tuned is text as it is with GOMAXPROCS=1.
func tuned(text string) string {
	const before, pair = "    image:", "    - name: GOMAXPROCS\n      value: \"1\"\n"
	switch {
	case !strings.Contains(text, before):
		return text + "GOMAXPROCS=1\n"
	case strings.Contains(text, "    env:\n"):
		return strings.Replace(text, before, pair+before, 1)
	}
	return strings.Replace(text, before, "    env:\n"+pair+before, 1)
}

// TestPushScriptTunes: a cluster that was made under emulation boots with hardware virtualisation, or the other way round.
func TestPushScriptTunes(t *testing.T) {
	t.Parallel()
	plain := map[string]string{"etc/manifests/etcd.yaml": staticPod, "etc/manifests/kube-scheduler.yaml": staticProxy, "lib/kubeadm-flags.env": flagsFile}
	one := map[string]string{}
	for path, text := range plain {
		one[path] = tuned(text)
	}
	tests := map[string]struct {
		have       map[string]string
		processors string
		running    bool // the API server
		want       map[string]string
		kubelet    string // what is done with it
	}{
		"made under emulation, on hardware":       {one, "", false, plain, "restart"},
		"made on hardware, under emulation":       {plain, "1", false, one, "restart"},
		"hardware as before":                      {plain, "", false, plain, "start"},
		"emulation as before":                     {one, "1", false, one, "start"},
		"it runs already, so it is left as it is": {one, "", true, one, "start"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			at := func(path string) string { return filepath.Join(dir, path) }
			put := func(path, text string) {
				t.Helper()
				if err := errors.Join(os.MkdirAll(filepath.Dir(at(path)), 0o700), os.WriteFile(at(path), []byte(text), 0o700)); err != nil {
					t.Fatal(err)
				}
			}
			for path, text := range test.have {
				put(path, text)
			}
			put("etc/skiff/done", "cluster\n")
			put("etc/skiff/certificates", "keys\n")
			put("proc/1/comm", "systemd\n")
			put("bin/systemctl", "#!/bin/sh\necho \"$1\" >"+at("systemctl")+"\n")
			if test.running {
				group := "0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-a1.scope\n"
				for path, text := range containerFiles("a1", "kube-apiserver", "kube-system", "kube-apiserver-skiff", 7, group) {
					put(path, text)
				}
			}
			cmd := pushCommand(t, at, pushArgs{fingerprint: "cluster", certificates: "keys", provisioned: "provisioned", node: "skiff", processors: test.processors})
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("got %v: %s", err, out)
			}
			for path, want := range test.want {
				if path == "etc/manifests/kube-scheduler.yaml" && !test.running {
					path = "etc/skiff/kube-scheduler.yaml" // it waits for the API server
				}
				if got, err := os.ReadFile(at(path)); err != nil || string(got) != want {
					t.Errorf("%s: got error %v and\n%s\nwant\n%s", path, err, got, want)
				}
			}
			if got, err := os.ReadFile(at("systemctl")); err != nil || strings.TrimSpace(string(got)) != test.kubelet {
				t.Errorf("got the kubelet %q and error %v, want %q", got, err, test.kubelet)
			}
			if _, err := os.Stat(at("etc/skiff/tuned")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a file is left behind: %v", err)
			}
			if entries, err := os.ReadDir(at("etc/manifests")); err != nil || len(entries) > 2 {
				t.Errorf("got %v and error %v in the folder of manifests", entries, err)
			}
		})
	}
}
