package ssh

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/internal/golden"
)

// fit is what look.sh tells of a machine that can be taken over: Debian 12 with an SSH server and nothing else.
const fit = `kernel Linux
arch x86_64
uid 0
systemd yes
cgroup cgroup2fs
memory 2024480
cpus 2
free 18000000
port 0016
address 192.0.2.7
server 192.0.2.7
network lo 127.0.0.1/8
network ens3 192.0.2.7/24
network route 192.0.2.0/24
network route 10.0.0.0/8
`

func TestFit(t *testing.T) {
	t.Parallel()
	f := parse(fit)
	if err := f.refuse("root@192.0.2.7"); err != nil {
		t.Errorf("got %v, want no reason to refuse", err)
	}
	if f.address != netip.MustParseAddr("192.0.2.7") || !f.has(f.address) {
		t.Errorf("got address %s of %v, want 192.0.2.7", f.address, f.addresses)
	}
	// Without a way to anywhere the address is the one at which the SSH server was reached.
	if got := parse(strings.Replace(fit, "address 192.0.2.7", "address ", 1)).address; got != f.address {
		t.Errorf("got address %s, want that of the SSH server, %s", got, f.address)
	}
}

// TestRefusals shows every reason not to take a machine over, as people read it.
func TestRefusals(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		old, new string // a line of fit, and what is there instead
		id       fail.ID
	}{
		{"another system", "kernel Linux\n", "kernel FreeBSD\n", fail.MachineNotLinux},
		{"no systemd", "systemd yes\n", "", fail.MachineNoSystemd},
		{"another processor", "arch x86_64", "arch aarch64", fail.MachineUnsuitable},
		{"not root", "uid 0", "uid 1000", fail.MachineUnsuitable},
		{"no cgroup v2", "cgroup cgroup2fs", "cgroup tmpfs", fail.MachineUnsuitable},
		{"read-only root", "free 18000000\n", "free 18000000\nreadonly /etc\nreadonly /var/lib\n", fail.MachineReadOnly},
		{"a program missing", "port 0016\n", "missing nft\n", fail.MachineUnsuitable},
		{"a module missing", "port 0016\n", "module overlay\n", fail.MachineUnsuitable},
		{"no address", "address 192.0.2.7\nserver 192.0.2.7\n", "address \nserver 127.0.0.1\n", fail.MachineUnsuitable},
		{"network of pods", "network ens3 192.0.2.7/24\n", "network ens3 10.244.3.4/8\n", fail.MachineUnsuitable},
		{"network of services", "network route 10.0.0.0/8\n", "network route 10.100.0.0/16\n", fail.MachineUnsuitable},
		{"odd answer", "cpus 2", "cpus two", fail.MachineUnsuitable},
		{"another cluster", "port 0016\n", "owner dev 0123456789abcdef\n", fail.MachineInUse},
		{"another Kubernetes", "port 0016\n", "kubernetes /etc/kubernetes/manifests\nkubernetes process kubelet\nport 192B\n", fail.MachineInUse},
		{"another runtime", "port 0016\n", "runtime process dockerd\nruntime /usr/bin/containerd\n", fail.MachineInUse},
		{"port taken", "port 0016\n", "port 1388\n", fail.MachineInUse},
		{"too little memory", "memory 2024480", "memory 1000000", fail.MachineTooSmall},
		{"one processor", "cpus 2", "cpus 1", fail.MachineTooSmall},
		{"too little disk", "free 18000000", "free 2000000", fail.MachineTooSmall},
	}
	var shown bytes.Buffer
	for _, test := range tests {
		if !strings.Contains(fit, test.old) {
			t.Fatalf("%s: %q is no part of what a fit machine tells", test.name, test.old)
		}
		err := parse(strings.Replace(fit, test.old, test.new, 1)).refuse("root@192.0.2.7")
		var known *fail.Error
		if !errors.As(err, &known) || known.ID != test.id {
			t.Errorf("%s: got %v, want %s", test.name, err, test.id)
			continue
		}
		fmt.Fprintf(&shown, "== %s\n%s: %s\n%s\n", test.name, known.ID, err, known.Hint)
		if known.Next != "" {
			fmt.Fprintf(&shown, "Next: %s\n", known.Next)
		}
	}
	golden.Compare(t, "testdata/refusals.golden", shown.Bytes())
}

// Several reasons are told at once.
func TestAllReasons(t *testing.T) {
	t.Parallel()
	err := parse(strings.NewReplacer("cpus 2", "cpus 1", "cgroup2fs", "tmpfs", "port 0016", "port 192B").Replace(fit)).refuse("root@192.0.2.7")
	for _, want := range []string{"cgroup v2", "port 6443", "processor"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to tell of %q", err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(fit)
	f.Add("network route unreachable\nport zz\nowner\n")
	f.Fuzz(func(_ *testing.T, out string) { _ = parse(out).refuse("x") })
}
