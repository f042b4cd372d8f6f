package addons

import (
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
	"time"
)

// KeyPair is a certificate and its private key, both PEM.
type KeyPair struct{ Cert, Key []byte }

const (
	validity    = 26280 * time.Hour   // three years, as for the cluster's own certificates
	renewBefore = 30 * 24 * time.Hour // of the end
)

// NewKeyPair makes a certificate that signs itself, with a new key of ECDSA P-256, for a cluster's address and for
// skiff.local and the names one step below it. It is valid from an hour before now, as clocks differ, for three years.
func NewKeyPair(address netip.Addr, now time.Time) (KeyPair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return KeyPair{}, fmt.Errorf("make a key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return KeyPair{}, fmt.Errorf("make a serial number: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "skiff ingress " + address.String()},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(validity),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IPAddresses:           []net.IP{address.AsSlice()},
		DNSNames:              []string{"skiff.local", "*.skiff.local"},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return KeyPair{}, fmt.Errorf("make a certificate: %w", err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return KeyPair{}, fmt.Errorf("encode the key: %w", err)
	}
	return KeyPair{
		Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		Key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}),
	}, nil
}

// renewAfter returns from when on the certificate should be replaced.
func (k KeyPair) renewAfter() (time.Time, error) {
	block, _ := pem.Decode(k.Cert)
	if block == nil {
		return time.Time{}, errors.New("the certificate is not PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return time.Time{}, fmt.Errorf("read the certificate: %w", err)
	}
	return cert.NotAfter.Add(-renewBefore), nil
}
