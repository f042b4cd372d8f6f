package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/cluster/clustertest"
)

// quickEnd takes out the second that a process with the race detector sleeps at its end (runtime/race, ThreadSanitizer's
// atexit_sleep_ms); these tests start hundreds of processes.
const quickEnd = "GORACE=atexit_sleep_ms=0"

// session is a home of its own, in which this test binary runs as skiff.
type session struct {
	t          *testing.T
	home       string
	kubeconfig string
	image      string
}

func newSession(t *testing.T) session {
	t.Helper()
	home, err := os.MkdirTemp("", "skiff-int-") //nolint:usetesting // the path must be short: sockets lie below it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	s := session{t: t, home: home, kubeconfig: filepath.Join(t.TempDir(), "kubeconfig"), image: filepath.Join(t.TempDir(), "image")}
	if err := clustertest.Image(t.Context(), s.image); err != nil {
		t.Fatal(err)
	}
	return s
}

// command is skiff with args, and with more in its environment.
func (s session) command(env []string, args ...string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.CommandContext(s.t.Context(), self, args...)
	cmd.Env = append(os.Environ(), envMain+"=1", "SKIFF_HOME="+s.home, "SKIFF_IMAGE="+s.image, "KUBECONFIG="+s.kubeconfig)
	cmd.Env = append(cmd.Env, quickEnd)
	cmd.Env = append(cmd.Env, env...)
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// code runs skiff and expects an exit code. It returns what was on stdout.
func (s session) code(want int, env []string, args ...string) string {
	s.t.Helper()
	cmd := s.command(env, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); exitCode(err) != want {
		s.t.Fatalf("skiff %q with %q: got %v, want exit code %d\n%s", args, env, err, want, stderr.String())
	}
	return stdout.String()
}

// exitCode is that of a command that ended; -1 for one that a signal ended or that did not run.
func exitCode(err error) int {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	if err != nil {
		return -1
	}
	return 0
}

// steps are the IDs of the steps that a start with args would take.
func (s session) steps(args ...string) []string {
	s.t.Helper()
	var plan struct {
		Steps []struct{ ID string }
	}
	out := s.code(0, nil, append(args, "--dry-run", "-o", "json")...)
	if err := json.Unmarshal([]byte(out), &plan); err != nil {
		s.t.Fatalf("read the plan %q: %v", out, err)
	}
	var ids []string
	for _, step := range plan.Steps {
		ids = append(ids, step.ID)
	}
	if len(ids) < 5 {
		s.t.Fatalf("the plan has the steps %v, want at least 5", ids)
	}
	return ids
}

// interrupt runs skiff until mark is in what it says, sends it SIGINT, and returns how it ended.
func (s session) interrupt(env []string, mark string, args ...string) (code int, said string) {
	s.t.Helper()
	return s.signal(s.command(env, args...), mark, syscall.SIGINT)
}

// cue is what a command is sent once it says something. Without a mark nothing is waited for.
type cue struct {
	mark    string
	signals []syscall.Signal
}

// signal runs a command until mark is in what it says, sends it signals, and returns how it ended.
func (s session) signal(cmd *exec.Cmd, mark string, signals ...syscall.Signal) (code int, said string) {
	s.t.Helper()
	return s.cued(cmd, cue{mark, signals})
}

// signals runs a command, sends it the signal whenever it says the next mark, and returns how it ended.
func (s session) signals(cmd *exec.Cmd, signal syscall.Signal, marks ...string) (code int, said string) {
	s.t.Helper()
	var cues []cue
	for _, mark := range marks {
		cues = append(cues, cue{mark, []syscall.Signal{signal}})
	}
	return s.cued(cmd, cues...)
}

// cued runs a command, and sends it what is due whenever it says the next mark.
func (s session) cued(cmd *exec.Cmd, cues ...cue) (code int, said string) {
	s.t.Helper()
	cues = slices.DeleteFunc(cues, func(one cue) bool { return one.mark == "" })
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	var all strings.Builder
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		all.WriteString(lines.Text() + "\n")
		if len(cues) == 0 || !strings.Contains(lines.Text(), cues[0].mark) {
			continue
		}
		for _, signal := range cues[0].signals {
			if err := cmd.Process.Signal(signal); err != nil {
				s.t.Fatal(err)
			}
		}
		cues = cues[1:]
	}
	err = cmd.Wait()
	if len(cues) > 0 {
		s.t.Fatalf("skiff never said %q:\n%s", cues[0].mark, all.String())
	}
	return exitCode(err), all.String()
}

// nothingLeft expects that of the cluster nothing is left but logs.
func (s session) nothingLeft() {
	s.t.Helper()
	own := filepath.Join(s.home, "state", "clusters", "skiff")
	entries, err := os.ReadDir(own)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.t.Fatal(err)
	}
	for _, entry := range entries {
		if entry.Name() != "logs" {
			s.t.Errorf("%s is left of a start that was interrupted", filepath.Join(own, entry.Name()))
		}
	}
	if _, err := os.Lstat(filepath.Join(s.home, "run", "skiff")); !errors.Is(err, fs.ErrNotExist) {
		s.t.Errorf("the folder of sockets is left: %v", err)
	}
	if content, _ := os.ReadFile(s.kubeconfig); strings.Contains(string(content), "skiff") {
		s.t.Errorf("the kubeconfig still has the cluster:\n%s", content)
	}
	s.code(7, nil, "status")
}

// starts expects that a start works.
func (s session) starts(args ...string) {
	s.t.Helper()
	s.code(0, nil, args...)
	s.code(0, nil, "status")
}

// firstStart is a start with every step that there is.
func firstStart() []string { return []string{"start", "--addons", "ingress"} }

// inside maps steps to what hangs in the middle of them.
func inside() map[string][]string {
	driver := func(op string) string { return envDriver + `={"failures":{"` + op + `":{"hang":true,"when":"half"}}}` }
	return map[string][]string{
		"create":        {driver("create")},
		"agent":         {envFaults + "=agents.start=hang", envFaults + "=agents.start=hang:late"},
		"boot":          {driver("start"), driver("wait"), envFaults + "=kubernetes.prepare=hang"},
		"kubernetes":    {envFaults + "=kubernetes.up=hang"},
		"services":      {envFaults + "=agents.watch=hang"},
		"wait":          {envFaults + "=kubernetes.wait=hang"},
		"addon-ingress": {envFaults + "=kubernetes.enable=hang"},
	}
}

// TestInterruptFirstStart: Ctrl-C at any point of the first start must leave nothing but logs, and a second start works.
func TestInterruptFirstStart(t *testing.T) {
	t.Parallel()
	steps := newSession(t).steps(firstStart()...)
	for i, step := range steps {
		cases := []string{envAt + "=began " + step + " hang"}
		if i < len(steps)-1 { // after the end of the last one, the start has succeeded
			cases = append(cases, envAt+"=ended "+step+" hang")
		}
		for _, env := range cases {
			t.Run(env, func(t *testing.T) {
				t.Parallel()
				s := newSession(t)
				code, said := s.interrupt([]string{env}, "test: hangs", firstStart()...)
				if code != 130 || !strings.Contains(said, "Docs: errors/INTERRUPTED") {
					t.Errorf("interrupted at %q: got exit code %d, want 130 with INTERRUPTED:\n%s", env, code, said)
				}
				s.nothingLeft()
				s.starts(firstStart()...)
			})
		}
		for _, env := range inside()[step] {
			t.Run("inside "+env, func(t *testing.T) {
				t.Parallel()
				s := newSession(t)
				place := "[" + string(rune('1'+i)) + "/"
				if code, said := s.interrupt([]string{env}, place, firstStart()...); code != 130 {
					t.Errorf("interrupted in %q: got exit code %d, want 130:\n%s", env, code, said)
				}
				s.nothingLeft()
				s.starts(firstStart()...)
			})
		}
	}
}

// TestInterruptLaterStart: Ctrl-C at any point of the start of a stopped cluster must leave the cluster, and a second
// start works.
func TestInterruptLaterStart(t *testing.T) {
	t.Parallel()
	first := newSession(t)
	first.starts(firstStart()...)
	first.code(0, nil, "stop")
	for _, step := range first.steps("start", "--memory", "2g") {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			s := newSession(t)
			s.starts(firstStart()...)
			before := s.code(0, nil, "ip")
			s.code(0, nil, "stop")
			code, said := s.interrupt([]string{envAt + "=began " + step + " hang"}, "test: hangs", "start", "--memory", "2g")
			if code != 130 {
				t.Errorf("interrupted at %s: got exit code %d, want 130:\n%s", step, code, said)
			}
			s.starts("start")
			if after := s.code(0, nil, "ip"); after != before {
				t.Errorf("the address is %s, before %s", after, before)
			}
		})
	}
}

// TestKill: a skiff that is killed at any point, as by kill -9 or a loss of power, must not keep the next start from
// working, nor delete.
func TestKill(t *testing.T) {
	t.Parallel()
	steps := newSession(t).steps(firstStart()...)
	points := map[string]string{
		"half of agent":      envFaults + "=agents.start=kill",
		"half of kubernetes": envFaults + "=kubernetes.up=kill",
		"half of an addon":   envFaults + "=kubernetes.enable=kill",
	}
	for _, step := range steps {
		points["before "+step] = envAt + "=began " + step + " kill"
		points["after "+step] = envAt + "=ended " + step + " kill"
	}
	for name, env := range points {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSession(t)
			s.code(-1, []string{env}, firstStart()...)
			s.starts(firstStart()...)
			s.code(0, nil, "delete")
			s.nothingLeft()
		})
		t.Run(name+", then delete", func(t *testing.T) {
			t.Parallel()
			s := newSession(t)
			s.code(-1, []string{env}, firstStart()...)
			s.code(0, nil, "delete")
			s.nothingLeft()
		})
	}
}

// TestKillKept: a skiff that is killed at any point of what it does with memory and snapshots must not harm the cluster,
// nor the snapshot that was there before.
func TestKillKept(t *testing.T) {
	t.Parallel()
	at := func(step string) []string {
		return []string{envAt + "=began " + step + " kill", envAt + "=ended " + step + " kill"}
	}
	half := func(op string) []string { return []string{envDriver + `={"failures":{"` + op + `":{"when":"half"}}}`} }
	for _, test := range []struct {
		name   string
		before [][]string // commands
		args   []string
		points []string
	}{
		{"stop", nil, []string{"stop"}, append(append(at("suspend"), at("stop")...), envFaults+"=agents.stop=kill")},
		{"resume", [][]string{{"stop"}}, []string{"start"}, append(append(at("resume"), at("agent")...), envFaults+"=kubernetes.wake=kill", envFaults+"=kubernetes.wait=kill")},
		{"save", nil, []string{"snapshot", "save", "more"}, append(at("snapshot"), half("save")...)},
		{"save stopped", [][]string{{"stop"}}, []string{"snapshot", "save", "more"}, at("snapshot")},
		{"restore", nil, []string{"snapshot", "restore", "kept"}, append(append(at("restore"), at("resume")...), half("restore")...)},
		{"delete", [][]string{{"snapshot", "save", "more"}}, []string{"snapshot", "delete", "more"}, at("snapshot")},
		{"pause", nil, []string{"pause"}, at("pause")},
		{"unpause", [][]string{{"pause"}}, []string{"unpause"}, append(at("unpause"), envFaults+"=kubernetes.wake=kill")},
	} {
		for _, point := range test.points {
			t.Run(test.name+" "+point, func(t *testing.T) {
				t.Parallel()
				s := newSession(t)
				s.starts("start")
				s.code(0, nil, "snapshot", "save", "kept")
				for _, args := range test.before {
					s.code(0, nil, args...)
				}
				if err := s.command([]string{point}, test.args...).Run(); err == nil {
					t.Error("it was not killed, and nothing failed")
				}
				s.starts("start")
				s.code(0, nil, "snapshot", "restore", "kept")
				s.code(0, nil, "status")
				s.code(0, nil, "stop")
				s.code(0, nil, "delete")
				s.nothingLeft()
			})
		}
	}
}

// noSpares expects that nothing of any warm spare is left.
func (s session) noSpares() {
	s.t.Helper()
	for _, dir := range []string{"state/spares", "run/_spares"} {
		entries, err := os.ReadDir(filepath.Join(s.home, dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.t.Fatal(err)
		}
		for _, entry := range entries {
			s.t.Errorf("%s is left of a spare", filepath.Join(dir, entry.Name()))
		}
	}
}

// TestKillSpareBuild: what is left of the preparation of a warm spare that is killed must be in nobody's way, and be gone
// after the next command.
func TestKillSpareBuild(t *testing.T) {
	t.Parallel()
	points := []string{envFaults + "=agents.start=kill", envFaults + "=kubernetes.up=kill", envFaults + "=agents.stop=kill:late"}
	for _, step := range []string{"image", "create", "agent", "boot", "kubernetes", "wait", "suspend"} {
		points = append(points, envAt+"=began "+step+" kill")
		if step != "suspend" { // after that there is a spare
			points = append(points, envAt+"=ended "+step+" kill")
		}
	}
	for _, point := range points {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			s := newSession(t)
			s.code(-1, []string{point}, "spare", "build")
			s.starts("start", "--no-spare")
			s.noSpares()
			if !strings.Contains(point, "image") { // which is installed by now
				s.code(-1, []string{point}, "spare", "build", "--cpus", "4")
			}
			s.code(0, nil, "stop")
			s.code(0, nil, "spare", "build")
			s.code(0, nil, "delete")
			s.starts("start")
			s.code(0, nil, "spare", "delete")
			s.noSpares()
		})
	}
}

// TestKillSpareStart: a start that is killed while it takes a warm spare leaves a cluster with which the next goes on, or
// none.
func TestKillSpareStart(t *testing.T) {
	t.Parallel()
	points := []string{envFaults + "=kubernetes.prepare=kill", envFaults + "=agents.start=kill", envFaults + "=kubernetes.wake=kill", envFaults + "=kubernetes.wait=kill"}
	for _, step := range []string{"spare", "agent", "resume", "services", "kubeconfig", "wait"} {
		points = append(points, envAt+"=began "+step+" kill", envAt+"=ended "+step+" kill")
	}
	for _, point := range points {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			s := newSession(t)
			s.code(0, nil, "spare", "build")
			s.code(-1, []string{point}, "start")
			s.starts("start")
			s.code(0, nil, "delete")
			s.nothingLeft()
			s.code(0, nil, "spare", "delete") // also the lock of one that was taken
			s.noSpares()
		})
	}
}

// TestSpareDeleteEndsBuild: a spare that is being prepared must not be in the way of who wants none.
func TestSpareDeleteEndsBuild(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"spare", "delete"}, {"delete", "--all", "--purge"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			s := newSession(t)
			build := s.command([]string{envAt + "=began boot hang"}, "spare", "build")
			stderr, err := build.StderrPipe()
			if err == nil {
				err = build.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(stderr)
			for lines.Scan() && !strings.Contains(lines.Text(), "test: hangs") {
			}
			s.code(0, nil, args...)
			for lines.Scan() {
			}
			if err := build.Wait(); exitCode(err) != 130 {
				t.Errorf("the build ended with %v, want exit code 130", err)
			}
			s.noSpares()
		})
	}
}

// TestSecondSignal: a second Ctrl-C must end skiff at once, whatever it is at.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	hangs := envDriver + `={"failures":{"delete":{"hang":true}}}`
	cmd := s.command([]string{envAt + "=began boot hang", hangs}, "start")
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		// The first signal when it hangs, the second when taking back hangs too.
		if strings.Contains(lines.Text(), "test: hangs") || strings.Contains(lines.Text(), "Rolled back: Start the agent") {
			if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
		}
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !exit.Sys().(syscall.WaitStatus).Signaled() {
		t.Errorf("after the second signal: got %v, want an end by the signal", err)
	}
	s.starts("start")
}

// TestSecondSignalIgnored: who began with SIGINT ignored, as a job in the background of a script, and ends at the first one
// nevertheless, must end at the second too.
func TestSecondSignalIgnored(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	cmd := s.command([]string{envAt + "=began boot hang", envDriver + `={"failures":{"delete":{"hang":true}}}`}, "start")
	cmd.Path, cmd.Args = "/bin/sh", append([]string{"sh", "-c", `trap "" INT; exec "$@"`, "sh"}, cmd.Args...)
	if code, said := s.signals(cmd, syscall.SIGINT, "test: hangs", "Rolled back: Start the agent"); code != -1 {
		t.Errorf("after the second signal: got exit code %d, want an end by a signal:\n%s", code, said)
	}
}

// TestImpatient: who ends the boot of a cluster is told at once what that takes, and need not wait for the guest. The next
// start must find a machine that is off.
func TestImpatient(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.starts("start")
	s.code(0, nil, "stop", "--shutdown")
	env := []string{envAt + "=ended boot hang", envDriver + `={"failures":{"stop":{"hang":true}}}`}
	const told = "Power machine skiff off, as it was before; another Ctrl-C does not wait for its guest"
	code, said := s.signals(s.command(env, "start"), syscall.SIGINT, "test: hangs", told)
	if code != 130 || !strings.Contains(said, "Rolled back: Boot machine skiff") || !strings.Contains(said, "Rolled back: Start the agent") {
		t.Errorf("got exit code %d, want 130 and all taken back:\n%s", code, said)
	}
	s.code(7, nil, "status")
	s.starts("start")

	// Whoever is in a greater hurry still is not kept, and what is left is of use as well.
	s.code(0, nil, "stop", "--shutdown")
	slow := append(env, envFaults+"=agents.stop=hang")
	code, said = s.signals(s.command(slow, "start"), syscall.SIGINT, "test: hangs", told, "Rolled back: Boot machine skiff")
	if code != -1 {
		t.Errorf("after the third signal: got exit code %d, want an end by the signal:\n%s", code, said)
	}
	s.starts("start")
}

// TestHangup: a terminal that is closed must end a start as Ctrl-C does, however often that is told.
func TestHangup(t *testing.T) {
	t.Parallel()
	heard := make(chan os.Signal, 1) // what is caught here has its default in a child, also when these tests run under nohup
	signal.Notify(heard, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(heard) })
	for name, signals := range map[string][]syscall.Signal{
		"once":             {syscall.SIGHUP},
		"and again":        {syscall.SIGHUP, syscall.SIGHUP, syscall.SIGHUP},
		"and told to end":  {syscall.SIGHUP, syscall.SIGTERM},
		"after being told": {syscall.SIGTERM, syscall.SIGHUP},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSession(t)
			cmd := s.command([]string{envAt + "=began boot hang"}, "start")
			code, said := s.signal(cmd, "test: hangs", signals...)
			if code != 130 || !strings.Contains(said, "signal received") {
				t.Errorf("got exit code %d, want 130:\n%s", code, said)
			}
			s.nothingLeft()
		})
	}
	t.Run("nohup", func(t *testing.T) {
		t.Parallel()
		s := newSession(t)
		cmd := s.command([]string{envAt + "=began boot hang"}, "start")
		cmd.Path, cmd.Args = "/bin/sh", append([]string{"sh", "-c", `trap "" HUP; exec "$@"`, "sh"}, cmd.Args...)
		code, said := s.signal(cmd, "test: hangs", syscall.SIGHUP, syscall.SIGINT)
		if code != 130 || !strings.Contains(said, "interrupt signal received") {
			t.Errorf("got exit code %d, want 130 because of Ctrl-C alone:\n%s", code, said)
		}
	})
}

// TestUnread: nobody who reads what skiff says is no reason to leave half a cluster.
func TestUnread(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"start"}, {"start", "-o", "json"}, {"start", "-q"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			s := newSession(t)
			if err := s.unread(args...); err != nil {
				t.Errorf("got %v, want success", err)
			}
			s.code(0, nil, "status")
			if err := s.unread("delete"); err != nil {
				t.Errorf("delete: got %v, want success", err)
			}
			s.nothingLeft()
		})
	}
}

// TestUnreadOutput: a command that only prints must end at once and quietly when nobody reads that, whatever it prints.
func TestUnreadOutput(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.starts("start")
	for _, args := range [][]string{{"logs"}, {"logs", "-f"}, {"status"}, {"profile", "list", "-o", "json"}, {"start", "--dry-run", "--memory", "2g"}, {"doctor"}, {"ssh", "--", "true"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			cmd := s.command(nil, args...)
			var stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = s.closed(), &stderr
			err := cmd.Run()
			ended, ok := errors.AsType[*exec.ExitError](err)
			if err != nil && (!ok || ended.ExitCode() != 141 && ended.Sys().(syscall.WaitStatus).Signal() != syscall.SIGPIPE) {
				t.Errorf("got %v, want success, SIGPIPE or its exit code", err)
			}
			if stderr.Len() > 0 {
				t.Errorf("it says %q, want nothing", stderr.String())
			}
		})
	}
}

// unread runs skiff with nobody to read what it says.
func (s session) unread(args ...string) error {
	cmd := s.command(nil, args...)
	cmd.Stdout = s.closed()
	cmd.Stderr = cmd.Stdout
	return cmd.Run()
}

// closed is a pipe that nobody reads.
func (s session) closed() *os.File {
	read, write, err := os.Pipe()
	if err == nil {
		err = read.Close()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = write.Close() })
	return write
}
