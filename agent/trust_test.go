package agent

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// certificate makes a pair in dir, below name.
func certificate(t *testing.T, dir, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"mirror"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for suffix, block := range map[string]*pem.Block{".crt": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "EC PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name+suffix), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// Nobody but the node's containerd gets as far as a request, and what is renewed counts at once.
func TestTheMirrorAnswersOneClient(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	trust := MirrorTLS{Certificate: filepath.Join(dir, "server.crt"), Key: filepath.Join(dir, "server.key"), Client: filepath.Join(dir, "client.crt")}
	config := trust.server() // before the files are there
	certificate(t, dir, "server")
	node, other := certificate(t, dir, "client"), certificate(t, dir, "other")
	check := func(what string, want bool, certificates ...tls.Certificate) {
		t.Helper()
		if got := admitted(t, config, certificates); got != want {
			t.Errorf("%s: got answered %t, want %t", what, got, want)
		}
	}
	check("the node", true, node)
	check("another certificate", false, other)
	check("no certificate", false)
	renewed := certificate(t, dir, "client")
	check("the node's new certificate", true, renewed)
	check("the node's old certificate", false, node)
}

func admitted(t *testing.T, config *tls.Config, certificates []tls.Certificate) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	here, there := net.Pipe()
	defer func() { _, _ = here.Close(), there.Close() }()
	go func() {
		client := tls.Client(there, &tls.Config{InsecureSkipVerify: true, Certificates: certificates}) //nolint:gosec // the server is not what is tried
		_ = client.HandshakeContext(ctx)
		_, _ = client.Read(make([]byte, 1))
	}()
	return tls.Server(here, config).HandshakeContext(ctx) == nil
}
