//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// laterVariable says by how much the clock of skiff and of QEMU is ahead, as a duration of Go.
const laterVariable = "SKIFF_TEST_LATER"

// TestLater: memory that is restored an hour or 400 days later goes on at that time, and certificates that have ended meanwhile
// are renewed.
func TestLater(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short: it compiles the standard library with another clock")
	}
	s := newSession(t)
	s.movesClocks()
	s.timed("start, cold", "start", "--offline", "--cert-expiration", "8760h") // a year
	s.apply(counterPod())
	s.run("kubectl", "wait", "pod/counter", "--for=condition=Ready", "--timeout=3m")
	s.run("snapshot", "save", "early")
	before := s.run("ssh", "--", "cat", "/etc/kubernetes/pki/apiserver.crt")

	s.run("stop")
	s.later(time.Hour)
	if told := s.comesBack("start, an hour later", "start", "-v"); strings.Contains(told, "certificates") {
		t.Errorf("an hour later certificates were renewed:\n%s", told)
	}
	if now := s.run("ssh", "--", "cat", "/etc/kubernetes/pki/apiserver.crt"); now != before {
		t.Error("an hour later the API server has another certificate")
	}

	const days = 24 * time.Hour
	s.run("stop")
	s.later(400 * days)
	if told := s.comesBack("start, 400 days later", "start", "-v"); !strings.Contains(told, "renewing certificates") {
		t.Errorf("400 days later nothing is told of new certificates:\n%s", told)
	}
	if now := s.run("ssh", "--", "cat", "/etc/kubernetes/pki/apiserver.crt"); now == before {
		t.Error("400 days later the API server has the certificate of before")
	}
	if told := s.comesBack("snapshot restore, 400 days later", "snapshot", "restore", "early", "-v"); !strings.Contains(told, "renewing certificates") {
		t.Errorf("after the restore nothing is told of new certificates:\n%s", told)
	}
}

// movesClocks replaces skiff, and the QEMU that it finds, with such as take the time from laterVariable: the standard library
// of one, and the C library below the other, add it to the clock. Time that passes is as ever.
func (s *session) movesClocks() {
	s.t.Helper()
	dir := s.t.TempDir()
	source := filepath.Join(runtime.GOROOT(), "src", "time", "time.go") //nolint:staticcheck // tests run where they are compiled
	content, err := os.ReadFile(source)
	if err != nil {
		s.t.Fatal(err)
	}
	const read = "sec, nsec, mono := runtimeNow()\n"
	if bytes.Count(content, []byte(read)) == 0 {
		s.t.Fatalf("%s does not read the clock as %q", source, read)
	}
	content = bytes.ReplaceAll(content, []byte(read), []byte(read+"sec += later\n"))
	content = append(content, `
var later = func() int64 {
	text, _ := syscall.Getenv("`+laterVariable+`")
	duration, _ := ParseDuration(text)
	return int64(duration / Second)
}()
`...)
	content = bytes.Replace(content, []byte("import (\n"), []byte("import (\n\t\"syscall\"\n"), 1)
	moved, overlay := filepath.Join(dir, "time.go"), filepath.Join(dir, "overlay.json")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {source: moved}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.put(moved, string(content), 0o600)
	s.put(overlay, string(replace), 0o600)
	build := exec.CommandContext(s.t.Context(), "go", "build", "-overlay", overlay, "-trimpath", "-buildvcs=false",
		"-o", s.binary, "github.com/skiff-k8s/skiff/cmd/skiff")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		s.t.Fatalf("build skiff with another clock: %v\n%s", err, out)
	}

	const qemu = "qemu-system-x86_64"
	real, err := exec.LookPath(qemu)
	if err != nil {
		s.t.Fatal(err)
	}
	const wrapper = `#!/bin/sh
LD_PRELOAD=%s/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1 DONT_FAKE_MONOTONIC=1 FAKETIME="+$%s" exec %s "$@"
`
	s.put(filepath.Join(dir, qemu), fmt.Sprintf(wrapper, unpacked(s.t, "libfaketime"), laterVariable, real), 0o700)
	s.t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	s.later(0)
}

// later moves the clock of what is started from now on.
func (s *session) later(by time.Duration) {
	s.t.Helper()
	s.t.Setenv(laterVariable, fmt.Sprintf("%ds", int64(by.Seconds())))
}

// put writes a file.
func (s *session) put(path, content string, mode os.FileMode) {
	s.t.Helper()
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		s.t.Fatal(err)
	}
}

// comesBack restores memory, expects that the cluster then works at its time as one that was never away, and returns what skiff
// told.
func (s *session) comesBack(name string, args ...string) string {
	s.t.Helper()
	begin := time.Now()
	told := s.code(0, args...).stderr
	s.note(name, time.Since(begin))
	if strings.Contains(told, "boots") {
		s.t.Errorf("the cluster booted:\n%s", told)
	}
	ahead, err := time.ParseDuration(os.Getenv(laterVariable))
	if err != nil {
		s.t.Fatal(err)
	}
	guest, err := strconv.ParseFloat(s.run("ssh", "--", "date", "+%s.%N"), 64)
	if err != nil {
		s.t.Fatal(err)
	}
	if off := time.Now().Add(ahead).Sub(time.Unix(0, int64(guest*1e9))); math.Abs(off.Seconds()) > 4 { // a slow answer counts too
		s.t.Errorf("the guest's clock is %s behind", off)
	}
	// Through all components: the controllers, the scheduler, the kubelet, and what reads logs from the last.
	s.inGuest("delete", "deployment", "web", "--ignore-not-found", "--wait=true")
	s.inGuest("create", "deployment", "web", "--image=kennship/http-echo:latest")
	s.inGuest("rollout", "status", "deployment/web", "--timeout=5m")
	if nodes := s.inGuest("get", "nodes", "--no-headers"); !strings.Contains(nodes, " Ready ") {
		s.t.Errorf("the node is %q", nodes)
	}
	if number, err := strconv.Atoi(s.inGuest("logs", "counter", "--tail=1")); err != nil || number == 0 {
		s.t.Errorf("the counter is at %d (%v)", number, err)
	}
	if starts := s.inGuest("get", "pod", "counter", "-o", "jsonpath={.status.containerStatuses[0].restartCount}"); starts != "0" {
		s.t.Errorf("the counter was started again %s times", starts)
	}
	return told
}

// inGuest runs kubectl where the clock is the one that was moved; that of this computer would find new certificates not valid yet.
func (s *session) inGuest(args ...string) string {
	s.t.Helper()
	return s.run(append([]string{"ssh", "--", "kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf"}, args...)...)
}
