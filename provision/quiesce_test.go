package provision

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
)

// guarded is a machine that runs the sentinel.
type guarded struct {
	says  string
	err   error
	args  []string
	ended chan struct{}
}

func (g *guarded) Run(_ context.Context, cmd machine.Cmd) (machine.Result, error) {
	defer close(g.ended)
	g.args = cmd.Args
	if g.err != nil {
		return machine.Result{}, g.err
	}
	for _, letter := range g.says {
		fmt.Fprint(cmd.Stdout, string(letter))
	}
	_, err := io.Copy(io.Discard, cmd.Stdin)
	return machine.Result{}, err
}

func (*guarded) Put(context.Context, string, fs.FileMode, io.Reader) error { return nil }

func TestQuiesce(t *testing.T) {
	t.Parallel()
	guest := &guarded{says: "still\n", ended: make(chan struct{})}
	release, err := Quiesce(t.Context(), guest, testConfig())
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-guest.ended:
		t.Error("the sentinel has ended before it was told to")
	default:
	}
	release()
	<-guest.ended
	if want := frozenGroups(); strings.Join(guest.args[len(guest.args)-len(want):], " ") != strings.Join(want, " ") {
		t.Errorf("got the arguments %q, want the groups %q at their end", guest.args, want)
	}

	failing := &guarded{err: &machine.RunError{Cmd: "perl", ExitCode: 2}, ended: make(chan struct{})}
	if _, err := Quiesce(t.Context(), failing, testConfig()); !fail.Is(err, fail.ProvisionFailed) {
		t.Errorf("no perl: got error %v, want %s", err, fail.ProvisionFailed)
	}
	slow := &guarded{ended: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Quiesce(ctx, slow, testConfig()); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got error %v, want %v", err, context.Canceled)
	}
	<-slow.ended // it was told that nobody waits any more
}

func TestAwake(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{"skiff: awake abc\r": "abc", "skiff: awake abc": "abc", "skiff: awake ": "", "[1.0] x skiff: awake abc": "-", "": "-"} {
		got, ok := Awake(line)
		if !ok {
			got = "-"
		}
		if got != want {
			t.Errorf("line %q: got %q, want %q", line, got, want)
		}
	}
	if !DNSAnswers("skiff: cluster DNS answers\r") || DNSAnswers("skiff: cluster DNS") {
		t.Error("the line about cluster DNS is not told from others")
	}
}

// machineFiles are the files that the sentinel reads and writes, in a folder.
type machineFiles struct {
	t   *testing.T
	dir string
}

func (m machineFiles) path(name string) string { return filepath.Join(m.dir, name) }

func (m machineFiles) write(name, content string) {
	m.t.Helper()
	err := os.MkdirAll(filepath.Dir(m.path(name)), 0o700)
	if err == nil {
		err = os.WriteFile(m.path(name), []byte(content), 0o700) //nolint:gosec // one of them is a program
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m machineFiles) read(name string) string {
	m.t.Helper()
	content, err := os.ReadFile(m.path(name))
	if err != nil {
		m.t.Fatal(err)
	}
	return string(content)
}

// sentinel starts the script on these files, and returns once all stands still.
func (m machineFiles) sentinel(dns net.Addr) (cmd *exec.Cmd, stdin io.Closer) {
	m.t.Helper()
	cmd = m.command(dns)
	in, err := cmd.StdinPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	if word, err := io.ReadAll(io.LimitReader(out, 6)); string(word) != "still\n" {
		m.t.Fatalf("the sentinel said %q, error %v", word, err)
	}
	for _, group := range []string{"pods", "kubelet"} {
		if got := m.read("cgroup/" + group + "/cgroup.freeze"); got != "1" {
			m.t.Errorf("control group %s: got %q, want it frozen", group, got)
		}
	}
	return cmd, in
}

// command is the script on these files.
func (m machineFiles) command(dns net.Addr) *exec.Cmd {
	m.t.Helper()
	port := "53"
	if dns != nil {
		_, port, _ = net.SplitHostPort(dns.String())
	}
	script := strings.NewReplacer(
		"/sys/fs/cgroup", m.path("cgroup"), "/sys/class/rtc/rtc0/since_epoch", m.path("rtc"), "/proc/uptime", m.path("uptime"), "/dev/hwrng", m.path("hwrng"),
		"/dev/urandom", m.path("urandom"), "/dev/console", m.path("console"), "'date'", "'"+m.path("date")+"'",
		"ioctl $pool, 0x5207, 0", "1", "syscall(227, 0, pack 'q2', $_[0], 0) == 0", "0", "'S n H8 x8', 2, 53", "'S n H8 x8', 2, "+port,
	).Replace(sentinel)
	if strings.Contains(script, "syscall") {
		m.t.Fatal("the script would set the clock of this host")
	}
	cmd := exec.CommandContext(m.t.Context(), "perl", "-e", script, m.path("certificates"), "7f000001",
		hex.EncodeToString([]byte("question")), hex.EncodeToString([]byte("answer")), "pods", "kubelet", "none")
	cmd.Stderr = os.Stderr
	return cmd
}

// sleeperFiles are a machine's on which the clock of the hardware stands at rtc.
func sleeperFiles(t *testing.T, rtc int64) machineFiles {
	t.Helper()
	if _, err := exec.LookPath("perl"); err != nil {
		t.Skip(err)
	}
	m := machineFiles{t: t, dir: t.TempDir()}
	m.write("rtc", strconv.FormatInt(rtc, 10)+"\n")
	m.write("uptime", "77.50 100.00\n")
	m.write("hwrng", strings.Repeat("r", 4096))
	m.write("urandom", "")
	m.write("console", "")
	m.write("certificates", "abc\n")
	m.write("cgroup/system.slice/cpu.idle", "0")
	m.write("date", "#!/bin/sh\necho \"$@\" >>"+m.path("date.log")+"\n")
	for _, group := range []string{"pods", "kubelet"} {
		m.write("cgroup/"+group+"/cgroup.freeze", "0")
		m.write("cgroup/"+group+"/cgroup.events", "populated 1\nfrozen 1\n")
		m.write("cgroup/"+group+"/cpu.stat", "usage_usec 5\nuser_usec 5\n")
	}
	return m
}

func (m machineFiles) goesOn(cmd *exec.Cmd) {
	m.t.Helper()
	if err := cmd.Wait(); err != nil {
		m.t.Errorf("the sentinel: %v", err)
	}
	for _, group := range []string{"pods", "kubelet"} {
		if got := m.read("cgroup/" + group + "/cgroup.freeze"); got != "0" {
			m.t.Errorf("control group %s: got %q, want it to go on", group, got)
		}
	}
	if got := m.read("cgroup/system.slice/cpu.idle"); got != "0" {
		m.t.Errorf("the units of systemd have cpu.idle %s in the end, want 0", got)
	}
}

// TestSentinelIsReleased: on the machine whose memory was kept all goes on, and its clock is left alone.
func TestSentinelIsReleased(t *testing.T) {
	t.Parallel()
	m := sleeperFiles(t, 1000) // it is not the time that matters, but that it goes on
	cmd, stdin := m.sentinel(nil)
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	m.goesOn(cmd)
	if said := m.read("console"); said != "" {
		t.Errorf("it said %q on the console, want nothing", said)
	}
	if _, err := os.Stat(m.path("date.log")); err == nil {
		t.Errorf("it set the clock: %s", m.read("date.log"))
	}
}

// TestSentinelOfNobody: who asked for it was killed before all stood still, so that nobody hears it and its input has ended.
func TestSentinelOfNobody(t *testing.T) {
	t.Parallel()
	m := sleeperFiles(t, 1000)
	heard, said, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := heard.Close(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = said.Close() }()
	cmd := m.command(nil)
	cmd.Stdout = said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	m.goesOn(cmd)
}

// TestSentinelWakes: where the clock of the hardware has gone on without the other, all is set right, in order.
func TestSentinelWakes(t *testing.T) {
	t.Parallel()
	m := sleeperFiles(t, 1000)
	dns, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dns.Close() }()
	cmd, stdin := m.sentinel(dns.LocalAddr())
	defer func() { _ = stdin.Close() }()
	m.write("rtc.new", "1002\n") // it stood still for two seconds
	if err := os.Rename(m.path("rtc.new"), m.path("rtc")); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 100)
	n, from, err := dns.ReadFrom(buffer)
	if err != nil || string(buffer[:n]) != "question" {
		t.Fatalf("cluster DNS was asked %q, error %v", buffer[:n], err)
	}
	// So far the clock and the random pool are right, the pods go on, and those who start pods do not.
	if got := m.read("date.log"); got != "-s @1002\n" {
		t.Errorf("the clock was set by %q", got)
	}
	if got := len(m.read("urandom")); got != 512 {
		t.Errorf("the random pool got %d bytes, want 512", got)
	}
	if pods, kubelet := m.read("cgroup/pods/cgroup.freeze"), m.read("cgroup/kubelet/cgroup.freeze"); pods != "0" || kubelet != "1" {
		t.Errorf("frozen: pods %s, kubelet %s; want 0 and 1", pods, kubelet)
	}
	if idle, script := m.read("cgroup/system.slice/cpu.idle"), m.read("cgroup/cgroup.procs"); idle != "1" || script != strconv.Itoa(cmd.Process.Pid) {
		t.Errorf("the units of systemd have cpu.idle %s, want 1; process %s has left them, want %d", idle, script, cmd.Process.Pid)
	}
	if _, err := dns.WriteTo([]byte("no"), from); err != nil {
		t.Fatal(err)
	}
	if _, _, err := dns.ReadFrom(buffer); err != nil { // it asks again
		t.Fatal(err)
	}
	if _, err := dns.WriteTo([]byte("the answer is"), from); err != nil {
		t.Fatal(err)
	}
	m.goesOn(cmd)
	if said := m.read("console"); !strings.Contains(said, dnsLine+"\n") { // the file is not a device: what was said before is gone
		t.Errorf("it said %q on the console", said)
	}
}
