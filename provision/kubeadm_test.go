package provision

import (
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"

	"github.com/skiff-k8s/skiff/internal/golden"
	"github.com/skiff-k8s/skiff/tuning"
)

func TestKubeadmConfiguration(t *testing.T) {
	t.Parallel()
	plain := NewConfig("dev", testConfig().HostAddress)
	plain.EtcdVersion, plain.CoreDNSVersion = "3.7.3", "v1.15.0"
	extra := testConfig()
	extra.Extra = []Arg{
		{"apiserver", "profiling", "true"},
		{"apiserver", "audit-log-path", "-"},
		{"controller-manager", "v", "4"},
		{"scheduler", "v", "4"},
		{"etcd", "quota-backend-bytes", "100000000"},
		{"kubelet", "maxPods", "50"},
		{"kubelet", "evictionHard.memory.available", "100Mi"},
		{"proxy", "nftables.syncPeriod", "5s"},
		{"proxy", "mode", "iptables"},
	}
	emulated := plain
	emulated.Tuning = tuning.Emulation()
	for name, config := range map[string]Config{"plain": plain, "emulated": emulated, "extra": extra} {
		got, err := config.Kubeadm()
		if err != nil {
			t.Fatal(err)
		}
		golden.Compare(t, "testdata/kubeadm-"+name+".golden", got)
	}
}

// TestTuning: what is written beside kubeadm's configuration follows what executes the machine.
func TestTuning(t *testing.T) {
	t.Parallel()
	for name, plan := range map[string]tuning.Plan{"hardware": tuning.Hardware(), "emulation": tuning.Emulation()} {
		config := testConfig()
		config.Tuning = plan
		text := config.kubeletFlags()
		for _, file := range config.patches() {
			text += "--- " + file.Path + "\n" + string(file.Body)
		}
		golden.Compare(t, "testdata/tuning-"+name+".golden", []byte(text))
	}
}

// TestDiskLimitsStayOn: a setting for one signal leaves the limits of the disk as they are.
func TestDiskLimitsStayOn(t *testing.T) {
	t.Parallel()
	config := testConfig()
	config.Extra = []Arg{{"kubelet", "evictionHard.memory.available", "200Mi"}}
	kubelet, err := config.kubelet()
	if err != nil {
		t.Fatal(err)
	}
	limits, ok := kubelet["evictionHard"].(tree)
	if !ok || limits["memory.available"] != "200Mi" || limits["nodefs.available"] != "10%" || limits["imagefs.available"] != "10%" {
		t.Errorf("got the limits %v, want the disk's beside the user's", limits)
	}
	if kubelet["imageGCHighThresholdPercent"] == nil {
		t.Error("nothing says when images are removed")
	}
}

func TestSettingThatCannotBePlaced(t *testing.T) {
	t.Parallel()
	for _, arg := range []Arg{{"kubelet", "failSwapOn.deeper", "1"}, {"proxy", "mode", "{"}} {
		config := testConfig()
		config.Extra = []Arg{arg}
		_, err := config.Kubeadm()
		if err == nil || !strings.Contains(err.Error(), arg.Component+"."+arg.Key) {
			t.Errorf("%+v: got %v, want an error that names the setting", arg, err)
		}
	}
}

func TestEssentials(t *testing.T) {
	t.Parallel()
	objects, err := testConfig().Essentials()
	if err != nil {
		t.Fatal(err)
	}
	images := map[string]string{}
	for _, object := range objects {
		switch o := object.(type) {
		case *apps.DaemonSet:
			images[o.Name] = o.Spec.Template.Spec.Containers[0].Image
		case *apps.Deployment:
			images[o.Name] = o.Spec.Template.Spec.Containers[0].Image
		case *core.Service:
			if o.Spec.ClusterIP != "10.96.0.10" {
				t.Errorf("got address %q of cluster DNS, want 10.96.0.10", o.Spec.ClusterIP)
			}
		case *core.ConfigMap:
			if config := o.Data["config.conf"]; o.Name == "kube-proxy" && !strings.Contains(config, "mode: nftables") {
				t.Errorf("got kube-proxy's configuration %q, want mode nftables", config)
			}
		}
	}
	if len(objects) != 12 || images["kube-proxy"] != "registry.k8s.io/kube-proxy:v1.37.2" || images["coredns"] != "registry.k8s.io/coredns/coredns:v1.15.0" {
		t.Errorf("got %d objects with images %v, want 12 with the configured versions", len(objects), images)
	}
}

func TestServiceAddress(t *testing.T) {
	t.Parallel()
	if got := testConfig().ServiceAddress(1).String(); got != "10.96.0.1" {
		t.Errorf("got %s, want 10.96.0.1", got)
	}
	if got := testConfig().DNSAddress().String(); got != "10.96.0.10" {
		t.Errorf("got %s, want 10.96.0.10", got)
	}
}
