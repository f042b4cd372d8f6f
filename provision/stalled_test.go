package provision

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision/symptom"
)

// journal is a Runner whose machine has logs.
type journal struct {
	text  string
	takes time.Duration // the time that reading takes
	hangs bool          // it ends long after it was told to

	mu    sync.Mutex
	times []time.Duration // when it was read, since the first command
	backs []string        // how far back
	began time.Time
}

func newJournal(text string) *journal { return &journal{text: text, began: time.Now()} }

func (j *journal) Run(ctx context.Context, cmd machine.Cmd) (machine.Result, error) {
	j.mu.Lock()
	j.times, j.backs = append(j.times, time.Since(j.began)), append(j.backs, cmd.Args[len(cmd.Args)-1])
	j.mu.Unlock()
	if j.hangs {
		<-ctx.Done()
		time.Sleep(time.Hour)
		return machine.Result{}, ctx.Err()
	}
	select {
	case <-time.After(j.takes):
	case <-ctx.Done():
		return machine.Result{}, ctx.Err()
	}
	_, err := io.WriteString(cmd.Stdout, j.text)
	return machine.Result{}, err
}

func (j *journal) Put(context.Context, string, fs.FileMode, io.Reader) error {
	return errors.ErrUnsupported
}

func (j *journal) read() ([]time.Duration, []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.times), slices.Clone(j.backs)
}

const (
	lost  = "@@ process containerd\n@@ process kubelet\n@@ unit kubelet\n" + `E1130 08:44:28.293055     760 kuberuntime_sandbox.go:47] "Failed to generate sandbox config for pod" err="open /etc/resolv.conf: no such file or directory" pod="kube-system/etcd-skiff"` + "\n"
	calm  = "@@ process containerd\n@@ process kubelet\n@@ process etcd\n@@ process kube-apiserver\n"
	lacks = "the API server does not answer yet"
)

// watched waits with wait, and returns what was said meanwhile.
func watched(ctx context.Context, j *journal, wait func(context.Context, func()) error) (said []string, err error) {
	config := testConfig()
	config.Stalled = func(text string) { said = append(said, text) }
	w := watcher{runner: j, config: config, op: "wait", lacks: func() string { return lacks }}
	err = w.during(ctx, wait)
	return said, err
}

// forever is a wait for what never comes.
func forever(ctx context.Context, _ func()) error {
	<-ctx.Done()
	return ctx.Err()
}

func after(limit time.Duration) func(context.Context, func()) error {
	return func(ctx context.Context, _ func()) error {
		select {
		case <-time.After(limit):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// TestFinalReason: what cannot get better ends the wait soon, and says what to do.
func TestFinalReason(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		said, err := watched(t.Context(), newJournal(lost), forever)
		known, ok := errors.AsType[*fail.Error](err)
		const text = "the machine has no /etc/resolv.conf, and without it the kubelet starts no pod"
		if !ok || known.ID != fail.NodeFailed || known.Err.Error() != text || !strings.Contains(known.Hint, "nameserver") || known.Next == "" {
			t.Errorf("got %+v, want %s, which says %q", err, fail.NodeFailed, text)
		}
		if took := time.Since(began); took != patience+lookTick {
			t.Errorf("it took %s, want %s", took, patience+lookTick)
		}
		if want := []string{lacks + ": " + text}; !slices.Equal(said, want) {
			t.Errorf("got %q said, want it once: %q", said, want)
		}
	})
}

// TestLooks: a wait with progress reads no logs, whatever time it takes; one without reads them at a pace that leaves the machine
// its time.
func TestLooks(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		takes time.Duration
		wait  func(context.Context, func()) error
		want  []time.Duration
		backs []string
	}{
		"quick": {0, after(patience - time.Second), nil, nil},
		"slow, with progress": {0, func(ctx context.Context, progress func()) error {
			for range 10 {
				if err := after(patience-time.Second)(ctx, nil); err != nil {
					return err
				}
				progress()
			}
			return nil
		}, nil, nil},
		"without":           {0, after(31 * time.Second), []time.Duration{20 * time.Second, 25 * time.Second, 30 * time.Second}, []string{"20", "5", "5"}},
		"on a slow machine": {2 * time.Second, after(65 * time.Second), []time.Duration{20 * time.Second, 42 * time.Second, 64 * time.Second}, []string{"20", "22", "22"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				j := newJournal(calm)
				j.takes = test.takes
				if _, err := watched(t.Context(), j, test.wait); err != nil {
					t.Error(err)
				}
				if times, backs := j.read(); !slices.Equal(times, test.want) || !slices.Equal(backs, test.backs) {
					t.Errorf("the logs were read after %v, looking back %v; want %v and %v", times, backs, test.want, test.backs)
				}
			})
		})
	}
}

// TestSilentMachine: a machine that does not answer keeps nobody, whether what is waited for comes or not.
func TestSilentMachine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := newJournal("")
		j.hangs = true
		began := time.Now()
		said, err := watched(t.Context(), j, after(25*time.Second))
		if took := time.Since(began); err != nil || took != 25*time.Second || len(said) != 0 {
			t.Errorf("got error %v and %q after %s, want the wait's own end after 25s", err, said, took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
		defer cancel()
		began = time.Now()
		if _, err = watched(ctx, j, forever); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 25*time.Second {
			t.Errorf("got error %v after %s, want the end of its time", err, time.Since(began))
		}
		time.Sleep(2 * time.Hour) // until the commands have ended
	})
}

// TestNothingIsSaidAfterTheWait: who is told draws on a terminal on which the next step is drawn then.
func TestNothingIsSaidAfterTheWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := newJournal(lost)
		j.takes = 5 * time.Second // it is read when the wait ends
		said, err := watched(t.Context(), j, after(22*time.Second))
		if time.Sleep(time.Minute); err != nil || len(said) != 0 {
			t.Errorf("got error %v and %q, want neither", err, said)
		}
	})
}

// TestUpSaysWhyTheAPIServerDoesNotCome holds Up to it: without /etc/resolv.conf start waited for minutes.
func TestUpSaysWhyTheAPIServerDoesNotCome(t *testing.T) {
	t.Parallel()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: "http://127.0.0.1:1"}) // where nobody listens
	if err != nil {
		t.Fatal(err)
	}
	pki := mustPKI(t, t.TempDir(), testConfig(), time.Now())
	for _, state := range []found{fresh, booted} {
		synctest.Test(t, func(t *testing.T) {
			j := newJournal(lost)
			u := &up{runner: withLogs{&guest{found: state}, j}, config: testConfig(), pki: pki, client: client, log: io.Discard, report: func(Phase) {}}
			if err := u.run(t.Context()); !fail.Is(err, fail.NodeFailed) {
				t.Errorf("%q: got error %v, want %s", state, err, fail.NodeFailed)
			}
		})
	}
}

// withLogs is a guest that has logs.
type withLogs struct {
	*guest
	logs *journal
}

func (b withLogs) Run(ctx context.Context, cmd machine.Cmd) (machine.Result, error) {
	if slices.Contains(cmd.Args, symptom.Script) {
		return b.logs.Run(ctx, cmd)
	}
	return b.guest.Run(ctx, cmd)
}

// TestConditionsSayWhyTheyDoNotHold: the wait for a usable cluster names what is missing as the API server tells it.
func TestConditionsSayWhyTheyDoNotHold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		node := newCondition("node skiff is Ready", func(ctx context.Context, note func(error) error) error {
			problem := note(errors.New("KubeletNotReady: cni plugin not initialized"))
			<-ctx.Done()
			return problem
		})
		quick := newCondition("the default service account exists", func(context.Context, func(error) error) error { return nil })
		config := testConfig()
		var said []string
		config.Stalled = func(text string) { said = append(said, text) }
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := Wait(ctx, config, nil, []Condition{node, quick}, nil) // as after a resume
		if !fail.Is(err, fail.WaitTimeout) {
			t.Errorf("got error %v, want %s", err, fail.WaitTimeout)
		}
		if want := []string{"not true yet: node skiff is Ready (KubeletNotReady: cni plugin not initialized)"}; !slices.Equal(said, want) {
			t.Errorf("got %q, want %q", said, want)
		}
	})
}

// TestLookScript runs the script, so that it is one.
func TestLookScript(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(path string) string { return filepath.Join(dir, path) }
	pod := "pods/kube-system_etcd-skiff_0123/etcd/"
	for path, text := range map[string]string{
		"proc/7/comm": "etcd\n", "proc/8/comm": "bash\n", pod + "0.log": "old\n", pod + "1.log": "2026-11-30T08:44:59.5Z stderr F {\"level\":\"fatal\",\"msg\":\"no\"}\n",
		"bin/journalctl": "#!/bin/sh\ncase \"$*\" in *'-u kubelet --since 7 seconds ago'*) echo 'I1130 fine'; echo 'E1130 bad'; echo 'E1130 node is not registered yet';; esac\n",
	} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(at(path)), 0o700), os.WriteFile(at(path), []byte(text), 0o700)); err != nil {
			t.Fatal(err)
		}
	}
	script := strings.NewReplacer("/proc", at("proc"), "/var/log/pods", at("pods")).Replace(symptom.Script)
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script, "sh", "7")
	cmd.Env = append(os.Environ(), "PATH="+at("bin")+":"+os.Getenv("PATH"))
	printed, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	_, out, _ := strings.Cut(string(printed), "\n") // the time
	want := "@@ process etcd\n@@ unit containerd\n@@ unit kubelet\nE1130 bad\n"
	if rest, ok := strings.CutPrefix(out, want); !ok || !strings.Contains(rest, "@@ container etcd "+at(pod+"1.log")+"\n2026") {
		t.Errorf("got %q, want %q and the container's logs", out, want)
	}
}

// TestPushScriptFindsDNSServers: the kubelet starts no pod without a file that names them, and pods cannot use systemd-resolved's.
func TestPushScriptFindsDNSServers(t *testing.T) {
	t.Parallel()
	const user = "resolvConf: /mine\n"
	for name, test := range map[string]struct {
		files  []string // that there are
		stub   bool     // /etc/resolv.conf is a link to systemd-resolved's
		config string   // of the kubelet, before
		want   string   // the file that it gets; empty: none
		status int
	}{
		"a file":                        {files: []string{"resolv.conf"}},
		"systemd-resolved":              {files: []string{"resolve/stub-resolv.conf", "resolve/resolv.conf"}, stub: true, want: "resolve/resolv.conf"},
		"systemd-resolved, not linked":  {files: []string{"resolve/resolv.conf"}, want: "resolve/resolv.conf"},
		"none":                          {status: exitNoResolvConf},
		"a link to nothing":             {stub: true, status: exitNoResolvConf},
		"none, but the user's own":      {config: user},
		"a file, beside systemd's list": {files: []string{"resolv.conf", "resolve/resolv.conf"}},
	} {
		dir := t.TempDir()
		at := func(path string) string { return filepath.Join(dir, path) }
		files := map[string]string{"lib/config.yaml": test.config, "bin/tar": "#!/bin/sh\n", "bin/systemctl": "#!/bin/sh\necho >" + at("started") + "\n", "resolve/x": ""}
		for _, path := range test.files {
			files[path] = ""
		}
		for path, text := range files {
			if err := errors.Join(os.MkdirAll(filepath.Dir(at(path)), 0o700), os.WriteFile(at(path), []byte(text), 0o700)); err != nil {
				t.Fatal(err)
			}
		}
		if test.stub {
			if err := os.Symlink(at("resolve/stub-resolv.conf"), at("resolv.conf")); err != nil {
				t.Fatal(err)
			}
		}
		cmd := pushCommand(t, at, pushArgs{fingerprint: "cluster", certificates: "keys"})
		out, err := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != test.status {
			t.Errorf("%s: got status %d (%v: %s), want %d", name, got, err, out, test.status)
		}
		want := test.config
		if test.want != "" {
			want = "resolvConf: " + at(test.want) + "\n"
		}
		if got, err := os.ReadFile(at("lib/config.yaml")); err != nil || string(got) != want {
			t.Errorf("%s: the kubelet has %q (%v), want %q", name, got, err, want)
		}
		if _, err := os.Stat(at("started")); (err == nil) != (test.status == 0) {
			t.Errorf("%s: the kubelet was started: %v, want %v", name, err == nil, test.status == 0)
		}
	}
}

// TestPushScriptStopsAnOldKubelet: one of a start that failed has read the files of that start, so it starts after the new ones are
// there.
func TestPushScriptStopsAnOldKubelet(t *testing.T) {
	t.Parallel()
	for began, want := range map[string]string{"": "start", "other": "start", "cluster": "stop"} {
		dir := t.TempDir()
		at := func(path string) string { return filepath.Join(dir, path) }
		for path, text := range map[string]string{
			"etc/skiff/began": began + "\n", "lib/config.yaml": "", "resolv.conf": "", "etc/manifests/kube-controller-manager.yaml": "", "etc/manifests/kube-scheduler.yaml": "",
			"bin/systemctl": "#!/bin/sh\necho \"$@\" >>" + at("did") + "\n", "bin/tar": "#!/bin/sh\n", "bin/kubeadm": "#!/bin/sh\n",
		} {
			if err := errors.Join(os.MkdirAll(filepath.Dir(at(path)), 0o700), os.WriteFile(at(path), []byte(text), 0o700)); err != nil {
				t.Fatal(err)
			}
		}
		in := strings.NewReplacer("/etc/kubernetes", at("etc"), "/var/lib/kubelet", at("lib"), "/etc/resolv.conf", at("resolv.conf"))
		for _, script := range []string{pushScript, deferScript} {
			cmd := exec.CommandContext(t.Context(), "sh", "-c", in.Replace(script), "sh", "cluster", at("etc/skiff/done"), at("etc/skiff/began"), "keys", "socket", at("etc/skiff/certificates"), "")
			cmd.Env = append(os.Environ(), "PATH="+at("bin")+":"+os.Getenv("PATH"))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("began by %q: %v: %s", began, err, out)
			}
		}
		did, err := os.ReadFile(at("did"))
		if err != nil || !strings.HasPrefix(string(did), want) || !strings.HasSuffix(string(did), "\nstart --no-block kubelet\n") {
			t.Errorf("began by %q: did %q (%v), want it to %s the kubelet first, and to start it last", began, did, err, want)
		}
	}
}

// TestPushWithoutDNSServers: that is an error at once.
func TestPushWithoutDNSServers(t *testing.T) {
	t.Parallel()
	u := &up{runner: failing{&machine.RunError{Cmd: "sh", ExitCode: exitNoResolvConf}}, config: testConfig(), pki: mustPKI(t, t.TempDir(), testConfig(), time.Now()), log: io.Discard, report: func(Phase) {}}
	err := u.run(t.Context())
	if known, ok := errors.AsType[*fail.Error](err); !ok || known.ID != fail.NodeFailed || !strings.Contains(known.Error(), "no /etc/resolv.conf") || known.Next == "" {
		t.Errorf("got %+v, want %s", err, fail.NodeFailed)
	}
}

// failing is a Runner whose commands fail.
type failing struct{ with error }

func (f failing) Run(context.Context, machine.Cmd) (machine.Result, error) {
	return machine.Result{}, f.with
}

func (f failing) Put(context.Context, string, fs.FileMode, io.Reader) error { return f.with }
