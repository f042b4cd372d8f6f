package provision

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
)

func testConfig() Config {
	config := NewConfig("dev", netip.MustParseAddr("127.77.3.1"))
	config.EtcdVersion, config.CoreDNSVersion = "3.7.3", "v1.15.0"
	config.APIServerNames = []string{"dev.example.test", "localhost"}
	config.APIServerIPs = []netip.Addr{netip.MustParseAddr("10.1.2.3")}
	return config
}

func mustPKI(t *testing.T, dir string, config Config, now time.Time) *PKI {
	t.Helper()
	p, err := EnsurePKI(dir, config, now)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *PKI) parse(t *testing.T, file string) *x509.Certificate {
	t.Helper()
	parsed, err := parsePair(p.files[file+".crt"], p.files[file+".key"])
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return parsed.cert
}

// The rules are those of kubeadm's certs phase (app/phases/certs/certs.go) and of x509.Verify.
func TestCertificates(t *testing.T) {
	t.Parallel()
	config := testConfig()
	p := mustPKI(t, t.TempDir(), config, time.Now())
	for _, test := range []struct {
		file, ca string
		subject  string
		usages   []x509.ExtKeyUsage
		names    []string
	}{
		{"apiserver", "ca", "CN=kube-apiserver", []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, []string{
			"skiff", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost",
			"dev.example.test", "10.96.0.1", "192.168.127.2", "127.0.0.1", "127.77.3.1", "10.1.2.3",
		}},
		{"apiserver-kubelet-client", "ca", "CN=kube-apiserver-kubelet-client,O=kubeadm:cluster-admins", []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, nil},
		{"front-proxy-client", "front-proxy-ca", "CN=front-proxy-client", []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, nil},
		{"etcd/server", "etcd/ca", "CN=skiff", []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, []string{"skiff", "localhost", "192.168.127.2", "127.0.0.1", "::1"}},
		{"etcd/peer", "etcd/ca", "CN=skiff", []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, []string{"skiff", "localhost", "192.168.127.2", "127.0.0.1", "::1"}},
		{"etcd/healthcheck-client", "etcd/ca", "CN=kube-etcd-healthcheck-client", []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, nil},
		{"apiserver-etcd-client", "etcd/ca", "CN=kube-apiserver-etcd-client", []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, nil},
		{"clients/admin", "ca", "CN=kubernetes-admin,O=kubeadm:cluster-admins", []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, nil},
		{"clients/super-admin", "ca", "CN=kubernetes-super-admin,O=system:masters", []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, nil},
		{"clients/controller-manager", "ca", "CN=system:kube-controller-manager", []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, nil},
		{"clients/scheduler", "ca", "CN=system:kube-scheduler", []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, nil},
		{"clients/kubelet", "ca", "CN=system:node:skiff,O=system:nodes", []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, nil},
		{"kubelet-server", "ca", "CN=kubelet", []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, []string{"skiff", "192.168.127.2"}},
		{"controller-manager", "ca", "CN=kube-controller-manager", []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, []string{"127.0.0.1"}},
		{"scheduler", "ca", "CN=kube-scheduler", []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, []string{"localhost"}},
	} {
		cert := p.parse(t, test.file)
		roots := x509.NewCertPool()
		roots.AddCert(p.parse(t, test.ca))
		for _, usage := range test.usages {
			if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
				t.Errorf("%s: %v", test.file, err)
			}
		}
		for _, name := range test.names {
			if err := cert.VerifyHostname(name); err != nil {
				t.Errorf("%s: %v", test.file, err)
			}
		}
		if got := cert.Subject.String(); got != test.subject {
			t.Errorf("%s: got subject %q, want %q", test.file, got, test.subject)
		}
		if !slices.Equal(cert.ExtKeyUsage, test.usages) {
			t.Errorf("%s: got usages %v, want %v", test.file, cert.ExtKeyUsage, test.usages)
		}
		if left := time.Until(cert.NotAfter).Round(time.Hour); left != config.CertificateLife {
			t.Errorf("%s: is valid for %v, want %v", test.file, left, config.CertificateLife)
		}
	}
	if len(p.Renewed) != 3+15+1 {
		t.Errorf("got %d made files (%v), want 19", len(p.Renewed), p.Renewed)
	}
}

func TestKubeconfigs(t *testing.T) {
	t.Parallel()
	p := mustPKI(t, t.TempDir(), testConfig(), time.Now())
	for file, want := range map[string]struct{ server, context string }{
		"admin.conf":              {"https://192.168.127.2:6443", "kubernetes-admin@kubernetes"},
		"super-admin.conf":        {"https://192.168.127.2:6443", "kubernetes-super-admin@kubernetes"},
		"controller-manager.conf": {"https://192.168.127.2:6443", "system:kube-controller-manager@kubernetes"},
		"scheduler.conf":          {"https://192.168.127.2:6443", "system:kube-scheduler@kubernetes"},
		"kubelet.conf":            {"https://192.168.127.2:6443", "system:node:skiff@kubernetes"},
		"kubeconfig":              {"https://127.77.3.1:6443", "dev"},
	} {
		config, err := clientcmd.Load(p.files[file])
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		context := config.Contexts[config.CurrentContext]
		if config.CurrentContext != want.context || context == nil {
			t.Fatalf("%s: got context %q, want %q", file, config.CurrentContext, want.context)
		}
		cluster, user := config.Clusters[context.Cluster], config.AuthInfos[context.AuthInfo]
		if cluster.Server != want.server || string(cluster.CertificateAuthorityData) != string(p.ca()) {
			t.Errorf("%s: got server %q, want %q and our authority", file, cluster.Server, want.server)
		}
		if file == "kubelet.conf" {
			if user.ClientCertificate != kubeletClient || user.ClientKey != kubeletClient {
				t.Errorf("%s: got %q, %q; want the file that the kubelet renews", file, user.ClientCertificate, user.ClientKey)
			}
			continue
		}
		if _, err := tls.X509KeyPair(user.ClientCertificateData, user.ClientKeyData); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestReuseAndRenewal(t *testing.T) {
	t.Parallel()
	now := time.Now()
	dir := filepath.Join(t.TempDir(), "pki")
	config := testConfig()
	first := mustPKI(t, dir, config, now)
	if again := mustPKI(t, dir, config, now.Add(24*time.Hour)); len(again.Renewed) != 0 || string(again.Kubeconfig()) != string(first.Kubeconfig()) {
		t.Errorf("got %v made anew, want nothing", again.Renewed)
	}
	renamed := config
	renamed.APIServerNames = append(renamed.APIServerNames, "more.example.test")
	if got := mustPKI(t, dir, renamed, now).Renewed; !slices.Equal(got, []string{"apiserver"}) {
		t.Errorf("another name: got %v made anew, want the API server's only", got)
	}
	moved := config
	moved.HostAddress = netip.MustParseAddr("127.77.99.1")
	at := mustPKI(t, dir, moved, now)
	if !slices.Equal(at.Renewed, []string{"apiserver"}) || string(at.ca()) != string(first.ca()) || !strings.Contains(string(at.Kubeconfig()), "https://127.77.99.1:6443") {
		t.Errorf("another address: got %v made anew, want the API server's only, and a kubeconfig with the address:\n%s", at.Renewed, at.Kubeconfig())
	}
	if at.Fingerprint() == first.Fingerprint() {
		t.Error("another address: the machine is not told of the new certificate")
	}
	later := now.Add(config.CertificateLife - 20*24*time.Hour)
	late := mustPKI(t, dir, config, later)
	if slices.Contains(late.Renewed, "ca") || slices.Contains(late.Renewed, "sa") || len(late.Renewed) != 15 {
		t.Errorf("20 days before the end: got %v made anew, want all but authorities", late.Renewed)
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.key"), []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := mustPKI(t, dir, config, later).Renewed; !slices.Contains(got, "ca") || !slices.Contains(got, "apiserver") || slices.Contains(got, "etcd/server") {
		t.Errorf("broken authority: got %v made anew, want it and what it signed", got)
	}
	for _, name := range []string{"ca.key", "sa.key", "kubeconfig", "etcd/ca.key"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: got %v, %v; want mode 0600", name, info, err)
		}
	}
}

func TestGuestFiles(t *testing.T) {
	t.Parallel()
	var got []string
	for _, f := range mustPKI(t, t.TempDir(), testConfig(), time.Now()).Guest() {
		if len(f.Body) == 0 && f.Link == "" {
			t.Errorf("%s is empty", f.Path)
		}
		if f.Mode != 0o600 && f.Link == "" && filepath.Ext(f.Path) != ".crt" && filepath.Ext(f.Path) != ".pub" {
			t.Errorf("%s: got mode %v, want 0600", f.Path, f.Mode)
		}
		got = append(got, f.Path)
	}
	want := []string{
		"/etc/kubernetes/admin.conf", "/etc/kubernetes/controller-manager.conf", "/etc/kubernetes/kubelet.conf",
		"/etc/kubernetes/pki/apiserver-etcd-client.crt", "/etc/kubernetes/pki/apiserver-etcd-client.key",
		"/etc/kubernetes/pki/apiserver-kubelet-client.crt", "/etc/kubernetes/pki/apiserver-kubelet-client.key",
		"/etc/kubernetes/pki/apiserver.crt", "/etc/kubernetes/pki/apiserver.key", "/etc/kubernetes/pki/ca.crt", "/etc/kubernetes/pki/ca.key",
		"/etc/kubernetes/pki/controller-manager.crt", "/etc/kubernetes/pki/controller-manager.key",
		"/etc/kubernetes/pki/etcd/ca.crt", "/etc/kubernetes/pki/etcd/ca.key",
		"/etc/kubernetes/pki/etcd/healthcheck-client.crt", "/etc/kubernetes/pki/etcd/healthcheck-client.key",
		"/etc/kubernetes/pki/etcd/peer.crt", "/etc/kubernetes/pki/etcd/peer.key",
		"/etc/kubernetes/pki/etcd/server.crt", "/etc/kubernetes/pki/etcd/server.key",
		"/etc/kubernetes/pki/front-proxy-ca.crt", "/etc/kubernetes/pki/front-proxy-ca.key",
		"/etc/kubernetes/pki/front-proxy-client.crt", "/etc/kubernetes/pki/front-proxy-client.key",
		"/etc/kubernetes/pki/sa.key", "/etc/kubernetes/pki/sa.pub",
		"/etc/kubernetes/pki/scheduler.crt", "/etc/kubernetes/pki/scheduler.key",
		"/etc/kubernetes/scheduler.conf", "/etc/kubernetes/super-admin.conf",
		"/var/lib/kubelet/pki/kubelet-client-current.pem", "/var/lib/kubelet/pki/kubelet-client-first.pem",
		"/var/lib/kubelet/pki/kubelet.crt", "/var/lib/kubelet/pki/kubelet.key",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func BenchmarkPKI(b *testing.B) {
	config := testConfig()
	for b.Loop() {
		if _, err := EnsurePKI(b.TempDir(), config, time.Now()); err != nil {
			b.Fatal(err)
		}
	}
}

// TestUnreadablePairsStay: a file that cannot be read may be a good one, and is not replaced; one that is gone is.
func TestUnreadablePairsStay(t *testing.T) {
	t.Parallel()
	dir, config := t.TempDir(), testConfig()
	mustPKI(t, dir, config, time.Now())
	for _, file := range []string{"apiserver.crt", "apiserver.key", "ca.crt", "ca.key"} {
		path := filepath.Join(dir, file)
		aside := path + ".aside"
		if err := errors.Join(os.Rename(path, aside), os.Mkdir(path, 0o700)); err != nil { // not even root reads a folder
			t.Fatal(err)
		}
		if _, err := EnsurePKI(dir, config, time.Now()); err == nil || !strings.Contains(err.Error(), "read certificate") || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got error %v, want one with the file", file, err)
		}
		if err := errors.Join(os.Remove(path), os.Rename(aside, path)); err != nil {
			t.Fatal(err)
		}
	}
	if p := mustPKI(t, dir, config, time.Now()); len(p.Renewed) > 0 {
		t.Errorf("afterwards: got %q renewed, want none", p.Renewed)
	}
	if err := os.Remove(filepath.Join(dir, "apiserver.key")); err != nil {
		t.Fatal(err)
	}
	if p := mustPKI(t, dir, config, time.Now()); !slices.Equal(p.Renewed, []string{"apiserver"}) {
		t.Errorf("without a key: got %q renewed, want its pair alone", p.Renewed)
	}
}
