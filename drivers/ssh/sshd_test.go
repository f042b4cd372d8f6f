package ssh

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision/ssh"
)

// startSSHD runs OpenSSH's server on a loopback port until the test ends. It lets this user in with the key of identity.
func startSSHD(t *testing.T, identity ssh.Identity, more ...string) machine.SSH {
	t.Helper()
	const program = "/usr/sbin/sshd"
	if _, err := os.Stat(program); err != nil {
		t.Skip("sshd of Debian's openssh-server is not here")
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if me.Uid == "0" { // where its child without rights lives; the package leaves making it to the service manager
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	free, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := netip.MustParseAddrPort(free.Addr().String())
	_ = free.Close()
	dir := t.TempDir()
	config := append([]string{
		"ListenAddress " + address.String(), "HostKey " + filepath.Join(dir, "host"), "AuthorizedKeysFile " + filepath.Join(dir, "keys"),
		"PasswordAuthentication no", "KbdInteractiveAuthentication no", "UsePAM no", "StrictModes no", "PidFile none", "PermitRootLogin prohibit-password",
	}, more...)
	for name, content := range map[string][]byte{
		"host": identity.HostKey, "keys": identity.UserPublicKey, "config": []byte(strings.Join(config, "\n") + "\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(program, "-D", "-e", "-f", filepath.Join(dir, "config")) //nolint:noctx // ended below, in order
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	listens, ended := make(chan bool, 1), make(chan string, 1)
	go func() {
		var all strings.Builder
		for lines := bufio.NewScanner(log); lines.Scan(); {
			fmt.Fprintln(&all, lines.Text())
			if strings.Contains(lines.Text(), "Server listening") {
				listens <- true
			}
		}
		_ = cmd.Wait()
		ended <- all.String()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		if said := <-ended; t.Failed() {
			t.Logf("sshd said:\n%s", said)
		}
	})
	select {
	case <-listens:
	case said := <-ended:
		ended <- said
		t.Fatalf("sshd ended: %s", said)
	}
	return machine.SSH{Address: address, User: me.Username, PrivateKey: identity.UserKey, HostKey: identity.HostPublicKey}
}

// TestRealServer meets OpenSSH's own refusals, not those of the library that the other tests' server is made of.
func TestRealServer(t *testing.T) {
	t.Parallel()
	identity, err := ssh.GenerateIdentity("test")
	if err != nil {
		t.Fatal(err)
	}
	other, err := ssh.GenerateIdentity("other")
	if err != nil {
		t.Fatal(err)
	}
	target := startSSHD(t, identity)
	driver := New(Options{Runner: func(target machine.SSH) machine.Runner {
		runner := ssh.New(target)
		t.Cleanup(func() { _ = runner.Close() })
		return runner
	}})
	spec := machine.Spec{Cluster: "dev", Name: "skiff", SSH: target, Network: machine.Network{Mirror: netip.MustParseAddrPort("127.0.0.1:5000")}}

	// It lets us in and forwards; whether this host could be a machine is not this test's question.
	m := driver.machine(spec)
	if _, err := m.look(t.Context()); err != nil {
		t.Errorf("look: %v", err)
	}
	spec.SSH.HostKey = other.HostPublicKey
	if _, err := driver.Inspect(t.Context(), spec); !fail.Is(err, fail.SSHHostKeyChanged) {
		t.Errorf("another host key: got %v, want %s", err, fail.SSHHostKeyChanged)
	}
	spec.SSH = target
	spec.SSH.PrivateKey = other.UserKey
	if _, err := driver.Inspect(t.Context(), spec); !fail.Is(err, fail.SSHLoginRefused) {
		t.Errorf("another user key: got %v, want %s", err, fail.SSHLoginRefused)
	}
	spec.SSH = target
	spec.SSH.User = "nobody"
	if _, err := driver.Inspect(t.Context(), spec); !fail.Is(err, fail.SSHLoginRefused) {
		t.Errorf("another user: got %v, want %s", err, fail.SSHLoginRefused)
	}
}

func TestRealServerForwards(t *testing.T) {
	t.Parallel()
	for setting, refused := range map[string]bool{
		"AllowTcpForwarding yes": false, "AllowTcpForwarding no": true, "AllowTcpForwarding local": true, "AllowTcpForwarding remote": true,
	} {
		t.Run(setting, func(t *testing.T) {
			t.Parallel()
			identity, err := ssh.GenerateIdentity("test")
			if err != nil {
				t.Fatal(err)
			}
			target := startSSHD(t, identity, setting)
			free, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			mirror := netip.MustParseAddrPort(free.Addr().String())
			_ = free.Close()
			runner := ssh.New(target)
			defer runner.Close()
			m := &Machine{spec: machine.Spec{SSH: target, Network: machine.Network{Mirror: mirror}}, runner: runner, limit: limitOf}
			err = m.forwards(t.Context(), parse(fit))
			if refused != fail.Is(err, fail.MachineUnsuitable) || !refused && err != nil {
				t.Errorf("got %v, want a refusal: %t", err, refused)
			}
		})
	}
}
