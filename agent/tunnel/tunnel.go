// Package tunnel reaches a machine over one SSH connection instead of a virtual network: it has the same abilities, as far
// as SSH has them. The machine needs no open port but SSH's, and the host none at all.
package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision/ssh"
)

const (
	// firstPause and longestPause bound how long a lost connection waits for the next attempt.
	firstPause   = 500 * time.Millisecond
	longestPause = 15 * time.Second
)

// ErrUDP is why no UDP port is published from a machine behind SSH.
var ErrUDP = errors.New("UDP is not carried over SSH; such Services are reached from inside the cluster alone")

// Tunnel is one SSH connection that is made anew whenever it is lost. It is safe for concurrent use.
type Tunnel struct {
	runner *ssh.Runner
	listen netip.AddrPort
	place  string
	log    *slog.Logger
	conns  chan net.Conn
	ended  chan struct{}
}

// New returns a tunnel to the machine at target, which does not connect yet. listen is the address on the machine whose
// connections Listener gives out. place is the file on the machine in which the connection notes its server's process, so
// that the next one can end it when it was lost without the server's knowledge, and would keep the port for hours.
func New(target machine.SSH, listen netip.AddrPort, place string, log *slog.Logger) *Tunnel {
	return &Tunnel{
		runner: ssh.New(target), listen: listen, place: place, log: log,
		conns: make(chan net.Conn), ended: make(chan struct{}),
	}
}

// DialContext connects to a TCP address as the machine sees it.
func (t *Tunnel) DialContext(ctx context.Context, address netip.AddrPort) (net.Conn, error) {
	conn, err := t.runner.Dial(ctx, "tcp", address.String())
	if err != nil {
		return nil, fmt.Errorf("dial %s from the machine: %w", address, err)
	}
	return conn, nil
}

// ForwardUDP always fails with ErrUDP.
func (t *Tunnel) ForwardUDP(_, _ netip.AddrPort) (io.Closer, error) { return nil, ErrUDP }

// Connected reports whether the SSH connection is up.
func (t *Tunnel) Connected() bool { return t.runner.Connected() }

// Listener gives out the connections that are made to the listening address on the machine, over however many SSH
// connections. It ends with Run.
func (t *Tunnel) Listener() net.Listener { return listener{t} }

// Run keeps the connection up until ctx ends.
func (t *Tunnel) Run(ctx context.Context) {
	defer close(t.ended)
	stop := context.AfterFunc(ctx, func() { _ = t.runner.Close() })
	defer stop()
	pause, before := firstPause, ""
	for ctx.Err() == nil {
		began := time.Now()
		err := t.hold(ctx)
		if ctx.Err() != nil {
			return
		}
		if text := err.Error(); text != before {
			t.log.Warn("no connection to the machine", "err", err)
			before = text
		}
		if time.Since(began) > longestPause { // it had been up
			pause, before = firstPause, ""
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
		pause = min(2*pause, longestPause)
	}
}

// claimScript ends the server process noted in the file $1, if it is still the one that was noted, and notes its own
// there: the parent of this shell, or of the sudo that stands between. The time at which it was started (field 22 of /proc/PID/stat, proc(5)) tells it from a
// later one with the same number.
const claimScript = `began() { read -r line 2>/dev/null <"/proc/$1/stat" && set -- $line && echo "${22}"; }
server=$PPID
while read -r name 2>/dev/null <"/proc/$server/comm" && [ "$name" = sudo ] && read -r line 2>/dev/null <"/proc/$server/stat"; do
	set -- "$1" $line
	server=$5
done
mkdir -p "${1%/*}"
read -r pid time 2>/dev/null <"$1" || pid=
if [ -n "$pid" ] && [ "$pid" != "$server" ] && [ "$(began "$pid")" = "$time" ]; then kill "$pid"; fi
echo "$server $(began "$server")" >"$1"`

// hold connects and hands connections on until the SSH connection is lost. Its error is never nil.
func (t *Tunnel) hold(ctx context.Context) error {
	if _, err := t.runner.Run(ctx, machine.Cmd{Args: []string{"sh", "-c", claimScript, "sh", t.place}}); err != nil {
		return err
	}
	from, err := t.runner.Listen(ctx, t.listen.String())
	if err != nil {
		return err
	}
	defer from.Close()
	t.log.Info("connected to the machine", "mirror", t.listen)
	for {
		conn, err := from.Accept()
		if err != nil {
			return fmt.Errorf("%w (%w)", ssh.ErrConnectionLost, err)
		}
		select {
		case t.conns <- conn:
		case <-ctx.Done():
			_ = conn.Close()
			return ctx.Err()
		}
	}
}

// listener is the Listener of a Tunnel.
type listener struct{ tunnel *Tunnel }

var _ net.Listener = listener{}

func (l listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.tunnel.conns:
		return conn, nil
	case <-l.tunnel.ended:
		return nil, net.ErrClosed
	}
}

func (l listener) Close() error   { return nil }
func (l listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.tunnel.listen) }
