//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/drivertest"
	"github.com/skiff-k8s/skiff/drivers/qemu"
	sshdriver "github.com/skiff-k8s/skiff/drivers/ssh"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision/ssh"
)

// elsewhere is a machine that exists: a guest of QEMU without anything of Kubernetes, in a network of its own.
type elsewhere struct {
	t     *testing.T
	vm    machine.Machine
	spec  machine.Spec
	image machine.Image
}

// newElsewhere boots a guest of the image and takes out what a usual machine has not.
func newElsewhere(t *testing.T) *elsewhere {
	t.Helper()
	dir, err := os.MkdirTemp("", "skiff-else-") //nolint:usetesting // its name must fit a socket's
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	identity, err := ssh.GenerateIdentity("elsewhere")
	if err != nil {
		t.Fatal(err)
	}
	e := &elsewhere{t: t, image: drivertest.Image(t)}
	e.spec = machine.Spec{
		Cluster: "elsewhere", Name: "elsewhere", Dir: dir, RunDir: dir, CPUs: 2, MemoryMiB: 3072, DiskBytes: 20 << 30, Image: e.image,
		Network: machine.Network{
			Socket: filepath.Join(dir, "net.sock"), MAC: "5a:94:ef:e4:0c:ee",
			Address: netip.MustParsePrefix("192.168.127.2/24"), Gateway: netip.MustParseAddr("192.168.127.1"),
		},
		Identity: identity.Machine(),
		SSH:      machine.SSH{User: "root", PrivateKey: identity.UserKey, HostKey: identity.HostPublicKey},
	}
	e.spec.SSH.Address = drivertest.ServeNetwork(t, e.spec.Network)
	driver := qemu.New(qemu.Options{Runner: func(target machine.SSH) machine.Runner { return ssh.New(target) }})
	if e.vm, err = driver.Create(t.Context(), e.spec); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.vm.Delete(context.WithoutCancel(t.Context())) })
	e.boot()
	e.sh(bare)
	if err := e.vm.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.boot()
	return e
}

// bare removes what skiff's image has and the machine is to get over SSH.
const bare = `systemctl disable --now --quiet kubelet containerd skiff-network
rm -rf /usr/local/bin/containerd* /usr/local/bin/ctr /usr/local/bin/runc /usr/local/bin/kube* /opt/cni /etc/cni /etc/containerd /etc/skiff /etc/kubernetes \
	/etc/systemd/system/containerd.service /etc/systemd/system/kubelet.service /etc/systemd/system/kubelet.service.d \
	/etc/systemd/system/skiff-network.service /etc/sysctl.d/90-skiff.conf /var/lib/containerd /var/lib/kubelet /var/lib/cni
sync`

func (e *elsewhere) boot() {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), 5*time.Minute)
	defer cancel()
	if err := e.vm.Start(ctx); err != nil {
		e.t.Fatal(err)
	}
	if err := e.vm.(interface{ Wait(context.Context) error }).Wait(ctx); err != nil {
		e.t.Fatal(err)
	}
}

// user may log in, and use sudo without a password, as on the images of clouds.
const user = "ada"

// hasUser makes the user, and installs Debian's sudo, which the guest image lacks. useradd leaves the account locked.
func (e *elsewhere) hasUser() {
	e.t.Helper()
	file, err := os.Open(downloaded(e.t, "sudo"))
	if err != nil {
		e.t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if err := e.vm.Put(e.t.Context(), "/root/sudo.deb", 0o600, file); err != nil {
		e.t.Fatal(err)
	}
	key := "/home/" + user + "/.ssh/authorized_keys"
	if err := e.vm.Put(e.t.Context(), key, 0o600, bytes.NewReader(e.spec.Identity.AuthorizedKey)); err != nil {
		e.t.Fatal(err)
	}
	e.sh("dpkg --install /root/sudo.deb && rm /root/sudo.deb && useradd --shell /bin/bash --password '*' " + user + " && chown -R " + user + " /home/" + user)
	e.sh("echo '" + user + " ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/" + user)
}

// sh runs a shell's lines as root and returns what they print.
func (e *elsewhere) sh(lines string) string {
	e.t.Helper()
	result, err := e.vm.Run(e.t.Context(), machine.Cmd{Args: []string{"sh", "-c", lines}})
	if err != nil {
		e.t.Fatalf("on the machine: %v", err)
	}
	return string(result.Stdout)
}

// tellProcessors writes to a log what QEMU knows of the machine: where its processors are tells a guest that hangs from one that
// nobody can reach.
func (e *elsewhere) tellProcessors() {
	conn, err := (&net.Dialer{}).DialContext(context.WithoutCancel(e.t.Context()), "unix", filepath.Join(e.spec.Dir, "qmp.sock"))
	if err != nil {
		e.t.Log(err)
		return
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	commands := []string{`{"execute": "qmp_capabilities"}`}
	for _, command := range []string{"info status", "info registers -a", "info network", "info registers -a"} {
		commands = append(commands, `{"execute": "human-monitor-command", "arguments": {"command-line": "`+command+`"}}`)
	}
	if _, err := io.WriteString(conn, strings.Join(commands, "\n")); err != nil {
		e.t.Log(err)
		return
	}
	said, lines := "", bufio.NewScanner(conn)
	lines.Buffer(nil, 1<<20)
	for answers := 0; answers < len(commands) && lines.Scan(); {
		said += strings.ReplaceAll(lines.Text(), `\r\n`, "\n") + "\n"
		if strings.HasPrefix(lines.Text(), `{"return"`) {
			answers++
		}
	}
	if err := os.WriteFile(filepath.Join(e.spec.Dir, "processors.log"), []byte(said), 0o600); err != nil {
		e.t.Log(err)
	}
}

// portrait tells how the machine is: all its files, kernel settings, modules, firewall rules, network cards, mounts and
// units. What changes by itself is left out. nft comes first, as it loads modules.
const portrait = `nft list ruleset
find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /var/tmp -o -path /var/log -o -path /var/lib/systemd \) -prune \
	-o -type d -printf 'file %p %y %m %u\n' -o -printf 'file %p %y %m %u %s %l\n' | grep -v '/\.bash_history' | sort
for key in net/ipv4/ip_forward net/ipv6/conf/all/forwarding net/ipv6/conf/default/forwarding vm/overcommit_memory vm/panic_on_oom kernel/panic \
	kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes fs/inotify/max_user_watches fs/inotify/max_user_instances vm/max_map_count; do
	echo "setting $key $(cat /proc/sys/$key)"
done
awk '{ print "module", $1 }' /proc/modules | sort
ls /sys/class/net
awk '{ print "mount", $2, $3 }' /proc/self/mounts | sort
systemctl list-unit-files --no-legend --no-pager | awk '{ print "unit", $1, $2 }' | sort
ps -eo comm= | grep -E 'containerd|kube|etcd|coredns|traefik|pause' | sort`

// asBefore compares the machine with a portrait of it.
func (e *elsewhere) asBefore(before string) {
	e.t.Helper()
	after := e.sh(portrait)
	if after == before {
		return
	}
	was, is := strings.Split(before, "\n"), strings.Split(after, "\n")
	var b bytes.Buffer
	for _, line := range missing(was, is) {
		fmt.Fprintf(&b, "- %s\n", line)
	}
	for _, line := range missing(is, was) {
		fmt.Fprintf(&b, "+ %s\n", line)
	}
	e.t.Errorf("the machine is not as it was:\n%s", &b)
}

// missing returns the lines of from that are not in other.
func missing(from, other []string) []string {
	have := map[string]bool{}
	for _, line := range other {
		have[line] = true
	}
	var lines []string
	for _, line := range from {
		if !have[line] {
			lines = append(lines, line)
		}
	}
	return lines
}

// TestSSHMachine takes a machine that exists over, walks the way of the tutorial's reader on it, and gives it back. With -short
// it leaves out the conformance of the driver, what the driver has no part in, and the ends of agent and cluster.
func TestSSHMachine(t *testing.T) {
	if drivertest.Controlled() { // by its parent, which has the machine
		(&elsewhere{t: t}).conforms(t)
		return
	}
	s := newSession(t)
	e := newElsewhere(t)
	e.hasUser()
	before := e.sh(portrait)
	if strings.Contains(before, "containerd") {
		t.Fatalf("the machine has a container runtime already:\n%s", before)
	}
	if !testing.Short() {
		t.Run("conformance", func(t *testing.T) {
			e.conforms(t)
			e.asBefore(before)
		})
	}
	home := t.TempDir()
	key := filepath.Join(home, "key")
	if err := os.WriteFile(key, e.spec.SSH.PrivateKey, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", home)
	s.evidence = []string{filepath.Join(e.spec.Dir, "*.log")}
	t.Cleanup(func() {
		if t.Failed() {
			e.tellProcessors()
		}
		s.end() // before the machine and the key go
	})
	at := e.spec.SSH.Address
	start := []string{
		"start", "--driver", "ssh", "--ssh-ip-address", at.Addr().String(), "--ssh-port", fmt.Sprint(at.Port()), "--ssh-key", key, "--ssh-user", user, "--offline",
	}

	if out := s.code(4, start...); !strings.Contains(out.stderr, "SSH_HOST_KEY_UNKNOWN") {
		t.Errorf("a host key that nobody knows: %s", out.stderr)
	}
	if err := os.MkdirAll(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	knows := func(key []byte) {
		known := fmt.Sprintf("[%s]:%d %s", at.Addr(), at.Port(), key)
		if err := os.WriteFile(filepath.Join(home, ".ssh", "known_hosts"), []byte(known), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	knows(e.spec.Identity.AuthorizedKey)
	if out := s.code(6, start...); !strings.Contains(out.stderr, "SSH_HOST_KEY_CHANGED") {
		t.Errorf("a host key that is not the one of before: %s", out.stderr)
	}
	knows(e.spec.SSH.HostKey)
	e.isRefused(s, start, before)
	e.isCutOff(s, start)
	s.timed("start on a machine that exists", start...)
	address := s.run("ip")
	s.isQuick(address)
	s.enablesIngress()
	s.servesMeow(address)
	if got := s.run("ssh", "--", "hostname"); got != "elsewhere" {
		t.Errorf("the machine is called %q, want its own name, elsewhere", got)
	}
	if out := s.code(2, "start", "--ssh-ip-address", "192.0.2.1", "--ssh-key", key, "-p", "other"); !strings.Contains(out.stderr, "--driver ssh") {
		t.Errorf("flags of the ssh driver without it: %s", out.stderr)
	}
	if out := s.code(6, append(start, "-p", "second")...); !strings.Contains(out.stderr, "MACHINE_IN_USE") {
		t.Errorf("a second cluster on the machine: %s", out.stderr)
	}
	if !testing.Short() {
		s.isUsed(address)
		pods := s.run("kubectl", "get", "pods", "-A", "-o", "jsonpath={.items[*].metadata.uid}")
		s.recovers("agent", address)
		if got := s.run("kubectl", "get", "pods", "-A", "-o", "jsonpath={.items[*].metadata.uid}"); got != pods {
			t.Errorf("the end of the agent has changed the pods: %s, before %s", got, pods)
		}
		s.restarts(address)
	}
	s.timed("delete", "delete")
	e.asBefore(before)
}

// isRefused spoils the machine in one way after another, and looks that each is told and nothing changed.
func (e *elsewhere) isRefused(s *session, start []string, before string) {
	e.t.Helper()
	for _, bad := range []struct {
		id              string
		code            int
		spoil, putRight string
	}{
		{
			"MACHINE_TOO_SMALL", 7,
			"sed 's/^MemTotal:.*/MemTotal: 1000000 kB/' /proc/meminfo >/run/meminfo && mount --bind /run/meminfo /proc/meminfo",
			"umount /proc/meminfo && rm /run/meminfo",
		},
		{"MACHINE_READ_ONLY", 4, "mount --bind /etc /etc && mount -o remount,bind,ro /etc", "umount -l /etc"},
		{"MACHINE_NO_SYSTEMD", 4, "mv /run/systemd/system /run/systemd/hidden", "mv /run/systemd/hidden /run/systemd/system"},
		{
			"MACHINE_IN_USE", 6,
			"mkdir -p /etc/kubernetes/manifests && echo 'kind: Pod' >/etc/kubernetes/manifests/theirs.yaml", "rm -r /etc/kubernetes",
		},
		{"MACHINE_UNSUITABLE", 4, "mv /etc/sudoers.d/" + user + " /run", "mv /run/" + user + " /etc/sudoers.d/"},
		{
			"MACHINE_NOT_LINUX", 4,
			"printf '#!/bin/sh\\necho FreeBSD\\n' >/usr/local/bin/uname && chmod 755 /usr/local/bin/uname", "rm /usr/local/bin/uname",
		},
	} {
		e.sh(bad.spoil)
		if out := s.code(bad.code, start...); !strings.Contains(out.stderr, bad.id) {
			e.t.Errorf("the machine is to be refused with %s, and skiff says: %s", bad.id, out.stderr)
		}
		e.sh(bad.putRight)
		e.asBefore(before)
		s.code(5, "ip") // nor is there a cluster on this side
	}
}

// cutOff ends the process behind the connection over which a large file arrives.
const cutOff = `n=0
until [ "$(stat -c %s /usr/local/bin/.skiff.part 2>/dev/null || echo 0)" -gt 1000000 ]; do
	n=$((n + 1))
	[ $n -lt 6000 ] || exit 1
	sleep 0.05
done
for put in $(pgrep -f 'skiff-[p]ut'); do
	parent=$put
	while parent=$(ps -o ppid= -p "$parent" | tr -d ' ') && grep -qx sudo "/proc/$parent/comm"; do :; done
	grep -q sshd "/proc/$parent/comm" && kill -KILL "$parent" && exit 0
done
exit 1`

// isCutOff loses the connection in the middle of the push. The next start goes on.
func (e *elsewhere) isCutOff(s *session, start []string) {
	e.t.Helper()
	ended := make(chan output, 1)
	go func() {
		out, err := s.try(e.t.Context(), start...)
		if err != nil {
			out.stderr = err.Error()
		}
		ended <- out
	}()
	e.sh(cutOff)
	if out := <-ended; out.code != 8 || !strings.Contains(out.stderr, "SSH_UNREACHABLE") {
		e.t.Errorf("a connection that is lost in the middle of the push: exit code %d, want 8 and SSH_UNREACHABLE: %s", out.code, out.stderr)
	}
}

// conforms holds the driver to the contract of all drivers, on the machine and, where it is about two, on another.
func (e *elsewhere) conforms(t *testing.T) {
	other := e // in the process that is killed, which has neither
	if e.vm != nil {
		other = newElsewhere(t)
	}
	part := ""
	driver := func() drivers.Driver {
		return sshdriver.New(sshdriver.Options{Runner: func(target machine.SSH) machine.Runner {
			runner := ssh.New(target)
			t.Cleanup(func() { _ = runner.Close() })
			return runner
		}})
	}
	drivertest.Run(t, func(t *testing.T) drivertest.Target {
		identity, err := ssh.GenerateIdentity("conformance")
		if err != nil {
			t.Fatal(err)
		}
		e := e
		if part == t.Name() {
			e = other
		}
		part = t.Name()
		if e.vm != nil {
			t.Cleanup(func() { e.sh("rm -rf /var/lib/skiff-drivertest") })
		}
		return drivertest.Target{
			Driver: driver(), Fresh: driver, Exists: true,
			Spec: machine.Spec{
				Cluster: "conformance", Name: "skiff", Dir: t.TempDir(), RunDir: t.TempDir(), Image: e.image, Identity: identity.Machine(), SSH: e.spec.SSH,
				Network: machine.Network{Mirror: netip.MustParseAddrPort("127.0.0.1:5000")},
			},
			Crash: func(ctx context.Context, _ machine.Machine) error {
				_, err := e.vm.Run(ctx, machine.Cmd{Args: []string{"sh", "-c", "systemctl kill --signal=KILL containerd; systemctl stop containerd"}})
				return err
			},
		}
	})
}
