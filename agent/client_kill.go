package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
)

// kill ends an agent that does not answer, and returns once its process has let go of the socket. The kernel names the
// process that listens there, so no number that was written down earlier, and may be another process's by now, is needed.
func (c *Client) kill(ctx context.Context) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", c.socket)
	if err != nil {
		return fmt.Errorf("end the agent: %w", err)
	}
	defer func() { _ = conn.Close() }()
	pid, err := listenerPID(conn)
	if err != nil {
		return fmt.Errorf("find the process of the agent behind %s: %w", c.socket, err)
	}
	if pid <= 1 || pid == os.Getpid() {
		return fmt.Errorf("end the agent behind %s: %w, and process %d cannot be it", c.socket, ErrSilent, pid)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("end the agent, process %d: %w", pid, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	_, _ = io.Copy(io.Discard, conn) // ends with the process
	return ctx.Err()
}

// listenerPID is the process that made the unix socket at the other end of conn.
func listenerPID(conn net.Conn) (pid int, err error) {
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return 0, fmt.Errorf("%s is not a unix socket", conn.RemoteAddr())
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0, err
	}
	var unknown error
	err = raw.Control(func(fd uintptr) { pid, unknown = peerPID(int(fd)) })
	return pid, errors.Join(err, unknown)
}
