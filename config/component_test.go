package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skiff-k8s/skiff/fail"
)

func TestParseSetting(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Setting{
		"apiserver.enable-admission-plugins=A,B":   {"apiserver", "enable-admission-plugins", "A,B"},
		"apiserver.--v=4":                          {"apiserver", "v", "4"},
		"kubelet.max-pods=50":                      {"kubelet", "maxPods", "50"},
		"kubelet.evictionHard.memory.available=5%": {"kubelet", "evictionHard.memory.available", "5%"},
		"proxy.mode=iptables":                      {"proxy", "mode", "iptables"},
		"etcd.quota-backend-bytes=":                {"etcd", "quota-backend-bytes", ""},
	} {
		got, err := ParseSetting(text)
		if err != nil || got != want {
			t.Errorf("%s: got %+v and error %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "apiserver", "apiserver.v", "apiserver.=4", "v=4", "kubeadm.ignore-preflight-errors=all", "dns.x=1", "apiserver.a b=1", "kubelet.$(x)=1"} {
		if got, err := ParseSetting(text); !fail.Is(err, fail.FlagInvalid) {
			t.Errorf("%q: got %+v and error %v, want %s", text, got, err, fail.FlagInvalid)
		}
	}
}

func TestParseFeatureGates(t *testing.T) {
	t.Parallel()
	got, err := ParseFeatureGates([]string{"A=true", "B=false"})
	want := []Setting{
		{"kubelet", "featureGates.A", "true"}, {"proxy", "featureGates.A", "true"},
		{"kubelet", "featureGates.B", "false"}, {"proxy", "featureGates.B", "false"},
		{"apiserver", "feature-gates", "A=true,B=false"}, {"controller-manager", "feature-gates", "A=true,B=false"}, {"scheduler", "feature-gates", "A=true,B=false"},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("got error %v, (-want +got):\n%s", err, diff)
	}
	if got, err := ParseFeatureGates(nil); err != nil || got != nil {
		t.Errorf("got %+v and error %v for no gates, want none", got, err)
	}
	for _, gate := range []string{"A", "A=", "A=yes", "=true", "a.b=true"} {
		if _, err := ParseFeatureGates([]string{gate}); !fail.Is(err, fail.FlagInvalid) {
			t.Errorf("%q: got error %v, want %s", gate, err, fail.FlagInvalid)
		}
	}
}
