package ssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"time"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/internal/counting"
	"github.com/skiff-k8s/skiff/machine"
)

// undoLimit bounds how long a creation that failed is taken back.
const undoLimit = 30 * time.Second

// slowest is how many bytes in a second the way to a machine carries at least.
const slowest = 16 << 10

var (
	_ machine.Machine   = (*Machine)(nil)
	_ drivers.Reporting = (*Machine)(nil)
)

// Machine is a handle of one machine. It exists for its cluster when it has the cluster's mark, and runs when its container
// runtime does. Commands run on it in any state.
type Machine struct {
	spec   machine.Spec
	runner machine.Runner
	limit  func(script string) time.Duration
}

// Name returns the node's name, whatever the machine calls itself.
func (m *Machine) Name() string { return m.spec.Name }

// Run runs a command on the machine.
func (m *Machine) Run(ctx context.Context, cmd machine.Cmd) (machine.Result, error) {
	result, err := m.runner.Run(ctx, cmd)
	return result, m.explain(err)
}

// Put writes a file on the machine.
func (m *Machine) Put(ctx context.Context, path string, mode fs.FileMode, body io.Reader) error {
	return m.explain(m.runner.Put(ctx, path, mode, body))
}

// Dial opens a connection from the machine, see machine.Dial.
func (m *Machine) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := machine.Dial(ctx, m.runner, network, addr)
	return conn, m.explain(err)
}

// State asks the machine. One that is not to be reached is Broken.
func (m *Machine) State(ctx context.Context) (machine.State, error) {
	out, err := m.script(ctx, "state.sh")
	if err != nil {
		return machine.Broken, err
	}
	owner, runtime, _ := strings.Cut(out, "\n")
	switch {
	case owner != m.mark():
		return machine.Absent, nil
	case strings.TrimSpace(runtime) == "active":
		return machine.Running, nil
	}
	return machine.Stopped, nil
}

// Start puts on the machine what is not there yet or differs, and starts the container runtime.
func (m *Machine) Start(ctx context.Context) error {
	return m.StartReporting(ctx, func(string, int64, int64) {})
}

// StartReporting implements drivers.Reporting.
func (m *Machine) StartReporting(ctx context.Context, report func(text string, done, total int64)) error {
	f, err := m.look(ctx)
	switch {
	case err != nil:
		return err
	case f.owner != m.mark():
		return fmt.Errorf("start machine %q: %s does not belong to the cluster", m.spec.Name, m.place())
	case len(f.readOnly) > 0:
		return told("start machine "+m.place(), f.locked())
	}
	if want := m.spec.Network.Address.Addr(); want.IsValid() && !f.has(want) {
		return fail.New(fail.MachineFailed, "start machine "+m.place(), "it had the address %s when the cluster was made, and has %s now", want, f.address).
			WithHint("Give the machine that address back, or delete the cluster and create it again: the address is in the certificates and in etcd.").
			WithNext("skiff delete -p %s", m.spec.Cluster)
	}
	if err := m.equip(ctx, report); err != nil {
		return err
	}
	report("starting the container runtime", 0, 0)
	if _, err := m.script(ctx, "start.sh"); err != nil {
		return fmt.Errorf("start machine %q: %w", m.spec.Name, err)
	}
	return nil
}

// equip puts what differs.
func (m *Machine) equip(ctx context.Context, report func(text string, done, total int64)) error {
	parts, err := openParts(m.spec.Image.Disk)
	if err != nil {
		return err
	}
	defer parts.close()
	have, err := m.script(ctx, "have.sh")
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for line := range strings.Lines(have) {
		there[strings.TrimSpace(line)] = true
	}
	var total, done int64
	var missing []part
	for _, part := range parts.list {
		if !there[part.digest+" "+part.path] {
			missing = append(missing, part)
			total += part.size
		}
	}
	for _, part := range missing {
		var body io.Reader
		if part.open != nil {
			body = &counting.Reader{Reader: part.open(), Count: func(n int) {
				done += int64(n)
				report("pushing "+part.path, done, total)
			}}
		}
		limit := m.limit("put.sh") + time.Duration(part.size/slowest)*time.Second
		if _, err := m.feed(ctx, "put.sh", limit, body, part.args()...); err != nil {
			return fmt.Errorf("put %s on the machine: %w", part.path, err)
		}
	}
	return nil
}

// Stop ends the kubelet, all pods and the container runtime, and keeps them from starting when the machine boots. The
// machine goes on.
func (m *Machine) Stop(ctx context.Context) error {
	state, err := m.State(ctx)
	if err != nil || state == machine.Absent {
		return err
	}
	if _, err := m.script(ctx, "stop.sh"); err != nil {
		return fmt.Errorf("stop machine %q: %w", m.spec.Name, err)
	}
	return nil
}

// Delete gives the machine back as it was. The cluster's mark goes last.
func (m *Machine) Delete(ctx context.Context) error {
	if err := m.Stop(ctx); err != nil {
		return m.deleted(err)
	}
	if _, err := m.script(ctx, "give.sh", m.mark(), folders); err != nil {
		return m.deleted(err)
	}
	return nil
}

// deleted says what can be done about a machine that cannot be cleared.
func (m *Machine) deleted(err error) error {
	var known *fail.Error
	if errors.As(err, &known) && known.ID == fail.SSHUnreachable {
		return fail.New(known.ID, "give "+m.place()+" back", "%w", known.Err).
			WithHint("When the machine is back, run the same command again. With --force the cluster is forgotten here, and the machine keeps what skiff put on it.").
			WithNext("skiff delete -p %s", m.spec.Cluster)
	}
	return err
}
