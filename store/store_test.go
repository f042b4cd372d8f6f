package store_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/store"
)

const envHold = "SKIFF_STORE_TEST_HOLD" // this binary takes the lock at that path and waits to be killed

func TestMain(m *testing.M) {
	if path := os.Getenv(envHold); path != "" {
		hold(path)
	}
	m.Run()
}

func hold(path string) {
	release, err := store.TryLock(path, store.Holder{Command: "skiff start", PID: os.Getpid(), Since: time.Now()})
	if err != nil {
		panic(err)
	}
	defer release() // not collected as garbage before
	_, _ = os.Stdout.WriteString("held\n")
	time.Sleep(time.Hour) // with nothing else to wait for, the program would end as deadlocked
}

func TestLocate(t *testing.T) {
	t.Parallel()
	locate := func(values map[string]string) (store.Home, error) {
		return store.Locate(func(name string) string { return values[name] })
	}
	home, err := locate(map[string]string{"SKIFF_HOME": "/h"})
	want := store.Home{Config: "/h/config", State: "/h/state", Cache: "/h/cache", Run: "/h/run"}
	if err != nil || home != want {
		t.Errorf("Locate with SKIFF_HOME: got %+v and error %v, want %+v", home, err, want)
	}
	if _, err := locate(map[string]string{"SKIFF_HOME": "h"}); err == nil {
		t.Error("Locate with a relative SKIFF_HOME: got no error")
	}
	home, err = locate(nil)
	if err != nil || len(home.Run) > 50 || !filepath.IsAbs(home.Run) {
		t.Errorf("Locate: got sockets in %q and error %v, want a short absolute path", home.Run, err)
	}
	for _, dir := range []string{"/run/user/7", "relative", "/" + strings.Repeat("long/", 40)} {
		// cron, su and a second login have another one, or none, and mean the same clusters.
		other, err := locate(map[string]string{"XDG_RUNTIME_DIR": dir, "TMPDIR": dir})
		if err != nil || other != home {
			t.Errorf("Locate in a session with XDG_RUNTIME_DIR and TMPDIR %s: got %+v and error %v, want %+v", dir, other, err, home)
		}
	}
	if home.State == home.Config || home.Cache == home.State {
		t.Errorf("Locate: folders are the same: %+v", home)
	}
}

// TestSocketsFit: every socket of every cluster must have a name that can be bound (108 bytes with the final zero).
func TestSocketsFit(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"/h", "/home/someone/with/a/very/long/path/to/a/folder/for/skiff/that/nobody/would/type"} {
		home, err := store.Locate(func(name string) string { return map[string]string{"SKIFF_HOME": dir}[name] })
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, c := range []store.Cluster{
			home.Cluster("a"), home.Cluster(strings.Repeat("a", 63)), home.Cluster(strings.Repeat("a", 62) + "b"),
			home.Spares().Cluster("a"), home.Spares().Cluster("spare-01234567"),
		} {
			for _, path := range []string{c.AgentSocket(), c.NetworkSocket(), filepath.Join(c.Node("skiff-m02").Run, "monitor.sock")} {
				if len(path) > 107 {
					t.Errorf("%s has %d bytes, want at most 107", path, len(path))
				}
				if seen[path] {
					t.Errorf("%s belongs to two clusters", path)
				}
				seen[path] = true
			}
		}
	}
}

// TMPDIR is read by the whole process, so this test has no others beside it.
func TestShortRunWithoutTMPDIR(t *testing.T) {
	locate := func() store.Home {
		home, err := store.Locate(func(name string) string {
			return map[string]string{"SKIFF_HOME": "/" + strings.Repeat("long/", 40)}[name]
		})
		if err != nil {
			t.Fatal(err)
		}
		return home
	}
	want := locate().Run
	for _, dir := range []string{"relative", "/" + strings.Repeat("long/", 40)} {
		t.Setenv("TMPDIR", dir)
		if got := locate().Run; got != want || len(got) > 50 || !filepath.IsAbs(got) {
			t.Errorf("Locate with TMPDIR %s: got sockets in %q, want %q, short and absolute", dir, got, want)
		}
	}
}

func TestRunFolderIsChecked(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		make func(run string) error
		want string // part of the error; empty: none
	}{
		"none":     {make: func(string) error { return nil }},
		"own":      {make: func(run string) error { return os.Mkdir(run, 0o700) }},
		"open":     {make: func(run string) error { return errors.Join(os.Mkdir(run, 0o700), os.Chmod(run, 0o755)) }, want: "mode is 0755"},
		"file":     {make: func(run string) error { return os.WriteFile(run, nil, 0o600) }, want: "not a folder"},
		"link":     {make: func(run string) error { return os.Symlink(os.TempDir(), run) }, want: "symbolic link"},
		"dangling": {make: func(run string) error { return os.Symlink("/nowhere", run) }, want: "symbolic link"},
		"foreign": {make: func(run string) error {
			if os.Geteuid() != 0 {
				return errors.ErrUnsupported
			}
			return errors.Join(os.Mkdir(run, 0o700), os.Chown(run, 65534, 65534))
		}, want: "another user"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			home := store.Home{Run: filepath.Join(t.TempDir(), "run")}
			if err := test.make(home.Run); errors.Is(err, errors.ErrUnsupported) {
				t.Skip("only root can make a folder of another user")
			} else if err != nil {
				t.Fatal(err)
			}
			for what, check := range map[string]func() error{"CheckRun": home.CheckRun, "SecureRun": home.SecureRun} {
				err := check()
				if test.want == "" && err != nil || test.want != "" && (!fail.Is(err, fail.HomeUnusable) || !strings.Contains(err.Error(), test.want)) {
					t.Errorf("%s: got error %v, want HOME_UNUSABLE with %q", what, err, test.want)
				}
			}
			if info, err := os.Lstat(home.Run); test.want == "" && (err != nil || info.Mode() != os.ModeDir|0o700) {
				t.Errorf("after SecureRun: got %v (%v), want a folder of mode 700", info, err)
			}
		})
	}
}

func TestProfiles(t *testing.T) {
	t.Parallel()
	home := store.Home{State: t.TempDir()}
	if names, err := home.Profiles(); err != nil || len(names) != 0 {
		t.Errorf("Profiles of nothing: got %v and error %v, want none", names, err)
	}
	for _, profile := range []string{"two", "one"} {
		if err := store.Write(home.Cluster(profile).File(), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Folder(home.Cluster("only-logs").Logs()); err != nil {
		t.Fatal(err)
	}
	if names, err := home.Profiles(); err != nil || fmt.Sprint(names) != "[one two]" {
		t.Errorf("Profiles: got %v and error %v, want [one two]", names, err)
	}
}

func TestWrite(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a", "b", "file")
	for _, content := range []string{"first", "second, which is longer", ""} {
		if err := store.Write(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != content {
			t.Errorf("after Write: got %q and error %v, want %q", got, err, content)
		}
	}
	for at, want := range map[string]fs.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		if info, err := os.Stat(at); err != nil || info.Mode().Perm() != want {
			t.Errorf("mode of %s: got %v and error %v, want %v", at, info.Mode().Perm(), err, want)
		}
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("Write left %v, want the file alone", entries)
	}
}

// TestWriteWhole: a reader must see one content or the other, never a part.
func TestWriteWhole(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	contents := []string{strings.Repeat("a", 1<<16), strings.Repeat("b", 1<<15)}
	if err := store.Write(path, []byte(contents[0]), 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() {
		defer close(done)
		for i := range 50 {
			if err := store.Write(path, []byte(contents[i%2]), 0o600); err != nil {
				t.Error(err)
			}
		}
	})
	for reading := true; reading; {
		select {
		case <-done:
			reading = false
		default:
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != contents[0] && string(got) != contents[1] {
			t.Fatalf("read %d bytes that nobody wrote, error %v", len(got), err)
		}
	}
	writing.Wait()
}

func TestMove(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	from, to := filepath.Join(dir, "spares", "x"), filepath.Join(dir, "clusters", "dev")
	if err := store.Write(filepath.Join(from, "file"), []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(to, "other")
	if err := store.Write(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := store.Move(from, to); err == nil {
		t.Error("Move over a folder with something in it: got no error")
	}
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	if err := store.Move(from, to); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(to, "file")); err != nil || string(got) != "kept" {
		t.Errorf("after Move: got %q and error %v, want %q", got, err, "kept")
	}
	if _, err := os.Lstat(from); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Move the old name is still there: error %v", err)
	}
}

func TestNoSpace(t *testing.T) {
	t.Parallel()
	for err, full := range map[error]bool{
		nil: false, os.ErrNotExist: false, syscall.ENOSPC: true, syscall.EDQUOT: true,
		&os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}: true,
	} {
		got := store.NoSpace("op", err)
		if fail.Is(got, fail.HostDiskFull) != full || !errors.Is(got, err) {
			t.Errorf("NoSpace(%v): got %v, want %s: %v", err, got, fail.HostDiskFull, full)
		}
	}
}

// TestDiskFull writes to the kernel's device that is always full (full(4)).
func TestDiskFull(t *testing.T) {
	t.Parallel()
	file, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("there is no /dev/full here")
	}
	defer file.Close()
	_, err = file.WriteString("x")
	if !fail.Is(store.NoSpace("write", err), fail.HostDiskFull) {
		t.Errorf("NoSpace of what a full disk gives: got %v, want %s", err, fail.HostDiskFull)
	}
}

func TestLock(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "below", "x.lock")
	since := time.Now()
	release, err := store.TryLock(path, store.Holder{Command: "skiff start -p dev", PID: 7, Since: since})
	if err != nil {
		t.Fatal(err)
	}
	_, err = store.TryLock(path, store.Holder{Command: "another"})
	var held *store.HeldError
	if !errors.As(err, &held) || held.Holder.Command != "skiff start -p dev" || held.Holder.PID != 7 || !held.Holder.Since.Equal(since) {
		t.Errorf("second TryLock: got error %v (%+v), want the holder", err, held)
	}
	want := fmt.Sprintf(`held by "skiff start -p dev" (process 7, since %s)`, since.Local().Format(time.TimeOnly))
	if err == nil || err.Error() != want {
		t.Errorf("second TryLock: got %q, want %q", err, want)
	}
	release()
	release, err = store.TryLock(path, store.Holder{Command: "another"})
	if err != nil {
		t.Fatalf("TryLock after release: %v", err)
	}
	release()
}

// TestLockWaits: Lock says whom it waits for, gets the lock once that one lets go, and can be cancelled.
func TestLockWaits(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.lock")
	first, err := store.TryLock(path, store.Holder{Command: "first", PID: 7})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := store.Lock(ctx, path, store.Holder{Command: "hasty"}, func(store.Holder) { cancel() }); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), `held by "first"`) {
		t.Errorf("cancelled while it waits: got error %v, want the holder and the cancellation", err)
	}
	var waited []string
	second, err := store.Lock(t.Context(), path, store.Holder{Command: "second"}, func(holder store.Holder) {
		waited = append(waited, holder.Command)
		first()
	})
	if err != nil {
		t.Fatalf("Lock after the release: %v", err)
	}
	defer second()
	if !slices.Equal(waited, []string{"first"}) {
		t.Errorf("got told of %q, want of the first alone", waited)
	}
	_, err = store.TryLock(path, store.Holder{})
	if held, ok := errors.AsType[*store.HeldError](err); !ok || held.Holder.Command != "second" {
		t.Errorf("TryLock: got error %v, want it held by the second", err)
	}
}

// TestLockOfKilled: a lock must end with its process, however that ends.
func TestLockOfKilled(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.lock")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), envHold+"="+path)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	_, err = store.TryLock(path, store.Holder{})
	var held *store.HeldError
	if !errors.As(err, &held) || held.Holder.PID != cmd.Process.Pid {
		t.Errorf("TryLock: got error %v, want it held by process %d", err, cmd.Process.Pid)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	release, err := store.TryLock(path, store.Holder{})
	if err != nil {
		t.Fatalf("TryLock after the holder was killed: %v", err)
	}
	release()
}

// TestLockWithoutNote: what the file says is for people; whatever it is, the lock counts.
func TestLockWithoutNote(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.lock")
	release, err := store.Wait(path)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if err := os.WriteFile(path, []byte("{no json"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.TryLock(path, store.Holder{}); err == nil || err.Error() != "held by another process" {
		t.Errorf("TryLock: got error %v, want %q", err, "held by another process")
	}
}

func TestWait(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.lock")
	var at, most int
	var count sync.Mutex
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			release, err := store.Wait(path)
			if err != nil {
				t.Error(err)
				return
			}
			count.Lock()
			at++
			most = max(most, at)
			count.Unlock()
			count.Lock()
			at--
			count.Unlock()
			release()
		})
	}
	all.Wait()
	if most != 1 {
		t.Errorf("%d held the lock at once, want 1", most)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	home := store.Home{Config: "/c", State: "/s", Cache: "/k", Run: "/r"}
	c := home.Cluster("dev")
	for _, test := range []struct{ got, want string }{
		{home.Settings(), "/c/config.yaml"},
		{home.BaseImage("sha256:abc"), "/s/base/abc"},
		{home.BaseImage("abc"), "/s/base/abc"},
		{c.File(), "/s/clusters/dev/cluster.yaml"},
		{c.Lock(), "/s/clusters/dev.lock"},
		{c.StepLog("boot"), "/s/clusters/dev/logs/boot.log"},
		{c.AgentSocket(), "/r/dev/agent.sock"},
		{c.Dashboard(), "/r/dev.dash"},
		{c.DashboardLock(), "/r/dev.dash.lock"},
		{c.DashboardPage(), "/r/dev.dash.html"},
		{c.Node("skiff").UserKey(), "/s/clusters/dev/nodes/skiff/id_ed25519"},
		{home.Spares().Cluster("x").Spare(), "/s/spares/x/spare.json"},
		{home.Spares().Cluster("x").Lock(), "/s/spares/x.lock"},
		{home.Spares().BaseImage("abc"), "/s/base/abc"},
		{home.Spares().Both()[0].Cluster("dev").File(), c.File()},
		{home.Both()[1].Cluster("x").Dir, "/s/spares/x"},
	} {
		if test.got != test.want {
			t.Errorf("got %s, want %s", test.got, test.want)
		}
	}
}

// TestLockRemoved: a lock that its holder removes still lets one in at a time.
func TestLockRemoved(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.lock")
	var inside atomic.Int32
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 50 {
				release, err := store.Wait(path)
				if err != nil {
					t.Errorf("Wait: %v", err)
					return
				}
				if got := inside.Add(1); got != 1 {
					t.Errorf("%d hold the lock at once, want 1", got)
				}
				time.Sleep(time.Microsecond)
				inside.Add(-1)
				if err := os.Remove(path); err != nil {
					t.Errorf("remove the lock that is held: %v", err)
				}
				release()
			}
		})
	}
	group.Wait()
}
