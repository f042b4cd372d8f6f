package ssh

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision/ssh"
	"github.com/skiff-k8s/skiff/provision/ssh/sshtest"
)

// scripted is a machine behind a real SSH server that answers the driver's scripts from memory.
type scripted struct {
	*sshtest.Server
	dir string

	mu      sync.Mutex
	facts   string            // what look.sh tells, without owner
	owner   string            // the mark; empty: nobody's
	active  bool              // the container runtime runs
	files   map[string]string // path → digest
	ran     []string          // names of scripts, in order
	failing map[string]string // name of a script → what it complains about
	hangUp  string            // path at whose put the connection is lost, once
	hangs   string            // name of a script that does not end
}

func newScripted(t *testing.T) *scripted {
	t.Helper()
	s := &scripted{dir: t.TempDir(), facts: fit, files: map[string]string{}, failing: map[string]string{}}
	s.Server = sshtest.Start(t, s.handle)
	return s
}

// handle runs one command.
func (s *scripted) handle(ctx context.Context, cmd sshtest.Command) int {
	cmd.Line = strings.ReplaceAll(cmd.Line, "/var/lib/skiff-drivertest", s.dir) // where drivertest puts its files
	_, line, _ := strings.Cut(cmd.Line, "; exec ")
	if !strings.HasPrefix(line, "sh -c ") || !strings.Contains(line, " skiff-") {
		return sshtest.Shell(ctx, cmd)
	}
	// The host's shell takes the command line apart; the script itself is not run.
	out, err := exec.CommandContext(ctx, "sh", "-c", `sh() { shift 2; printf '%s\n' "$@"; }; `+line).Output()
	if err != nil {
		return 127
	}
	args := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	input, _ := io.ReadAll(cmd.Stdin)
	name := strings.TrimPrefix(args[0], "skiff-")
	s.mu.Lock()
	hangs := s.hangs == name
	s.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return 1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ran = append(s.ran, name)
	if complaint := s.failing[name]; complaint != "" {
		fmt.Fprintln(cmd.Stderr, complaint)
		return 1
	}
	return s.script(cmd, name, args[1:], input)
}

func (s *scripted) script(cmd sshtest.Command, name string, args []string, input []byte) int {
	switch name {
	case "look":
		fmt.Fprint(cmd.Stdout, s.facts)
		if s.owner != "" {
			fmt.Fprintf(cmd.Stdout, "owner %s\n", s.owner)
		}
	case "state":
		state := "inactive"
		if s.active {
			state = "active"
		}
		fmt.Fprintf(cmd.Stdout, "%s\n%s\n", s.owner, state)
	case "take":
		if s.owner != "" && s.owner != args[0] {
			return 3
		}
		s.owner = args[0]
	case "have":
		for path, digest := range s.files {
			fmt.Fprintf(cmd.Stdout, "%s %s\n", digest, path)
		}
	case "put":
		if s.hangUp == args[0] {
			s.hangUp = ""
			s.Disconnect()
			return 1
		}
		if args[1] != "link" && fmt.Sprint(len(input)) != args[3] {
			return 1
		}
		s.files[args[0]] = args[2]
	case "start":
		s.active = true
	case "stop":
		s.active = false
	case "give":
		if s.owner == args[0] {
			s.owner, s.files = "", map[string]string{}
		}
	default:
		return 127
	}
	return 0
}

// scripts returns the names of the scripts since the last call.
func (s *scripted) scripts() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	ran := s.ran
	s.ran = nil
	return ran
}

func (s *scripted) change(how func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	how()
}

// target returns a driver and a spec of the machine.
func (s *scripted) target(t *testing.T) (*Driver, machine.Spec) {
	t.Helper()
	identity, err := ssh.GenerateIdentity("test")
	if err != nil {
		t.Fatal(err)
	}
	spec := machine.Spec{
		Cluster: "dev", Name: "skiff", Dir: t.TempDir(), RunDir: t.TempDir(),
		Image:    machine.Image{Disk: testDisk(t)},
		Network:  machine.Network{Mirror: netip.MustParseAddrPort("127.0.0.1:5000")},
		Identity: identity.Machine(), SSH: s.SSH(),
	}
	return newDriver(t), spec
}

// newDriver returns a driver whose connections end with the test. Forwarding is another test's subject: a free port 5000
// cannot be relied on.
func newDriver(t *testing.T) *Driver {
	t.Helper()
	return New(Options{Runner: func(target machine.SSH) machine.Runner {
		runner := ssh.New(target)
		t.Cleanup(func() { _ = runner.Close() })
		return struct{ machine.Runner }{runner}
	}})
}

func wantScripts(t *testing.T, s *scripted, want ...string) {
	t.Helper()
	if got := s.scripts(); !slices.Equal(got, want) {
		t.Errorf("got the scripts %q, want %q", got, want)
	}
}
