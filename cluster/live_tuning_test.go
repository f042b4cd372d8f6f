package cluster

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/store"
	"github.com/skiff-k8s/skiff/tuning"
)

// errEnough ends what a test has seen enough of.
var errEnough = errors.New("enough")

// pushed is a machine that keeps the kubelet's environment of what is pushed to it, and takes no more.
type pushed struct{ environment string }

func (p *pushed) Run(_ context.Context, cmd machine.Cmd) (machine.Result, error) {
	for archive := tar.NewReader(cmd.Stdin); ; {
		header, err := archive.Next()
		if err != nil {
			return machine.Result{}, errEnough
		}
		if strings.HasSuffix(header.Name, "/kubeadm-flags.env") {
			content, _ := io.ReadAll(archive)
			p.environment = string(content)
		}
	}
}

func (*pushed) Put(context.Context, string, fs.FileMode, io.Reader) error { return errEnough }

// TestUpIsTuned: Kubernetes is brought up as suits what executes the machine, and the step's log says how.
func TestUpIsTuned(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		tuning func(context.Context) tuning.Plan
		one    bool // the kubelet uses one processor
		log    string
	}{
		"hardware":                {func(context.Context) tuning.Plan { return tuning.Hardware() }, false, "tuning for hardware"},
		"emulation":               {func(context.Context) tuning.Plan { return tuning.Emulation() }, true, "tuning for software emulation"},
		"a driver that says none": {nil, false, "tuning for hardware"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target := Target{
				Config: config.Cluster{Profile: "dev", Address: netip.MustParseAddr("127.77.3.1"), KubernetesVersion: "v1.37.2"},
				Files:  store.Home{State: t.TempDir(), Run: t.TempDir()}.Cluster("dev"),
				Image:  oldImage(t, "registry.k8s.io/etcd:3.7.3", "registry.k8s.io/coredns/coredns:v1.15.0"),
				Tuning: test.tuning,
			}
			for _, dir := range []string{target.Files.Dir, target.Files.Logs(), target.Files.PKI()} {
				if err := store.Folder(dir); err != nil {
					t.Fatal(err)
				}
			}
			var guest pushed
			if err := (LiveKubernetes{}).Up(t.Context(), &guest, target, func(string, int64, int64) {}); !errors.Is(err, errEnough) {
				t.Fatalf("got error %v, want %v", err, errEnough)
			}
			if got := strings.Contains(guest.environment, "GOMAXPROCS=1"); got != test.one || guest.environment == "" {
				t.Errorf("got the kubelet's environment %q", guest.environment)
			}
			if log, err := os.ReadFile(target.Files.StepLog("kubernetes")); err != nil || !strings.Contains(string(log), test.log) {
				t.Errorf("got the log %q and error %v, want %q in it", log, err, test.log)
			}
		})
	}
}
