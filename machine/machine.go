// Package machine holds the vocabulary shared by all who make, reach or use a machine: what one should be (Spec), what
// it is (State), and how commands run on it (Cmd, Result, Runner). It is a leaf: it knows nothing of Kubernetes,
// drivers, SSH or files on the host, and imports only the standard library.
package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"strings"
)

// State is what a machine is doing, as its technology reports it.
type State string

// ErrUncontrolled means that a machine runs and takes no commands any more, as its control socket was removed. Its state is
// Broken then. Stop and Start end it: Stop through the guest where that answers.
var ErrUncontrolled = errors.New("it runs and cannot be controlled: its control socket is gone")

// The states of a machine. Broken means that something of the machine exists which cannot be used as it is; the error
// that came with it says what.
const (
	Absent  State = "Absent"
	Stopped State = "Stopped"
	Running State = "Running"
	Paused  State = "Paused"
	Broken  State = "Broken"
)

// Spec says what a machine should be. A driver may rely on it having been validated.
type Spec struct {
	Cluster   string // the profile that owns the machine; 1 to 63 bytes of [a-z0-9-]
	Name      string // the node's name and host name, an RFC 1123 label: "skiff", "skiff-m02", …
	Dir       string // folder of the machine's own files (disk, seed, console log); exists, mode 0700
	RunDir    string // folder of its sockets and pid files; exists, mode 0700, short enough for unix sockets
	CPUs      int    // virtual processors
	MemoryMiB int    // memory in MiB
	DiskBytes int64  // size of the disk as the guest sees it, in bytes
	Image     Image
	Network   Network
	Identity  Identity
	SSH       SSH
}

// Image names the read-only files that machines boot from. They are shared by all machines and never written.
type Image struct {
	Digest  string // names the content of the other files; saved memory fits no other
	Disk    string // raw ext4 root file system; each machine's disk is a copy-on-write layer over it
	Kernel  string // Linux kernel, booted directly
	Initrd  string
	Cmdline string // kernel command line, to which the driver adds the words for what executes the guest (package tuning)
	// Emulator is the QEMU that comes with the image for software emulation on this host, with its firmware beside it; empty when
	// there is none.
	Emulator string
	// Boots is the folder of boots that were saved for machines of this image, one for each size; it need not be there, nor named.
	Boots string
}

// Network is the machine's network card: a stream socket of the cluster's virtual network.
type Network struct {
	Socket  string // unix socket on which the virtual network waits for the machine (QEMU's -netdev stream)
	MAC     string
	Address netip.Prefix // the machine's address inside the virtual network, with its prefix length
	Gateway netip.Addr   // also the DNS server
	// Mirror is where the machine asks for images: an address of its own. It is set for machines outside of a virtual network,
	// which ask the gateway's port 5000.
	Mirror netip.AddrPort
	// Joined is the address of a second card, in a network of the host; the zero Prefix when there is none, or the driver
	// has not chosen one yet (see drivers.Joiner).
	Joined netip.Prefix
}

// Identity is what makes the machine this one and no other. It is handed over on a seed disk.
type Identity struct {
	HostKey       []byte // private SSH host key, OpenSSH PEM
	AuthorizedKey []byte // the user's public key, one authorized_keys line
}

// SSH says how the machine is reached from the host.
type SSH struct {
	Address    netip.AddrPort
	User       string
	PrivateKey []byte // OpenSSH PEM
	HostKey    []byte // the public half of Identity.HostKey, one authorized_keys line; any other key is refused
}

// Cmd is one command. It is an argument vector and never a shell string.
type Cmd struct {
	Args   []string
	Stdin  io.Reader // nil: empty
	Stdout io.Writer // nil: kept in Result
	Stderr io.Writer // nil: kept in Result
}

// String returns the command in a form that can be pasted into a POSIX shell.
func (c Cmd) String() string {
	quoted := make([]string, len(c.Args))
	for i, arg := range c.Args {
		quoted[i] = Quote(arg)
	}
	return strings.Join(quoted, " ")
}

// Quote returns arg so that a POSIX shell reads it as one literal word.
func Quote(arg string) string {
	if arg != "" && strings.IndexFunc(arg, func(r rune) bool { return !strings.ContainsRune(plain, r) }) < 0 {
		return arg
	}
	return "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
}

const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=,@%+"

// Result is what a command that exited with status 0 printed, as far as Cmd did not send it elsewhere.
type Result struct {
	Stdout, Stderr []byte
}

// RunError is a command that ran and did not exit with status 0.
type RunError struct {
	Cmd      string // as of Cmd.String
	ExitCode int    // 1 to 255; -1 when a signal ended it
	Stdout   []byte
	Stderr   []byte
}

func (e *RunError) Error() string {
	return fmt.Sprintf("command %q exited with status %d", e.Cmd, e.ExitCode)
}

// Runner is somewhere commands run: the host, or a machine over SSH. It is safe for concurrent use.
type Runner interface {
	// Run runs cmd to its end. A command that fails gives *RunError; a cancelled ctx ends the command there too and
	// gives an error that wraps ctx.Err().
	Run(ctx context.Context, cmd Cmd) (Result, error)
	// Put replaces the file at path in one step, so that a reader sees the old content or the new one. Missing parent
	// folders are made.
	Put(ctx context.Context, path string, mode fs.FileMode, body io.Reader) error
}

// Wait returns once commands run where r runs them, or when ctx ends with the reason why they did not. Those who know a
// better way than to run one have a method of this name.
func Wait(ctx context.Context, r Runner) error {
	if waiter, ok := r.(interface{ Wait(context.Context) error }); ok {
		return waiter.Wait(ctx)
	}
	_, err := r.Run(ctx, Cmd{Args: []string{"true"}})
	return err
}

// Dial opens a connection from where r runs commands, such as from a machine to itself. network is "tcp" or "unix". Those
// who cannot give errors.ErrUnsupported.
func Dial(ctx context.Context, r Runner, network, addr string) (net.Conn, error) {
	if dialer, ok := r.(interface {
		Dial(ctx context.Context, network, addr string) (net.Conn, error)
	}); ok {
		return dialer.Dial(ctx, network, addr)
	}
	return nil, errors.ErrUnsupported
}

// Machine is one machine that a driver made. Start, Stop and Delete are idempotent: they return nil when it is already
// so. Its methods are safe for concurrent use.
type Machine interface {
	Runner
	Name() string
	// State asks the technology. With Broken comes an error that says what is wrong.
	State(ctx context.Context) (State, error)
	// Start powers the machine on (or continues a paused one) and returns once it runs, not once it answers: use Wait for
	// that.
	Start(ctx context.Context) error
	// Stop asks the guest to power off and, when it does not within the driver's time limit or somebody is in a hurry (see
	// WithHurry), ends it.
	Stop(ctx context.Context) error
	// Delete ends the machine and removes everything that belongs to it, also when only parts of it are left.
	Delete(ctx context.Context) error
}
