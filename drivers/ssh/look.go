package ssh

import (
	"bufio"
	"context"
	"embed"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
)

//go:embed scripts/*.sh
var scripts embed.FS

// What a machine must have.
const (
	system = "Use a machine with Debian 12, Ubuntu 22.04, or what comes after them."
	// minMemoryMiB is what a machine of 1536 MiB tells of itself: its kernel keeps some.
	minMemoryMiB = 1390
	minCPUs      = 2
	// minFreeMiB is room for programs, images and their unpacked files.
	minFreeMiB = 5 << 10
)

// facts are what look.sh tells of a machine.
type facts struct {
	kernel, arch, cgroup  string
	uid                   int
	systemd               bool
	memoryKiB, freeKiB    int64
	cpus                  int
	readOnly              []string // folders that cannot be written to
	missing, modules      []string // programs and kernel modules that are not there
	owner                 string   // mark of the cluster that has the machine
	kubernetes, runtime   []string // traces of others
	ports                 []uint16 // on which something listens
	address               netip.Addr
	addresses, neighbours []netip.Prefix // its own addresses, and the networks that it knows ways to
	odd                   []string       // lines that are not understood
}

// look runs look.sh.
func (m *Machine) look(ctx context.Context) (facts, error) {
	out, err := m.script(ctx, "look.sh")
	if failed, ok := errors.AsType[*machine.RunError](err); ok {
		said := strings.TrimSpace(out + string(failed.Stderr))
		if user := m.spec.SSH.User; user != "root" && strings.Contains(said, "sudo") {
			return facts{}, fail.New(fail.MachineUnsuitable, "take over "+m.place(),
				"user %s cannot run commands as root there without a password: %.300s", user, said).
				WithHint("Let the user do so: as root on the machine, put the line `%s ALL=(ALL) NOPASSWD: ALL` into /etc/sudoers.d/skiff. Or name another user with --ssh-user.", user)
		}
		return facts{}, fail.New(fail.MachineNotLinux, "take over "+m.place(),
			"it runs no commands in a POSIX shell for %s: it answered %.300q and ended with status %d", m.spec.SSH.User, said, failed.ExitCode).
			WithHint("A Linux machine may answer so too: when a command stands before the key in ~/.ssh/authorized_keys, as cloud images have it for root, or when the user may not log in (nologin). Change that there, or use another machine. " + system)
	}
	if err != nil {
		return facts{}, err
	}
	return parse(out), nil
}

// parse reads what look.sh prints.
func parse(out string) facts {
	var f facts
	var server netip.Addr
	lines := bufio.NewScanner(strings.NewReader(out))
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), " ")
		value = strings.TrimSpace(value)
		var err error
		switch key {
		case "kernel":
			f.kernel = value
		case "arch":
			f.arch = value
		case "cgroup":
			f.cgroup = value
		case "uid":
			f.uid, err = strconv.Atoi(value)
		case "systemd":
			f.systemd = true
		case "memory":
			f.memoryKiB, err = strconv.ParseInt(value, 10, 64)
		case "free":
			f.freeKiB, err = strconv.ParseInt(value, 10, 64)
		case "cpus":
			f.cpus, err = strconv.Atoi(value)
		case "readonly":
			f.readOnly = append(f.readOnly, value)
		case "missing":
			f.missing = append(f.missing, value)
		case "module":
			f.modules = append(f.modules, value)
		case "owner":
			f.owner = value
		case "kubernetes":
			f.kubernetes = append(f.kubernetes, value)
		case "runtime":
			f.runtime = append(f.runtime, value)
		case "port":
			var port uint64
			port, err = strconv.ParseUint(value, 16, 16)
			f.ports = append(f.ports, uint16(port))
		case "address":
			f.address, _ = netip.ParseAddr(value) // none: without a way to anywhere
		case "server":
			server, _ = netip.ParseAddr(value) // none: the SSH server does not say it
		case "network":
			f.network(value)
		default:
			err = errors.New("unknown")
		}
		if err != nil {
			f.odd = append(f.odd, lines.Text())
		}
	}
	if !f.address.IsValid() && server.Is4() && !server.IsLoopback() {
		f.address = server
	}
	return f
}

// network takes "DEVICE ADDRESS/BITS" and "route NETWORK".
func (f *facts) network(value string) {
	device, text, _ := strings.Cut(value, " ")
	prefix, err := netip.ParsePrefix(text)
	if address, single := netip.ParseAddr(text); err != nil && single == nil {
		prefix, err = netip.PrefixFrom(address, address.BitLen()), nil
	}
	switch {
	case err != nil: // such as "unreachable": no network of its own
	case device == "route":
		f.neighbours = append(f.neighbours, prefix)
	case !prefix.Addr().IsLoopback():
		f.addresses = append(f.addresses, prefix)
	}
}

// has reports whether the machine has that address.
func (f facts) has(address netip.Addr) bool {
	return slices.ContainsFunc(f.addresses, func(own netip.Prefix) bool { return own.Addr() == address })
}

// inner are the networks that a cluster uses inside the machine: pods, and Services.
func inner() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("10.96.0.0/12")}
}

// needed are the ports that a cluster uses on the machine: the mirror, the API server, etcd, kubelet, kube-proxy, the
// controller-manager and the scheduler.
func needed() []uint16 {
	return []uint16{5000, 6443, 2379, 2380, 10250, 10248, 10249, 10256, 10257, 10259}
}

// problem is one reason not to take a machine over.
type problem struct {
	id   fail.ID
	text string
	hint string
	next string
}

// refuse returns all reasons not to take the machine over, or nil.
func (f facts) refuse(place string) error { return told("take over "+place, f.problems()) }

// told makes one error of problems, nil of none.
func told(op string, problems []problem) error {
	var all []error
	for _, p := range problems {
		one := fail.New(p.id, op, "%s", p.text).WithHint("%s", p.hint)
		if p.next != "" {
			one = one.WithNext("%s", p.next)
		}
		all = append(all, one)
	}
	return errors.Join(all...)
}

// problems looks for every reason. On a system that is none of ours the rest says nothing.
func (f facts) problems() []problem {
	const unsuitable = fail.MachineUnsuitable
	switch {
	case f.kernel != "Linux":
		return []problem{{fail.MachineNotLinux, fmt.Sprintf("it runs %q, not Linux", f.kernel), system, ""}}
	case !f.systemd:
		return []problem{{fail.MachineNoSystemd, "it was not started by systemd", system + " In a container, systemd must be its first process.", ""}}
	case f.arch != "x86_64":
		return []problem{{unsuitable, fmt.Sprintf("its processor is %q; the guest image is for x86_64 alone", f.arch), "Use a machine with an x86_64 processor.", ""}}
	case len(f.odd) > 0:
		return []problem{{unsuitable, "it says of itself what skiff does not understand: " + strings.Join(f.odd, "; "), system, ""}}
	case f.uid != 0:
		return []problem{{
			unsuitable, fmt.Sprintf("the user has the number %d, and only root (0) may change a machine", f.uid),
			"Name root with --ssh-user, or a user who may become root with sudo.", "",
		}}
	case f.owner != "":
		name, _, _ := strings.Cut(f.owner, " ")
		return []problem{{
			fail.MachineInUse, fmt.Sprintf("it belongs to another cluster of skiff, %q", name),
			"Delete that cluster where it was made. If that is not possible any more, see \"A machine whose cluster is lost\" in the documentation of the driver.", "",
		}}
	}
	return slices.Concat(f.locked(), f.unlike(), f.others(), f.small())
}

// locked looks for folders that cannot be written to.
func (f facts) locked() []problem {
	if len(f.readOnly) == 0 {
		return nil
	}
	return []problem{{
		fail.MachineReadOnly, "these folders cannot be written to: " + strings.Join(f.readOnly, ", "),
		"Mount its file systems for writing, and see in its journal why they are not.", "journalctl -k --grep=remount -n 20",
	}}
}

// unlike looks for what the system lacks.
func (f facts) unlike() []problem {
	var all []problem
	add := func(bad bool, text, hint, next string) {
		if bad {
			all = append(all, problem{fail.MachineUnsuitable, text, hint, next})
		}
	}
	add(f.cgroup != "cgroup2fs", "it has no cgroup v2, which Kubernetes needs",
		"Start it with systemd.unified_cgroup_hierarchy=1 on the kernel's command line, or use a newer system. "+system, "")
	add(len(f.missing) > 0, "it lacks these programs: "+strings.Join(f.missing, ", "), "Install them on the machine.",
		"apt-get install nftables iproute2 kmod tar mawk coreutils mount")
	add(len(f.modules) > 0, "its kernel lacks these modules: "+strings.Join(f.modules, ", "),
		"Use a kernel of the distribution; those of some hosting offers lack what containers need.", "")
	add(!f.address.Is4(), "it has no IPv4 address of its own", "Give it one; pods and the API server need it.", "")
	for _, ours := range inner() {
		for _, theirs := range slices.Concat(f.addresses, f.neighbours) {
			// A wider network that only leads there is no obstacle: the nearer way is taken.
			add(ours.Contains(theirs.Addr()) && (theirs.Bits() >= ours.Bits() || slices.Contains(f.addresses, theirs)), fmt.Sprintf("its network %s overlaps %s, which the cluster uses inside", theirs, ours),
				"Use a machine in another network; the cluster's own networks cannot be changed.", "")
		}
	}
	return all
}

// others looks for what belongs to somebody else.
func (f facts) others() []problem {
	var all []problem
	if len(f.kubernetes) > 0 {
		all = append(all, problem{
			fail.MachineInUse, "there is another Kubernetes on it: " + strings.Join(f.kubernetes, ", "),
			"Use another machine, or remove that Kubernetes with the tool that brought it, such as `kubeadm reset`.", "",
		})
	}
	if len(f.runtime) > 0 {
		all = append(all, problem{
			fail.MachineInUse, "there is another container runtime on it: " + strings.Join(f.runtime, ", "),
			"Use another machine, or remove that runtime. skiff brings its own containerd, and two would conflict.", "",
		})
	}
	for _, port := range needed() {
		if slices.Contains(f.ports, port) && len(f.kubernetes) == 0 {
			all = append(all, problem{
				fail.MachineInUse, fmt.Sprintf("something listens on its port %d, which the cluster needs", port),
				"End that program.", fmt.Sprintf("ss -ltnp 'sport = :%d'", port),
			})
		}
	}
	return all
}

// small looks for what there is too little of.
func (f facts) small() []problem {
	var all []problem
	if f.memoryKiB>>10 < minMemoryMiB {
		all = append(all, problem{fail.MachineTooSmall, fmt.Sprintf("it has %d MiB of memory; Kubernetes needs a machine with 1536", f.memoryKiB>>10), "Give it more memory.", ""})
	}
	if f.cpus < minCPUs {
		all = append(all, problem{fail.MachineTooSmall, fmt.Sprintf("it has %d processor; Kubernetes needs %d", f.cpus, minCPUs), "Give it another processor.", ""})
	}
	if f.freeKiB>>10 < minFreeMiB {
		all = append(all, problem{fail.MachineTooSmall, fmt.Sprintf("there are %d MiB free below /var/lib; programs and images need %d", f.freeKiB>>10, minFreeMiB), "Free some space there.", ""})
	}
	return all
}
