package ssh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/drivertest"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision/ssh"
	"github.com/skiff-k8s/skiff/provision/ssh/sshtest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	drivertest.Run(t, func(t *testing.T) drivertest.Target {
		s := newScripted(t)
		driver, spec := s.target(t)
		return drivertest.Target{
			Driver: driver, Spec: spec, Exists: true,
			Fresh: func() drivers.Driver { return newDriver(t) },
			Crash: func(context.Context, machine.Machine) error {
				s.change(func() { s.active = false })
				return nil
			},
		}
	})
}

// Checks come first, and nothing is changed when one fails.
func TestRefusesBeforeItChanges(t *testing.T) {
	t.Parallel()
	s := newScripted(t)
	driver, spec := s.target(t)
	s.change(func() { s.facts = strings.Replace(fit, "cpus 2", "cpus 1", 1) })
	if _, err := driver.Inspect(t.Context(), spec); !fail.Is(err, fail.MachineTooSmall) {
		t.Errorf("Inspect: got %v, want %s", err, fail.MachineTooSmall)
	}
	if _, err := driver.Create(t.Context(), spec); !fail.Is(err, fail.MachineTooSmall) {
		t.Errorf("Create: got %v, want %s", err, fail.MachineTooSmall)
	}
	wantScripts(t, s, "look", "look")
	s.change(func() { s.facts = fit })
	if got, err := driver.Inspect(t.Context(), spec); err != nil || got != netip.MustParseAddr("192.0.2.7") {
		t.Errorf("got address %s (%v), want 192.0.2.7", got, err)
	}
}

func TestNoShell(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		handler sshtest.Handler
		want    []string
	}{
		"another system": {func(_ context.Context, cmd sshtest.Command) int {
			fmt.Fprintln(cmd.Stderr, "'sh' is not recognized as a command")
			return 1
		}, []string{"not recognized", "status 1"}},
		"a command before the key": {func(_ context.Context, cmd sshtest.Command) int {
			fmt.Fprintln(cmd.Stdout, "Please login as the user \"ubuntu\" rather than the user \"root\".")
			return 142
		}, []string{"Please login as", "status 142"}},
	} {
		server := sshtest.Start(t, test.handler)
		_, err := newDriver(t).Inspect(t.Context(), machine.Spec{Cluster: "dev", SSH: server.SSH()})
		for _, want := range test.want {
			if !fail.Is(err, fail.MachineNotLinux) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %s with %q", name, err, fail.MachineNotLinux, want)
			}
		}
	}
}

// TestSudo: who is not root becomes it, and is told when that may not be.
func TestSudo(t *testing.T) {
	t.Parallel()
	lines := make(chan string, 1)
	server := sshtest.Start(t, func(_ context.Context, cmd sshtest.Command) int {
		select {
		case lines <- cmd.Line:
		default:
		}
		fmt.Fprintln(cmd.Stderr, "sudo: a password is required")
		return 1
	})
	target := server.SSH()
	target.User = "ada"
	_, err := newDriver(t).Inspect(t.Context(), machine.Spec{Cluster: "dev", SSH: target})
	if !fail.Is(err, fail.MachineUnsuitable) || !strings.Contains(err.Error(), "user ada cannot run commands as root") {
		t.Errorf("got %v, want %s", err, fail.MachineUnsuitable)
	}
	if line := <-lines; !strings.HasPrefix(line, "exec sudo -n -- env SKIFF_RUN=") || !strings.Contains(line, ` SSH_CONNECTION="$SSH_CONNECTION" sh -c `) {
		t.Errorf("the machine was told %.100q", line)
	}
}

// A machine of ours whose disk the kernel has closed for writing says so, rather than what fails first.
func TestReadOnlyLater(t *testing.T) {
	t.Parallel()
	s := newScripted(t)
	driver, spec := s.target(t)
	m, err := driver.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	s.change(func() { s.facts += "readonly /var/lib\n" })
	s.scripts()
	if err := m.Start(t.Context()); !fail.Is(err, fail.MachineReadOnly) {
		t.Errorf("got %v, want %s", err, fail.MachineReadOnly)
	}
	wantScripts(t, s, "look")
}

// Two clusters cannot have one machine, and neither touches the other's.
func TestAnotherCluster(t *testing.T) {
	t.Parallel()
	s := newScripted(t)
	driver, spec := s.target(t)
	s.change(func() { s.owner, s.active = "dev 0123456789abcdef", true }) // the same name, made on another host
	if _, err := driver.Create(t.Context(), spec); !fail.Is(err, fail.MachineInUse) {
		t.Errorf("Create: got %v, want %s", err, fail.MachineInUse)
	}
	m := driver.Machine(spec)
	if state, err := m.State(t.Context()); state != machine.Absent || err != nil {
		t.Errorf("State: got %s (%v), want %s", state, err, machine.Absent)
	}
	if err := errors.Join(m.Stop(t.Context()), m.Delete(t.Context())); err != nil {
		t.Error(err)
	}
	if err := m.Start(t.Context()); err == nil {
		t.Error("Start: got no error")
	}
	s.change(func() {
		if s.owner != "dev 0123456789abcdef" || !s.active {
			t.Errorf("the other cluster's machine was changed: owner %q, active %t", s.owner, s.active)
		}
	})
}

func TestPushesOnlyWhatDiffers(t *testing.T) {
	t.Parallel()
	s := newScripted(t)
	driver, spec := s.target(t)
	m, err := driver.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	var files int
	s.change(func() {
		files = len(s.files)
		for _, path := range []string{"/usr/local/bin/kube", "/usr/local/bin/kubelet", "/opt/cni/bin/bridge", "/etc/containerd/config.toml", "/etc/modules-load.d/skiff.conf"} {
			if s.files[path] == "" {
				t.Errorf("%s was not put", path)
			}
		}
		s.files["/usr/local/bin/runc"] = "another"
	})
	s.scripts()
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantScripts(t, s, "look", "have", "put", "start")
	s.change(func() {
		if len(s.files) != files {
			t.Errorf("got %d files after the second start, want %d", len(s.files), files)
		}
	})
}

// A connection that is lost in the middle has an ID of its own, and the next start goes on where this one ended.
func TestGoesOnAfterALostConnection(t *testing.T) {
	t.Parallel()
	s := newScripted(t)
	driver, spec := s.target(t)
	m, err := driver.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	s.change(func() { s.hangUp = "/usr/local/bin/kube" })
	err = m.Start(t.Context())
	if !fail.Is(err, fail.SSHUnreachable) || !errors.Is(err, ssh.ErrConnectionLost) {
		t.Fatalf("got %v, want %s", err, fail.SSHUnreachable)
	}
	s.scripts()
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range s.scripts() {
		if name == "put" {
			s.change(func() { s.ran = append(s.ran, name) })
		}
	}
	s.change(func() {
		if len(s.ran) >= len(s.files) {
			t.Errorf("%d files were pushed after the loss, of %d in all: got all, want the rest", len(s.ran), len(s.files))
		}
	})
}

func TestAddressChanged(t *testing.T) {
	t.Parallel()
	s := newScripted(t)
	driver, spec := s.target(t)
	m, err := driver.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	spec.Network.Address = netip.MustParsePrefix("192.0.2.8/32")
	if err := driver.Machine(spec).Start(t.Context()); !fail.Is(err, fail.MachineFailed) || !strings.Contains(err.Error(), "192.0.2.8") {
		t.Errorf("got %v, want %s that names the address", err, fail.MachineFailed)
	}
	spec.Network.Address = netip.MustParsePrefix("192.0.2.7/32")
	if err := driver.Machine(spec).Start(t.Context()); err != nil {
		t.Errorf("with its own address: %v", err)
	}
	_ = m
}

func TestScriptsThatFail(t *testing.T) {
	t.Parallel()
	s := newScripted(t)
	driver, spec := s.target(t)
	s.change(func() { s.failing["take"] = "disk full" })
	if _, err := driver.Create(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("Create: got %v, want what the script complained about", err)
	}
	wantScripts(t, s, "look", "take", "give")
	s.change(func() { delete(s.failing, "take"); s.failing["start"] = "no such unit" })
	m, err := driver.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "no such unit") || len(err.Error()) > 300 {
		t.Errorf("Start: got %v, want what the script complained about, and not the script", err)
	}
}

// A script that hangs on the machine, as on a disk that does not answer, does not hang skiff.
func TestScriptsThatHang(t *testing.T) {
	t.Parallel()
	s := newScripted(t)
	driver, spec := s.target(t)
	m, err := driver.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	for name, do := range map[string]func(machine.Machine) error{
		"look":  func(machine.Machine) error { _, err := driver.Inspect(t.Context(), spec); return err },
		"have":  func(m machine.Machine) error { return m.Start(t.Context()) },
		"state": func(m machine.Machine) error { _, err := m.State(t.Context()); return err },
		"stop":  func(m machine.Machine) error { return m.Stop(t.Context()) },
	} {
		s.change(func() { s.hangs = name })
		driver.limit = func(script string) time.Duration {
			if script == name+".sh" {
				return 300 * time.Millisecond
			}
			return limitOf(script)
		}
		if err := do(driver.Machine(spec)); !fail.Is(err, fail.MachineFailed) || !strings.Contains(err.Error(), name+".sh") {
			t.Errorf("%s: got %v, want %s that names the script", name, err, fail.MachineFailed)
		}
	}
	s.change(func() { s.hangs = "" })
	if err := m.Delete(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestWaysThatFail(t *testing.T) {
	t.Parallel()
	s := newScripted(t)
	driver, good := s.target(t)
	other, err := ssh.GenerateIdentity("other")
	if err != nil {
		t.Fatal(err)
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close()
	for name, test := range map[string]struct {
		change func(*machine.SSH)
		id     fail.ID
	}{
		"changed host key": {func(s *machine.SSH) { s.HostKey = other.HostPublicKey }, fail.SSHHostKeyChanged},
		"refused login":    {func(s *machine.SSH) { s.PrivateKey = other.UserKey }, fail.SSHLoginRefused},
		"nothing there":    {func(s *machine.SSH) { s.Address = netip.MustParseAddrPort(listener.Addr().String()) }, fail.SSHUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec := good
			test.change(&spec.SSH)
			m := driver.Machine(spec)
			_, createErr := driver.Create(t.Context(), spec)
			_, inspectErr := driver.Inspect(t.Context(), spec)
			state, stateErr := m.State(t.Context())
			_, runErr := m.Run(t.Context(), machine.Cmd{Args: []string{"true"}})
			for what, err := range map[string]error{
				"Create": createErr, "Inspect": inspectErr, "State": stateErr, "Run": runErr, "Start": m.Start(t.Context()),
				"Stop": m.Stop(t.Context()), "Delete": m.Delete(t.Context()),
			} {
				if !fail.Is(err, test.id) {
					t.Errorf("%s: got %v, want %s", what, err, test.id)
				}
			}
			if state != machine.Broken {
				t.Errorf("got state %s, want %s", state, machine.Broken)
			}
		})
	}
}

// A caller that gives up hears of that, and not of the machine.
func TestCancel(t *testing.T) {
	t.Parallel()
	s := newScripted(t)
	driver, spec := s.target(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	if _, err := driver.Create(ctx, spec); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
	}
}
