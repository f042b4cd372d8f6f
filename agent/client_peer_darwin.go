package agent

import "golang.org/x/sys/unix"

// peerPID is the process at the other end of a unix socket (sys/un.h, LOCAL_PEERPID).
func peerPID(fd int) (int, error) {
	return unix.GetsockoptInt(fd, unix.SOL_LOCAL, unix.LOCAL_PEERPID)
}
