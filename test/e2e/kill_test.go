//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/drivers/drivertest"
)

// TestKills ends skiff, the agent or QEMU with SIGKILL at random moments of what keeps memory or goes on from it. After that the
// next start works, with the number that was noted last in the cluster, or where a snapshot was being restored with that of the
// snapshot; and no snapshot is lost.
func TestKills(t *testing.T) {
	usual := 8
	if testing.Short() {
		usual = 0
	}
	rounds, random := drivertest.Kills(t, usual)
	k := killing{session: newSession(t), random: random, snapshots: map[string]int{}}
	k.timed("start, cold", "start", "--offline")
	k.run("kubectl", "create", "configmap", "noted", "--from-literal=number=0")
	k.apply(counterPod())
	k.run("kubectl", "wait", "pod/counter", "--for=condition=Ready", "--timeout=3m")
	k.run("snapshot", "save", "first")
	k.snapshots["first"] = 0
	for round := range rounds {
		k.round(round + 1)
		if t.Failed() {
			return
		}
	}
	for name, number := range k.snapshots {
		k.timed("snapshot restore", "snapshot", "restore", name)
		if got := k.noted(); got != number {
			t.Errorf("snapshot %s has the number %d, want %d", name, got, number)
		}
		k.counts(0)
	}
}

// killing is a cluster whose processes are killed.
type killing struct {
	*session
	random    *rand.Rand
	snapshots map[string]int // the numbers that they have
}

// longest is about how long each command takes; later nothing is left of it to be killed.
func longest(command string) time.Duration {
	return map[string]time.Duration{"stop": 3 * time.Second, "start": 4 * time.Second, "save": 5 * time.Second, "restore": 5 * time.Second}[command]
}

func (k killing) round(number int) {
	k.t.Helper()
	command := []string{"stop", "start", "save", "restore"}[k.random.IntN(4)]
	victim := []string{"skiff", "agent", "qemu"}[k.random.IntN(3)]
	after := time.Duration(k.random.Int64N(int64(longest(command))))
	k.run("kubectl", "patch", "configmap", "noted", "-p", fmt.Sprintf(`{"data":{"number":"%d"}}`, number))
	may := []int{number}
	args := []string{command}
	switch command {
	case "start":
		k.run("stop")
	case "save":
		args = []string{"snapshot", "save", fmt.Sprintf("s%d", number)}
	case "restore":
		list := k.listed()
		name := list[k.random.IntN(len(list))].Name
		args = []string{"snapshot", "restore", name}
		may = append(may, k.snapshots[name])
	}
	k.t.Logf("round %d: kill %s %s after the beginning of %v", number, victim, after, args)
	k.t.Logf("%v: %s", args, k.killed(victim, after, args))
	began := time.Now()
	out := k.code(0, "start")
	how := "goes on"
	if strings.Contains(out.stderr, "Boot machine") || strings.Contains(out.stderr, "boots") {
		how = "boots"
	}
	k.note(fmt.Sprintf("start, after kill -9 of %s in a %s: %s", victim, command, how), time.Since(began))
	if got := k.noted(); !slices.Contains(may, got) {
		k.t.Errorf("round %d: the cluster has the number %d, want one of %v", number, got, may)
	}
	k.counts(0)
	list := k.listed()
	for name := range k.snapshots {
		if !slices.ContainsFunc(list, func(one saved) bool { return one.Name == name }) {
			k.t.Errorf("round %d: snapshot %s is gone", number, name)
		}
	}
	for _, one := range list {
		if _, known := k.snapshots[one.Name]; !known {
			k.snapshots[one.Name] = number
		}
	}
	if len(list) > 3 { // each takes as much of the disk as the guest's memory
		name := list[k.random.IntN(len(list))].Name
		k.run("snapshot", "delete", name)
		delete(k.snapshots, name)
	}
}

// killed runs skiff, kills it or another of the cluster's processes after a time, and returns what then came of it.
func (k killing) killed(victim string, after time.Duration, args []string) string {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(k.t.Context(), 10*time.Minute)
	defer cancel()
	var told strings.Builder
	cmd := exec.CommandContext(ctx, k.binary, args...)
	cmd.Stderr = &told
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		return fmt.Sprintf("ended before (%v)", err)
	case <-time.After(after): // the moment is the matter
	}
	pids := []int{cmd.Process.Pid}
	if victim != "skiff" {
		pids = k.processes(victim)
	}
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended by itself
	}
	err := <-ended
	if ctx.Err() != nil {
		k.t.Errorf("%v did not end after %s was killed", args, victim)
	}
	return fmt.Sprintf("killed %d, then it ended (%v) and said %q", len(pids), err, told.String())
}

// noted is the number in the cluster.
func (k killing) noted() int {
	k.t.Helper()
	number, err := strconv.Atoi(k.run("kubectl", "get", "configmap", "noted", "-o", "jsonpath={.data.number}"))
	if err != nil {
		k.t.Fatal(err)
	}
	return number
}
