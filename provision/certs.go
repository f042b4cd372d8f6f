package provision

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

const (
	// caLife is how long certificate authorities are valid, as kubeadm has it (app/constants, CACertificateValidityPeriod).
	caLife = 10 * 365 * 24 * time.Hour
	// renewBefore is how long before its end a certificate is made anew.
	renewBefore = 30 * 24 * time.Hour
	// clockSkew is how far the guest's clock may be behind.
	clockSkew = time.Hour
)

// certificate says what one certificate should be. The names of files are kubeadm's (app/phases/certs/certlist.go).
type certificate struct {
	file       string // below pki, without .crt
	ca         string // file of the issuer; empty for a certificate authority
	commonName string
	group      string
	server     bool
	client     bool
	dns        []string
	ips        []netip.Addr
}

func authorities() []certificate {
	return []certificate{
		{file: "ca", commonName: "kubernetes"},
		{file: "front-proxy-ca", commonName: "front-proxy-ca"},
		{file: "etcd/ca", commonName: "etcd-ca"},
	}
}

// The files whose names are ours: kubeadm puts client certificates into kubeconfigs, and leaves serving certificates of
// the other components to them, which then spend seconds on RSA keys at each start (client-go, util/cert/cert.go).
const (
	adminCert       = "clients/admin"
	superAdminCert  = "clients/super-admin"
	managerCert     = "clients/controller-manager"
	schedulerCert   = "clients/scheduler"
	kubeletCert     = "clients/kubelet"
	kubeletServer   = "kubelet-server"
	managerServer   = "controller-manager"
	schedulerServer = "scheduler"
	mirrorServer    = "mirror/server"
	mirrorClient    = "mirror/client"
)

// leaves are all certificates but the authorities.
func (c Config) leaves() []certificate {
	loopback := netip.MustParseAddr("127.0.0.1")
	etcdDNS := []string{c.NodeName, "localhost"}
	etcdIPs := []netip.Addr{c.NodeAddress, loopback, netip.IPv6Loopback()}
	dns := append([]string{
		c.NodeName, "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + c.DNSDomain, "localhost",
	}, c.APIServerNames...)
	ips := append([]netip.Addr{c.ServiceAddress(1), c.NodeAddress, loopback, c.HostAddress}, c.APIServerIPs...)
	list := []certificate{
		{file: "apiserver", ca: "ca", commonName: "kube-apiserver", server: true, dns: unique(dns), ips: unique(ips)},
		{file: "apiserver-kubelet-client", ca: "ca", commonName: "kube-apiserver-kubelet-client", group: "kubeadm:cluster-admins", client: true},
		{file: "front-proxy-client", ca: "front-proxy-ca", commonName: "front-proxy-client", client: true},
		{file: "etcd/server", ca: "etcd/ca", commonName: c.NodeName, server: true, client: true, dns: etcdDNS, ips: etcdIPs},
		{file: "etcd/peer", ca: "etcd/ca", commonName: c.NodeName, server: true, client: true, dns: etcdDNS, ips: etcdIPs},
		{file: "etcd/healthcheck-client", ca: "etcd/ca", commonName: "kube-etcd-healthcheck-client", client: true},
		{file: "apiserver-etcd-client", ca: "etcd/ca", commonName: "kube-apiserver-etcd-client", client: true},

		{file: adminCert, ca: "ca", commonName: "kubernetes-admin", group: "kubeadm:cluster-admins", client: true},
		{file: superAdminCert, ca: "ca", commonName: "kubernetes-super-admin", group: "system:masters", client: true},
		{file: managerCert, ca: "ca", commonName: "system:kube-controller-manager", client: true},
		{file: schedulerCert, ca: "ca", commonName: "system:kube-scheduler", client: true},
		{file: kubeletCert, ca: "ca", commonName: "system:node:" + c.NodeName, group: "system:nodes", client: true},

		{file: kubeletServer, ca: "ca", commonName: "kubelet", server: true, dns: []string{c.NodeName}, ips: []netip.Addr{c.NodeAddress, loopback}},
		{file: managerServer, ca: "ca", commonName: "kube-controller-manager", server: true, dns: []string{"localhost"}, ips: []netip.Addr{loopback}},
		{file: schedulerServer, ca: "ca", commonName: "kube-scheduler", server: true, dns: []string{"localhost"}, ips: []netip.Addr{loopback}},
	}
	if c.Mirror.IsValid() {
		list = append(list,
			certificate{file: mirrorServer, ca: "ca", commonName: "skiff-mirror", server: true, ips: []netip.Addr{c.Mirror.Addr()}},
			certificate{file: mirrorClient, ca: "ca", commonName: "skiff:containerd", client: true})
	}
	return list
}

func unique[T comparable](list []T) []T {
	var out []T
	for _, item := range list {
		if !slices.Contains(out, item) {
			out = append(out, item)
		}
	}
	return out
}

// pair is a certificate with its private key.
type pair struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	made bool // by this run
}

// issue makes a key and a certificate for it, valid until end. A nil issuer makes an authority.
func issue(want certificate, issuer *pair, now, end time.Time) (*pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial.Add(serial, big.NewInt(1)), // never 0 (RFC 5280, section 4.1.2.2)
		Subject:               want.subject(),
		DNSNames:              want.dns,
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              end,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		BasicConstraintsValid: true,
	}
	for _, ip := range want.ips {
		template.IPAddresses = append(template.IPAddresses, net.IP(ip.AsSlice()))
	}
	template.ExtKeyUsage = want.usages()
	parent, signer := template, key
	if issuer == nil {
		template.IsCA = true
		template.KeyUsage |= x509.KeyUsageCertSign
		template.DNSNames = []string{want.commonName}
	} else {
		parent, signer = issuer.cert, issuer.key
		if end.After(parent.NotAfter) {
			template.NotAfter = parent.NotAfter
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &pair{cert: cert, key: key, made: true}, err
}

func (c certificate) subject() pkix.Name {
	name := pkix.Name{CommonName: c.commonName}
	if c.group != "" {
		name.Organization = []string{c.group}
	}
	return name
}

func (c certificate) usages() []x509.ExtKeyUsage {
	var usages []x509.ExtKeyUsage
	if c.server {
		usages = append(usages, x509.ExtKeyUsageServerAuth)
	}
	if c.client {
		usages = append(usages, x509.ExtKeyUsageClientAuth)
	}
	return usages
}

// check says why an existing pair does not do; nil when it does.
func (c certificate) check(p *pair, issuer *pair, now time.Time) error {
	if err := c.identify(p); err != nil {
		return err
	}
	if now.Add(renewBefore).After(p.cert.NotAfter) {
		return fmt.Errorf("it ends %s", p.cert.NotAfter.Format(time.DateOnly))
	}
	if now.Before(p.cert.NotBefore) {
		return fmt.Errorf("it begins %s", p.cert.NotBefore.Format(time.DateOnly))
	}
	if issuer == nil {
		return nil
	}
	if err := p.cert.CheckSignatureFrom(issuer.cert); err != nil {
		return fmt.Errorf("it is signed by another: %w", err)
	}
	var have []string
	for _, ip := range p.cert.IPAddresses {
		have = append(have, ip.String())
	}
	var want []string
	for _, ip := range c.ips {
		want = append(want, ip.String())
	}
	if !slices.Equal(have, want) || !slices.Equal(p.cert.DNSNames, c.dns) {
		return fmt.Errorf("it is for the names %s", strings.Join(append(p.cert.DNSNames, have...), ", "))
	}
	return nil
}

func (p *pair) certPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.cert.Raw})
}

// keyPEM is in the form that kubeadm writes (client-go, util/keyutil).
func keyPEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

func parseKey(content []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(content)
	if block == nil {
		return nil, errors.New("no PEM block")
	}
	return x509.ParseECPrivateKey(block.Bytes)
}

func parsePair(cert, key []byte) (*pair, error) {
	block, rest := pem.Decode(cert)
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("not one PEM block")
	}
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	private, err := parseKey(key)
	if err != nil {
		return nil, err
	}
	return &pair{cert: parsed, key: private}, nil
}
