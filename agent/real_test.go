package agent_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"net/netip"

	"github.com/skiff-k8s/skiff/agent"
	"github.com/skiff-k8s/skiff/agent/network/networktest"
	"github.com/skiff-k8s/skiff/drivers/qemu"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision/ssh"
)

// imageVariable names the folder of a guest image; with it the test below boots a real machine.
const imageVariable = "SKIFF_TEST_IMAGE"

// TestRealGuest boots a guest on the agent's network: SSH as published, the gateway's DNS, containerd's pulls through the
// mirror, and the same again after QEMU has been killed and started anew.
func TestRealGuest(t *testing.T) {
	if os.Getenv(imageVariable) == "" {
		t.Skipf("set %s to the folder of a guest image to boot a real machine", imageVariable)
	}
	image, err := filepath.EvalSymlinks(os.Getenv(imageVariable))
	if err != nil {
		t.Fatal(err)
	}
	c := config(t, "127.77.243.1")
	c.Mirror = filepath.Join(image, "mirror")
	client := spawn(t, c)
	t.Cleanup(func() {
		if log, err := os.ReadFile(c.LogFile); err == nil {
			t.Logf("the agent's log:\n%s", log)
		}
	})
	m := boot(t, c, image)
	if !status(t, client).Connected {
		t.Error("Connected: got false, want true")
	}
	const pull = "ctr -n k8s.io images pull --hosts-dir /etc/containerd/certs.d "
	for command, want := range map[string]string{
		"getent ahostsv4 host.skiff.internal":        "192.168.127.254",
		"ip link show dev eth0":                      "mtu 4000",
		pull + "docker.io/kennship/http-echo:latest": "saved",
		pull + "registry.k8s.io/kube-proxy:v1.37.2":  "saved",
		pull + "docker.io/library/not-there:1":       "not-there:1 is not on this machine",
	} {
		result, err := m.Run(t.Context(), machine.Cmd{Args: strings.Fields(command)})
		got := string(result.Stdout) + string(result.Stderr)
		if failed, ok := err.(*machine.RunError); ok { //nolint:errorlint // the text is wanted, not the kind
			got += string(failed.Stdout) + string(failed.Stderr)
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s: got %q (%v), want %q in it", command, got, err, want)
		}
	}
	data := make([]byte, 32<<20)
	_, _ = rand.Read(data)
	begun := time.Now()
	if err := m.Put(t.Context(), "/root/data", 0o600, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	t.Logf("32 MiB to the guest: %s", time.Since(begun))
	begun = time.Now()
	result, err := m.Run(t.Context(), machine.Cmd{Args: []string{"cat", "/root/data"}})
	if err != nil || !bytes.Equal(result.Stdout, data) {
		t.Errorf("got %d bytes and %v, want the %d sent", len(result.Stdout), err, len(data))
	}
	t.Logf("32 MiB from the guest: %s", time.Since(begun))

	if err := m.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	pid := status(t, client).PID
	start(t, m)
	if got := status(t, client).PID; got != pid {
		t.Errorf("after the machine's restart: got agent %d, want %d still", got, pid)
	}
}

type guest interface {
	machine.Machine
	Wait(ctx context.Context) error
}

func boot(t *testing.T, c agent.Config, image string) guest {
	t.Helper()
	identity, err := ssh.GenerateIdentity("test")
	if err != nil {
		t.Fatal(err)
	}
	driver := qemu.New(qemu.Options{Runner: func(target machine.SSH) machine.Runner { return ssh.New(target) }})
	made, err := driver.Create(t.Context(), machine.Spec{
		Cluster: "agent-test", Name: "skiff", CPUs: 2, MemoryMiB: 1536, DiskBytes: 20 << 30,
		Dir: t.TempDir(), RunDir: filepath.Dir(c.APISocket),
		Image: machine.Image{
			Disk: filepath.Join(image, "disk.raw"), Kernel: filepath.Join(image, "vmlinuz"), Initrd: filepath.Join(image, "initrd"),
			Cmdline: "console=ttyS0 root=/dev/vda rw rootfstype=ext4 net.ifnames=0 quiet",
		},
		Network: machine.Network{
			Socket: c.NetworkSocket, MAC: networktest.MAC,
			Address: netip.PrefixFrom(c.Guest, 24), Gateway: netip.MustParseAddr("192.168.127.1"),
		},
		Identity: identity.Machine(),
		SSH: machine.SSH{
			User: "root", PrivateKey: identity.UserKey, HostKey: identity.HostPublicKey,
			Address: netip.AddrPortFrom(c.Address, 2222),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := made.Delete(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	m, ok := made.(guest)
	if !ok {
		t.Fatalf("got %T, want a machine that can be waited for", made)
	}
	start(t, m)
	return m
}

func start(t *testing.T, m guest) {
	t.Helper()
	begun := time.Now()
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if err := m.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("commands run after %s", time.Since(begun))
}
