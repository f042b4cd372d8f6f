//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// roundsVariable says how often the cluster is stopped and started with a counter in a pod; 50 make a soak.
const roundsVariable = "SKIFF_TEST_ROUNDS"

// counterPod counts in its memory, and prints each number.
func counterPod() string {
	return shellPod("counter", "kennship/http-echo:latest", "IfNotPresent", "i=0; while :; do i=$((i+1)); echo $i; /usr/bin/sleep 0.2; done")
}

// shellPod is a pod of one container that runs a line in the guest's shell, whatever its image has.
func shellPod(name, image, pull, line string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %[1]s}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: %[1]s
    image: %[2]q
    imagePullPolicy: %[3]s
    command: [/usr/bin/dash, -c, %[4]q]
    volumeMounts:
    - {name: usr, mountPath: /usr, readOnly: true}
    - {name: lib, mountPath: /lib, readOnly: true}
    - {name: lib64, mountPath: /lib64, readOnly: true}
  volumes:
  - {name: usr, hostPath: {path: /usr}}
  - {name: lib, hostPath: {path: /usr/lib}}
  - {name: lib64, hostPath: {path: /usr/lib64}}
`, name, image, pull, line)
}

// count is what the counter printed last.
func (s *session) count() int {
	s.t.Helper()
	number := 0
	s.eventually(time.Minute, "the counter's log", func(ctx context.Context) (err error) {
		number, err = s.counter(ctx)
		return err
	})
	return number
}

// counter asks once.
func (s *session) counter(ctx context.Context) (int, error) {
	out, err := s.try(ctx, "kubectl", "logs", "counter", "--tail=1")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(out.stdout))
}

// counts expects that the counter goes on from a number, and returns where it is.
func (s *session) counts(from int) int {
	s.t.Helper()
	now := s.count()
	if now < from {
		s.t.Errorf("the counter is at %d and was at %d", now, from)
	}
	s.eventually(time.Minute, "the counter to go on", func(ctx context.Context) error {
		next, err := s.counter(ctx)
		if err == nil && next <= now {
			err = fmt.Errorf("it is at %d", next)
		}
		return err
	})
	return now
}

// starts returns how often the containers of all pods were started, as one text.
func (s *session) starts() string {
	s.t.Helper()
	return s.run("kubectl", "get", "pods", "-A", "--sort-by=.metadata.uid", "-o",
		"jsonpath={range .items[*]}{.metadata.name}={.status.containerStatuses[*].restartCount} {end}")
}

// clockIsRight compares the guest's clock with this one.
func (s *session) clockIsRight() {
	s.t.Helper()
	guest, err := strconv.ParseFloat(s.run("ssh", "--", "date", "+%s.%N"), 64)
	if err != nil {
		s.t.Fatal(err)
	}
	if off := time.Since(time.Unix(0, int64(guest*1e9))).Seconds(); math.Abs(off) > 4 { // a slow answer counts too
		s.t.Errorf("the guest's clock is %.1f s behind", off)
	}
}

// suspends stops and starts, and expects everything to go on as if nothing had been.
func (s *session) suspends(address string) {
	rounds, err := strconv.Atoi(os.Getenv(roundsVariable))
	if err != nil {
		rounds = 2
	}
	s.apply(counterPod())
	s.run("kubectl", "wait", "pod/counter", "--for=condition=Ready", "--timeout=3m")
	before, number := s.starts(), s.count()
	for round := range rounds {
		s.timed("stop", "stop")
		s.code(7, "status")
		s.code(6, "ssh", "--", "true")
		if out := s.code(0, "stop"); !strings.Contains(out.stderr, "already") {
			s.t.Errorf("a second stop says %q", out.stderr)
		}
		out := s.code(0, "start", "--dry-run")
		if !strings.Contains(out.stdout, "Resume machine") {
			s.t.Errorf("the plan of a start does not resume:\n%s", out.stdout)
		}
		begin := time.Now()
		out = s.code(0, "start")
		s.note("start, resumed", time.Since(begin))
		if strings.Contains(out.stderr, "boots") {
			s.t.Errorf("round %d: the cluster booted:\n%s", round, out.stderr)
		}
		s.isAsBefore(address, before)
		number = s.counts(number)
	}
}

// isAsBefore looks at all that a resumed cluster must still have.
func (s *session) isAsBefore(address, starts string) {
	s.t.Helper()
	if now := s.starts(); now != starts {
		s.t.Errorf("containers were started again: now %s, before %s", now, starts)
	}
	if got := s.run("ip"); got != address {
		s.t.Errorf("the address is %s, before %s", got, address)
	}
	if nodes := s.run("kubectl", "get", "nodes", "--no-headers"); !strings.Contains(nodes, " Ready ") {
		s.t.Errorf("the node is %q", nodes)
	}
	s.clockIsRight()
	s.meowIsBack(address)
}

// snapshots saves, changes, goes back, and expects the old state in memory and on disk.
func (s *session) snapshots(address string) {
	s.run("kubectl", "create", "configmap", "state", "--from-literal=is=old")
	s.run("ssh", "--", "sh", "-c", "echo old >/root/state; echo old >/run/state")
	before, number := s.starts(), s.count()
	s.timed("snapshot save", "snapshot", "save", "before", "--description", "all is old")
	s.code(6, "snapshot", "save", "before")
	s.meowIsBack(address)
	s.run("kubectl", "delete", "configmap", "state")
	s.run("ssh", "--", "sh", "-c", "echo new >/root/state; echo new >/run/state; sync")
	// The first snapshot's cluster counts on when it is restored, and may well be further then than this one is now.
	later := s.count()
	s.timed("snapshot save, a second one", "snapshot", "save", "after")
	list := s.listed()
	if len(list) != 2 || list[0].Name != "before" || !list[0].Running || list[0].Size < 100<<20 || list[0].KubernetesVersion != "v1.37.2" || list[0].Description != "all is old" {
		s.t.Errorf("the list is %+v", list)
	}
	for _, one := range list {
		s.t.Logf("snapshot %s takes %d MiB", one.Name, one.Size>>20)
	}
	s.timed("snapshot restore", "snapshot", "restore", "before")
	if got := s.run("kubectl", "get", "configmap", "state", "-o", "jsonpath={.data.is}"); got != "old" {
		s.t.Errorf("after the restore the ConfigMap is %q", got)
	}
	if got := s.run("ssh", "--", "cat", "/root/state", "/run/state"); got != "old\nold" {
		s.t.Errorf("after the restore the guest's files are %q", got)
	}
	s.isAsBefore(address, before)
	s.counts(number)
	s.run("snapshot", "delete", "before")
	s.timed("snapshot restore, after another was deleted", "snapshot", "restore", "after")
	s.code(1, "kubectl", "get", "configmap", "state")
	s.counts(later)
	s.meowIsBack(address)
	s.run("snapshot", "delete", "after")
	s.run("kubectl", "delete", "pod", "counter", "--wait=true", "--grace-period=1")
}

// saved is a snapshot as `snapshot list` tells of it.
type saved struct {
	Name, KubernetesVersion, Description string
	Size                                 int64
	Running                              bool
}

// listed are the snapshots.
func (s *session) listed() []saved {
	s.t.Helper()
	var list []saved
	if err := json.Unmarshal([]byte(s.run("snapshot", "list", "-o", "json")), &list); err != nil {
		s.t.Fatal(err)
	}
	return list
}

// pauses halts the machine and lets it go on.
func (s *session) pauses(address string) {
	before := s.starts()
	s.timed("pause", "pause")
	s.code(2, "status")
	s.code(6, "kubectl", "get", "nodes")
	s.timed("unpause", "unpause")
	s.isAsBefore(address, before)
}

// sleeps has the machine paused when nobody asks anything of it, also while a forgotten watch is open, and wakes it in each way
// in which it is asked something; with -short in one way.
func (s *session) sleeps(address string) {
	before := s.starts()
	s.timed("start --auto-pause, on a running cluster", "start", "--auto-pause", "1m")
	defer s.forgetsWatch()()
	s.isPaused()
	for range 2 { // asking skiff is not asking the machine
		s.code(2, "status")
		if got := s.run("ip"); got != address {
			s.t.Errorf("ip of a machine that is paused is %q, want %q", got, address)
		}
		if list := s.run("profile", "list"); !strings.Contains(list, "Paused") {
			s.t.Errorf("profile list does not say Paused:\n%s", list)
		}
	}
	// The first request is answered: nobody has to ask twice.
	begin := time.Now()
	if _, answer, err := get(s.t.Context(), "https://"+address+"/meow"); err != nil || answer.Path != "/meow" {
		s.t.Errorf("the first request to a machine that is paused: got %+v and error %v, want an answer", answer, err)
	}
	s.note("GET /meow, wakes", time.Since(begin))
	s.isAsBefore(address, before)
	if testing.Short() {
		s.run("start", "--auto-pause", "off")
		return
	}

	s.isPaused()
	s.timed("kubectl get nodes, wakes", "kubectl", "get", "nodes")
	s.clockIsRight()
	s.isPaused()
	s.timed("ssh, wakes", "ssh", "--", "true")
	s.clockIsRight()

	s.isPaused()
	s.timed("snapshot save, of a machine that is paused", "snapshot", "save", "asleep")
	s.code(2, "status")
	s.run("snapshot", "delete", "asleep")
	s.timed("stop, of a machine that is paused", "stop")
	s.timed("start", "start")
	s.isAsBefore(address, before)

	s.isPaused()
	s.run("pause")
	if _, _, err := get(s.t.Context(), "https://"+address+"/meow"); err == nil {
		s.t.Error("a machine that was paused by hand answers")
	}
	s.code(2, "status")
	s.timed("unpause", "unpause")
	s.meowIsBack(address)

	s.isPaused()
	if err := syscall.Kill(s.process("agent"), syscall.SIGKILL); err != nil {
		s.t.Fatal(err)
	}
	s.timed("start, after kill -9 of the agent of a machine that is paused", "start")
	s.isAsBefore(address, before)
	s.timed("start --auto-pause off", "start", "--auto-pause", "off")
}

// isPaused waits until the machine is paused because nobody asks anything of it.
func (s *session) isPaused() {
	s.t.Helper()
	s.eventually(5*time.Minute, "a machine of which nobody asks anything to be paused", func(ctx context.Context) error {
		out, err := s.try(ctx, "status")
		if err == nil && (out.code != 2 || !strings.Contains(out.stderr, "so it is paused")) {
			err = fmt.Errorf("status has code %d and says\n%s%s", out.code, out.stdout, out.stderr)
		}
		return err
	})
}

// forgetsWatch leaves a watch open, as in a terminal that nobody looks at. It ends by itself when the machine is paused, or with
// the result.
func (s *session) forgetsWatch() (end func()) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	watch := exec.CommandContext(ctx, s.binary, "kubectl", "get", "nodes", "-w")
	watch.Cancel = func() error { return watch.Process.Signal(syscall.SIGTERM) } // which skiff hands on to kubectl
	lines, err := watch.StdoutPipe()
	if err == nil {
		err = watch.Start()
	}
	if err == nil {
		_, err = lines.Read(make([]byte, 1)) // it has begun
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return func() {
		cancel()
		_ = watch.Wait() // how it ended is not the matter
	}
}

// losesWhileSuspending kills QEMU while its memory is being kept: the cluster boots, and nothing is lost.
func (s *session) losesWhileSuspending(address string) {
	pid := s.process("qemu")
	done := make(chan output, 1)
	go func() {
		out, _ := s.try(s.t.Context(), "stop")
		done <- out
	}()
	// The copy of the memory is made once the guest stands still.
	s.eventually(30*time.Second, "a memory that is being kept", func(context.Context) error {
		_, err := os.Stat(s.home + "/state/clusters/skiff/nodes/skiff/suspended.part/memory")
		return err
	})
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		s.t.Fatal(err)
	}
	s.t.Logf("stop said %q", (<-done).stderr)
	s.timed("start, after kill -9 of qemu in a stop", "start")
	s.meowIsBack(address)
}
