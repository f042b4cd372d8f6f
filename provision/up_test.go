package provision

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
)

// guest is a Runner without a machine. It tells commands apart by what only they contain.
type guest struct {
	found    found // what the push finds
	kubeadm  error // what kubeadm ends with
	block    bool  // kubeadm waits until it is cancelled
	mu       sync.Mutex
	commands []string
	files    []string
}

func (g *guest) Run(ctx context.Context, cmd machine.Cmd) (machine.Result, error) {
	line := strings.Join(cmd.Args, " ")
	kind := "other"
	switch {
	case strings.Contains(line, "tar -x"):
		kind = "push"
	case strings.Contains(line, "upload-config"):
		kind = "manifests"
	case strings.Contains(line, "kubeadm init"):
		kind = "finish"
	case strings.Contains(line, "../manifests/"):
		kind = "controllers"
	case strings.Contains(line, doneFile):
		kind = "mark"
	}
	g.mu.Lock()
	g.commands = append(g.commands, kind)
	g.mu.Unlock()
	switch kind {
	case "push":
		g.unpack(cmd.Stdin)
		fmt.Fprintln(cmd.Stdout, g.found)
	case "manifests":
		fmt.Fprintln(cmd.Stderr, "kubeadm's last words")
		if g.block {
			<-ctx.Done()
			return machine.Result{}, fmt.Errorf("run: %w", ctx.Err())
		}
		return machine.Result{}, g.kubeadm
	}
	return machine.Result{}, nil
}

func (g *guest) Put(context.Context, string, fs.FileMode, io.Reader) error {
	return errors.New("files are pushed all at once")
}

func (g *guest) unpack(r io.Reader) {
	for archive := tar.NewReader(r); ; {
		header, err := archive.Next()
		if err != nil {
			return
		}
		g.files = append(g.files, header.Name)
	}
}

// newUp returns an up against a fake API server that is ready.
func newUp(t *testing.T, g *guest, log io.Writer) (*up, *fake.Clientset) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") }))
	t.Cleanup(server.Close)
	real, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	objects := fake.NewClientset()
	config := testConfig()
	return &up{
		runner: g, config: config, pki: mustPKI(t, t.TempDir(), config, time.Now()), log: log, report: func(Phase) {},
		client: both{objects, real},
	}, objects
}

// both keeps objects in a fake, whose discovery client cannot ask for paths.
type both struct {
	*fake.Clientset
	real kubernetes.Interface
}

func (b both) Discovery() discovery.DiscoveryInterfaces { return b.real.Discovery() }

func TestUp(t *testing.T) {
	t.Parallel()
	g := &guest{}
	var log bytes.Buffer
	u, objects := newUp(t, g, &log)
	if err := u.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := g.commands; len(got) != 5 || !slices.Equal(got[:2], []string{"push", "manifests"}) || got[4] != "mark" ||
		!slices.Contains(got, "controllers") || !slices.Contains(got, "finish") {
		t.Errorf("got commands %q, want push, manifests, then controllers and finish in any order, then mark", got)
	}
	for _, want := range []string{
		"etc/kubernetes/pki/ca.key", "etc/kubernetes/admin.conf", "etc/kubernetes/skiff/kubeadm.yaml", "etc/kubernetes/skiff/began",
		"var/lib/kubelet/config.yaml", "var/lib/kubelet/kubeadm-flags.env", "var/lib/kubelet/pki/kubelet.key",
	} {
		if !slices.Contains(g.files, want) {
			t.Errorf("%s was not pushed", want)
		}
	}
	if !strings.Contains(log.String(), "kubeadm's last words") {
		t.Errorf("got log %q, want kubeadm's output in it", log.String())
	}
	var created []string
	for _, action := range objects.Actions() {
		if action.GetVerb() == "create" {
			created = append(created, action.GetResource().Resource)
		}
	}
	for _, want := range []string{"daemonsets", "deployments", "services", "configmaps"} {
		if !slices.Contains(created, want) {
			t.Errorf("created %q, want %s among them", created, want)
		}
	}
	if err := u.run(t.Context()); err != nil { // as after an interruption: everything exists
		t.Errorf("second run: %v", err)
	}
}

func TestUpOnDoneMachine(t *testing.T) {
	t.Parallel()
	g := &guest{found: running}
	u, _ := newUp(t, g, io.Discard)
	if err := u.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(g.commands, []string{"push"}) {
		t.Errorf("got commands %q, want nothing but the push", g.commands)
	}
}

func TestUpOnBootedMachine(t *testing.T) {
	t.Parallel()
	g := &guest{found: booted}
	u, _ := newUp(t, g, io.Discard)
	if err := u.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(g.commands, []string{"push", "controllers"}) {
		t.Errorf("got commands %q, want the push, and then the controllers", g.commands)
	}
}

// pushCommand runs pushScript on a machine of which all files are where at says, and the programs in its bin come first.
func pushCommand(t *testing.T, at func(string) string, args pushArgs) *exec.Cmd {
	t.Helper()
	args.done, args.began, args.certificatesFile, args.socket = at("etc/skiff/done"), at("etc/skiff/began"), at("etc/skiff/certificates"), "socket"
	script := strings.NewReplacer(
		"/etc/kubernetes", at("etc"), "/etc/resolv.conf", at("resolv.conf"), "/proc/", at("proc")+"/", "/run/containerd", at("containerd"),
		"/run/systemd/resolve", at("resolve"), "/sys/fs/cgroup", at("cgroup"), "/var/lib/kubelet", at("lib"),
	).Replace(pushScript)
	cmd := exec.CommandContext(t.Context(), "sh", append([]string{"-c", script, "sh"}, args.list()...)...)
	cmd.Env = append(os.Environ(), "PATH="+at("bin")+":"+os.Getenv("PATH"))
	return cmd
}

// TestPushScriptThaws: whoever was to let a machine's control groups go on may be gone.
func TestPushScriptThaws(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(path string) string { return filepath.Join(dir, path) }
	for path, text := range map[string]string{
		"etc/skiff/done": "cluster\n", "etc/skiff/certificates": "keys\n", "etc/manifests/kube-scheduler.yaml": "",
		"cgroup/pods/cgroup.freeze": "1", "cgroup/system.slice/cpu.idle": "1", "bin/systemctl": "#!/bin/sh\n",
	} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(at(path)), 0o700), os.WriteFile(at(path), []byte(text), 0o700)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := pushCommand(t, at, pushArgs{fingerprint: "cluster", certificates: "keys", node: "skiff", frozen: []string{"pods", "none"}})
	out, err := cmd.Output()
	if got := strings.TrimSpace(string(out)); err != nil || found(got) != booted { // as nothing of that name runs here
		t.Errorf("got %q and error %v, want %q", got, err, booted)
	}
	for _, file := range []string{"cgroup/pods/cgroup.freeze", "cgroup/system.slice/cpu.idle"} {
		if got, err := os.ReadFile(at(file)); err != nil || strings.TrimSpace(string(got)) != "0" {
			t.Errorf("%s has %q, error %v, want 0", file, got, err)
		}
	}
}

// containerFiles are what a machine has of a container that runs.
func containerFiles(id, name, namespace, pod string, pid int, group string) map[string]string {
	bundle := "containerd/io.containerd.runtime.v2.task/k8s.io/" + id + "/"
	return map[string]string{
		bundle + "init.pid":                strconv.Itoa(pid),
		bundle + "config.json":             fmt.Sprintf(`{"ociVersion":"1.2.1","annotations":{"io.kubernetes.cri.container-name":%q,"io.kubernetes.cri.container-type":"container","io.kubernetes.cri.sandbox-name":%q,"io.kubernetes.cri.sandbox-namespace":%q}}`, name, pod, namespace),
		fmt.Sprintf("proc/%d/cgroup", pid): group,
		fmt.Sprintf("proc/%d/comm", pid):   name + "\n", // that is what a name tells: nothing
	}
}

// TestPushScriptEndsOwnProcesses: who pushes new certificates ends the cluster's own control plane, and nobody else's.
func TestPushScriptEndsOwnProcesses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(path string) string { return filepath.Join(dir, path) }
	files := map[string]string{
		"etc/skiff/done": "cluster\n", "etc/skiff/certificates": "old keys\n", "etc/manifests/kube-scheduler.yaml": "",
		"bin/systemctl": "#!/bin/sh\necho \"$@\" >>" + at("systemctl") + "\n",
	}
	container := func(id, name, namespace, pod string, group func(pid int) string) *exec.Cmd {
		process := exec.CommandContext(t.Context(), "sleep", "1000")
		if err := process.Start(); err != nil {
			t.Fatal(err)
		}
		pid := process.Process.Pid
		maps.Copy(files, containerFiles(id, name, namespace, pod, pid, group(pid)))
		return process
	}
	in := func(id string) func(int) string {
		return func(int) string { return "0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + id + ".scope\n" }
	}
	own := []*exec.Cmd{
		container("a1", "etcd", "kube-system", "etcd-skiff", in("a1")),
		container("a2", "kube-apiserver", "kube-system", "kube-apiserver-skiff", in("a2")),
		container("a3", "kube-controller-manager", "kube-system", "kube-controller-manager-skiff", in("a3")),
		container("a4", "kube-scheduler", "kube-system", "kube-scheduler-skiff", in("a4")),
	}
	others := map[string]*exec.Cmd{
		"etcd in a user's pod":               container("b1", "etcd", "default", "etcd-skiff", in("b1")),
		"etcd in another pod of kube-system": container("b2", "etcd", "kube-system", "etcd-operator", in("b2")),
		"another container of that pod":      container("b3", "sidecar", "kube-system", "etcd-skiff", in("b3")),
		"a process that has got the number":  container("b4", "etcd", "kube-system", "etcd-skiff", func(int) string { return "0::/user.slice\n" }),
	}
	for path, text := range files {
		if err := errors.Join(os.MkdirAll(filepath.Dir(at(path)), 0o700), os.WriteFile(at(path), []byte(text), 0o700)); err != nil {
			t.Fatal(err)
		}
	}
	packed, err := archive([]File{{Path: at("pushed"), Mode: 0o600, Body: []byte("new")}})
	if err != nil {
		t.Fatal(err)
	}
	cmd := pushCommand(t, at, pushArgs{fingerprint: "cluster", certificates: "new keys", node: "skiff"})
	cmd.Stdin = bytes.NewReader(packed)
	if out, err := cmd.Output(); err != nil || found(strings.TrimSpace(string(out))) != booted {
		t.Errorf("got %q and error %v, want %q: the API server has to come again before the controllers do", out, err, booted)
	}
	for _, process := range own {
		_ = process.Process.Signal(syscall.SIGTERM) // for one that was left alone
		if err := process.Wait(); process.ProcessState.String() != "signal: killed" {
			t.Errorf("a process of the control plane ended with %v, want it killed", err)
		}
	}
	for who, process := range others {
		if err := process.Process.Signal(syscall.SIGTERM); err != nil {
			t.Errorf("%s: %v", who, err)
		}
		if _ = process.Wait(); process.ProcessState.String() != "signal: terminated" {
			t.Errorf("%s: it ended with %v, want it to have lived", who, process.ProcessState)
		}
	}
	if got, err := os.ReadFile(at("systemctl")); err != nil || string(got) != "kill -s KILL kubelet\nstart --no-block kubelet\n" {
		t.Errorf("got %q of systemctl, error %v, want the kubelet's unit killed and started", got, err)
	}
}

func TestKubeadmFails(t *testing.T) {
	t.Parallel()
	u, _ := newUp(t, &guest{kubeadm: &machine.RunError{Cmd: "kubeadm init", ExitCode: 1}}, io.Discard)
	err := u.run(t.Context())
	var failed *fail.Error
	if !errors.As(err, &failed) {
		t.Fatalf("got %v, want a fail.Error", err)
	}
	if failed.ID != fail.KubeadmFailed || failed.Next != "skiff logs -p dev --step kubeadm" || failed.Output != "kubeadm's last words" {
		t.Errorf("got %+v, want KUBEADM_FAILED with the step's log and the last words", failed)
	}
}

func TestUpIsCancelled(t *testing.T) {
	t.Parallel()
	u, _ := newUp(t, &guest{block: true}, io.Discard)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	var failed *fail.Error
	if err := u.run(ctx); !errors.Is(err, context.Canceled) || errors.As(err, &failed) {
		t.Errorf("got %v, want the cancellation and no failure", err)
	}
}

func TestTail(t *testing.T) {
	t.Parallel()
	var kept tail
	for i := range 5000 {
		fmt.Fprintf(&kept, "line %d\n", i)
	}
	lines := strings.Split(string(kept.lines()), "\n")
	if len(lines) != 15 || lines[14] != "line 4999" || len(kept.kept) > tailBytes {
		t.Errorf("got %d lines, the last %q, of %d bytes; want the last 15", len(lines), lines[len(lines)-1], len(kept.kept))
	}
}
