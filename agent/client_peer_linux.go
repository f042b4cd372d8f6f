package agent

import "golang.org/x/sys/unix"

// peerPID is the process at the other end of a unix socket: for a client, the one that called listen (unix(7), SO_PEERCRED).
func peerPID(fd int) (int, error) {
	peer, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0, err
	}
	return int(peer.Pid), nil
}
