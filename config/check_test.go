package config

import (
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/fail"
)

func TestChecks(t *testing.T) {
	t.Parallel()
	label := strings.Repeat("a", 63)
	tests := map[string]struct {
		check     func(string) error
		good, bad []string
	}{
		"--apiserver-names": {
			CheckAPIServerName,
			[]string{"localhost", "dev.example.com", "*.example.com", label + ".example", "192.0.2.7"},
			[]string{"", "a b", "*", "a.*.com", "*a.com", "a..b", ".a", "a.", "A.example", "a_b", "a\n", label + "a.example", strings.Repeat(label+".", 4) + "a"},
		},
		"--apiserver-ips": {CheckAPIServerIP, []string{"192.0.2.7", "2001:db8::1"}, []string{"", "banana", "1.2.3", "192.0.2.7/24", "fe80::1%eth0"}},
		"--ssh-user":      {CheckUser, []string{"root", "_apt", "first.last", "me@example.com"}, []string{"", "a b", "-root", "$(id)", "a;b", "a'b", "root\n"}},
		"--extra-config": {
			CheckSetting,
			[]string{"kubelet.max-pods=50", "apiserver.v=4", "apiserver.service-account-issuer=https://x.example", "etcd.quota-backend-bytes="},
			[]string{"garbage", "apiserver.v=4\n", "apiserver.v=\x1b[2J", "apiserver.secure-port=1", "apiserver.--secure-port=1", "etcd.data-dir=/x", "kubelet.static-pod-path=/x", "proxy.clusterCIDR=x"},
		},
		"--feature-gates": {
			func(text string) error { return CheckFeatureGates(strings.Split(text, ",")) },
			[]string{"A=true", "A=true,B=false", "A=true,A=true"},
			[]string{"garbage", "A=maybe", "A=true,A=false"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, text := range test.good {
				if err := test.check(text); err != nil {
					t.Errorf("%q: got error %v, want none", text, err)
				}
			}
			for _, text := range test.bad {
				if err := test.check(text); !fail.Is(err, fail.FlagInvalid) || !strings.HasPrefix(err.Error(), "read "+name) {
					t.Errorf("%q: got error %v, want %s with the flag's name", text, err, fail.FlagInvalid)
				}
			}
		})
	}
}
