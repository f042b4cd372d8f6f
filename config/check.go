package config

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/skiff-k8s/skiff/fail"
)

// CheckAPIServerName refuses with fail.FlagInvalid what cannot be a name in the API server's certificate: it is a DNS name in
// small letters (RFC 1123), whose first label may be "*". kubeadm refuses the same, after minutes (validation.ValidateCertSANs).
func CheckAPIServerName(name string) error {
	check := validation.IsDNS1123Subdomain
	if strings.HasPrefix(name, "*") {
		check = validation.IsWildcardDNS1123Subdomain
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return nil
	}
	why := "it is no DNS name, such as dev.example.com or *.example.com; letters are small"
	long := slices.ContainsFunc(strings.Split(name, "."), func(label string) bool { return len(label) > validation.DNS1123LabelMaxLength })
	switch {
	case len(name) > validation.DNS1123SubdomainMaxLength:
		why = fmt.Sprintf("it is longer than the %d characters of a DNS name", validation.DNS1123SubdomainMaxLength)
	case long:
		why = fmt.Sprintf("one of its parts is longer than the %d characters of a DNS label", validation.DNS1123LabelMaxLength)
	case len(check(name)) == 0:
		return nil
	}
	return refuse("apiserver-names", name, "%s", why)
}

// CheckAPIServerIP refuses with fail.FlagInvalid what is no IP address.
func CheckAPIServerIP(text string) error {
	if address, err := netip.ParseAddr(text); err != nil || address.Zone() != "" {
		return refuse("apiserver-ips", text, "it is not an IP address, such as 192.0.2.7")
	}
	return nil
}

// user is what useradd(8) takes, and @ for those of a directory service.
var user = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}$`) //nolint:gochecknoglobals // compiled once, never changed

// CheckUser refuses with fail.FlagInvalid what cannot be the name of a machine's user.
func CheckUser(name string) error {
	if user.MatchString(name) {
		return nil
	}
	return refuse("ssh-user", name, "it is not the name of a user, which has letters, digits and _ . - @")
}

// CheckSetting refuses with fail.FlagInvalid what ParseSetting refuses, and settings that a start can tell to be of no use: values
// of more than a line, and those by which skiff and kubeadm find the component again.
func CheckSetting(text string) error {
	setting, err := ParseSetting(text)
	switch {
	case err != nil:
		return err
	case strings.ContainsFunc(setting.Value, unicode.IsControl):
		return refuse("extra-config", text, "its value has control characters")
	case slices.Contains(owned()[setting.Component], setting.Key):
		return refuse("extra-config", text, "%s.%s is skiff's own: with another value the cluster would not come up", setting.Component, setting.Key)
	}
	return nil
}

// owned are the settings that skiff and kubeadm decide, by component: where others look for it, and the files that they put
// there. What only tunes a component is not among them.
func owned() map[string][]string {
	return map[string][]string{
		"apiserver": {
			"advertise-address", "secure-port", "etcd-servers", "etcd-cafile", "etcd-certfile", "etcd-keyfile", "client-ca-file",
			"tls-cert-file", "tls-private-key-file", "kubelet-client-certificate", "kubelet-client-key", "service-cluster-ip-range",
		},
		"controller-manager": {
			"secure-port", "kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig", "client-ca-file", "cluster-cidr",
			"service-cluster-ip-range", "root-ca-file", "service-account-private-key-file", "tls-cert-file", "tls-private-key-file",
		},
		"scheduler": {"secure-port", "kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig", "tls-cert-file", "tls-private-key-file"},
		"etcd": {
			"data-dir", "cert-file", "key-file", "trusted-ca-file", "client-cert-auth", "listen-client-urls", "advertise-client-urls",
			"peer-cert-file", "peer-key-file", "peer-trusted-ca-file", "peer-client-cert-auth",
		},
		"kubelet": {"apiVersion", "kind", "authentication.x509.clientCAFile", "clusterDomain", "containerRuntimeEndpoint", "cgroupDriver", "staticPodPath"},
		"proxy":   {"apiVersion", "kind", "clusterCIDR", "clientConnection.kubeconfig"},
	}
}

// CheckFeatureGates refuses with fail.FlagInvalid what ParseFeatureGates refuses, and gates that are to be both.
func CheckFeatureGates(gates []string) error {
	if _, err := ParseFeatureGates(gates); err != nil {
		return err
	}
	values := map[string]string{}
	for _, gate := range gates {
		name, value, _ := strings.Cut(gate, "=")
		if before, twice := values[name]; twice && before != value {
			return refuse("feature-gates", strings.Join(gates, ","), "%s is both true and false", name)
		}
		values[name] = value
	}
	return nil
}

func refuse(flag, value, why string, args ...any) error {
	return fail.New(fail.FlagInvalid, fmt.Sprintf("read --%s %q", flag, value), why, args...).About(flag)
}
