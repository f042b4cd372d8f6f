// Package ssh takes over a Linux machine that exists already, over SSH, and gives it back as it was. It puts the programs
// of the guest image there and runs the container runtime; the machine itself it neither makes nor ends. Everything about
// it is read from the machine, so any number of skiff processes can look after it, one after the other.
package ssh

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	xssh "golang.org/x/crypto/ssh"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision/ssh"
)

// Options say what the driver works with.
type Options struct {
	// Runner returns how commands run on the machine. It is called once for each handle, and must not connect by itself.
	Runner func(machine.SSH) machine.Runner
}

var (
	_ drivers.Driver  = (*Driver)(nil)
	_ drivers.Adopter = (*Driver)(nil)
)

// Driver is the drivers.Driver of machines that exist.
type Driver struct {
	options Options
	limit   func(script string) time.Duration // tests have shorter ones
}

// New returns the driver.
func New(options Options) *Driver { return &Driver{options, limitOf} }

// limitOf is how long a script may take on a slow and busy machine, connecting included, which has a limit of half a minute
// of its own. A script that takes longer waits for a disk that does not answer, or for a unit that does not end.
func limitOf(script string) time.Duration {
	switch script {
	case "state.sh":
		return time.Minute
	case "look.sh", "have.sh", "take.sh":
		return 2 * time.Minute
	}
	return 5 * time.Minute // units may take a minute and a half each to start or end, and images some time to be removed
}

// Name returns "ssh".
func (d *Driver) Name() string { return "ssh" }

// Check finds nothing: what matters is on the machine, and Inspect looks there.
func (d *Driver) Check(context.Context) []drivers.Finding {
	return []drivers.Finding{{Name: "ssh", Level: drivers.Good, Text: "takes over a machine that --ssh-ip-address names; nothing is needed on this host"}}
}

// Machine returns the handle of the machine at spec.SSH.
func (d *Driver) Machine(spec machine.Spec) machine.Machine { return d.machine(spec) }

// Machines finds none: a machine that exists is known to those who named it, and to no list.
func (d *Driver) Machines(context.Context) ([]drivers.Found, error) { return nil, nil }

// Inspect implements drivers.Adopter. A machine that is the cluster's already passes.
func (d *Driver) Inspect(ctx context.Context, spec machine.Spec) (netip.Addr, error) {
	m := d.machine(spec)
	f, err := m.look(ctx)
	if err != nil {
		return netip.Addr{}, err
	}
	if f.owner != m.mark() {
		err = errors.Join(f.refuse(m.place()), m.forwards(ctx, f))
	}
	return f.address, err
}

// Create marks the machine as the cluster's, once all that Inspect looks at is as it must be, and after it has written
// down there how the machine was.
func (d *Driver) Create(ctx context.Context, spec machine.Spec) (machine.Machine, error) {
	m := d.machine(spec)
	f, err := m.look(ctx)
	if err != nil {
		return nil, err
	}
	if f.owner == m.mark() {
		return m, nil
	}
	if err := errors.Join(f.refuse(m.place()), m.forwards(ctx, f)); err != nil {
		return nil, err
	}
	if _, err := m.script(ctx, "take.sh", m.mark(), folders, settings); err != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
		defer cancel()
		_, undone := m.script(undo, "give.sh", m.mark(), folders) // nothing when another cluster has it
		return nil, errors.Join(fmt.Errorf("take over %s: %w", m.place(), err), undone)
	}
	return m, nil
}

func (d *Driver) machine(spec machine.Spec) *Machine {
	return &Machine{spec: spec, runner: d.options.Runner(spec.SSH), limit: d.limit}
}

// mark is what tells this cluster from all others, also from one of the same name on another host.
func (m *Machine) mark() string {
	sum := sha256.Sum256(m.spec.Identity.AuthorizedKey)
	return m.spec.Cluster + " " + hex.EncodeToString(sum[:8])
}

// place is what the machine is called in messages.
func (m *Machine) place() string {
	if at := m.spec.SSH.Address; at.Port() != sshPort {
		return m.spec.SSH.User + "@" + at.String()
	}
	return m.spec.SSH.User + "@" + m.spec.SSH.Address.Addr().String()
}

const sshPort = 22

// forwarder is a Runner that opens and takes connections on the machine's side.
type forwarder interface {
	Dial(ctx context.Context, network, addr string) (net.Conn, error)
	Listen(ctx context.Context, addr string) (net.Listener, error)
}

// forwards tries what the connection to the cluster will need of the SSH server, both ways.
func (m *Machine) forwards(ctx context.Context, f facts) error {
	runner, ok := m.runner.(forwarder)
	if !ok || len(f.problems()) > 0 {
		return nil
	}
	conn, err := runner.Dial(ctx, "tcp", m.spec.Network.Mirror.String())
	var refused *xssh.OpenChannelError
	switch {
	case err == nil:
		_ = conn.Close()
	case errors.As(err, &refused) && refused.Reason == xssh.Prohibited:
		return m.noForwarding()
	case errors.As(err, &refused): // nothing listens there, which is as it should be
	default:
		return m.explain(err)
	}
	listener, err := runner.Listen(ctx, m.spec.Network.Mirror.String())
	switch {
	case err == nil:
		_ = listener.Close()
		return nil
	case ctx.Err() != nil || ssh.Lost(err):
		return m.explain(err)
	}
	return m.noForwarding()
}

func (m *Machine) noForwarding() error {
	return fail.New(fail.MachineUnsuitable, "take over "+m.place(), "its SSH server does not forward TCP connections").
		WithHint("The cluster is reached through the SSH connection: set `AllowTcpForwarding yes` in /etc/ssh/sshd_config of the machine, and reload its SSH server.")
}

// explain gives the failures of the way to the machine their IDs.
func (m *Machine) explain(err error) error {
	if err == nil || fail.Known(err) || errors.Is(err, context.Canceled) {
		return err
	}
	var key *ssh.HostKeyError
	var login *ssh.LoginError
	at := m.spec.SSH.Address
	op := "reach " + m.place()
	switch {
	case errors.As(err, &key):
		return fail.New(fail.SSHHostKeyChanged, op, "%w", err).
			WithHint("Either the machine was reinstalled, or another one answers in its place: find out which. The cluster trusts the key that it was created with; on a reinstalled machine nothing of it is left.").
			WithNext("skiff delete --force -p %s", m.spec.Cluster)
	case errors.As(err, &login):
		return fail.New(fail.SSHLoginRefused, op, "%w", err).
			WithHint("The machine must let %s in with the key of --ssh-key: add its public half to ~/.ssh/authorized_keys there. skiff offers no passwords.", m.spec.SSH.User).
			WithNext("ssh -p %d -o IdentitiesOnly=yes -i KEY %s@%s true", at.Port(), m.spec.SSH.User, at.Addr())
	case ssh.Lost(err):
		return fail.New(fail.SSHUnreachable, op, "%w", err).
			WithHint("When the machine is back, the same command continues where this one ended.")
	}
	return err
}

// script runs one of the scripts with arguments within its limit, and returns what it printed.
func (m *Machine) script(ctx context.Context, name string, args ...string) (string, error) {
	return m.feed(ctx, name, m.limit(name), nil, args...)
}

// feed runs one of the scripts with an input.
func (m *Machine) feed(ctx context.Context, name string, limit time.Duration, stdin io.Reader, args ...string) (string, error) {
	text, err := scripts.ReadFile("scripts/" + name)
	if err != nil {
		return "", err
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	// $0 names the script, for whoever looks at the machine's processes.
	result, err := m.runner.Run(limited, machine.Cmd{Args: append([]string{"sh", "-c", string(text), "skiff-" + strings.TrimSuffix(name, ".sh")}, args...), Stdin: stdin})
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return "", fail.New(fail.MachineFailed, "use "+m.place(), "%s has not ended within %s", name, limit).
			WithHint("Something on the machine hangs, such as a disk or a unit of systemd. `ps -ef | grep skiff-` there shows what the script waits for.")
	}
	if failed, ok := errors.AsType[*machine.RunError](err); ok {
		short := *failed
		short.Cmd = name
		if words := strings.TrimSpace(string(failed.Stderr)); words != "" {
			return string(result.Stdout), fmt.Errorf("%w: %s", &short, lastLine(words))
		}
		return string(result.Stdout), &short
	}
	return string(result.Stdout), m.explain(err)
}

func lastLine(text string) string { return text[strings.LastIndexByte(text, '\n')+1:] }
