package agent

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/skiff-k8s/skiff/agent/network"
)

// MirrorTLS names files, PEM all of them. They are read at each connection: the agent starts before they are made, and they
// are renewed while it runs.
type MirrorTLS struct {
	Certificate string `json:"certificate"` // the mirror's
	Key         string `json:"key"`         // its private key
	Client      string `json:"client"`      // certificate of the only client that is answered
}

// MirrorAddress is where the machine asks for images.
func (c Config) MirrorAddress() netip.AddrPort {
	if c.SSH != nil {
		return c.SSH.Mirror
	}
	return netip.AddrPortFrom(netip.MustParseAddr(network.Gateway), mirrorPort)
}

// server is TLS that lets in the one client. Its certificate is compared rather than its issuer: the cluster signs
// certificates for others too, as for who makes a CertificateSigningRequest.
func (m MirrorTLS) server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		ClientAuth: tls.RequireAnyClientCert, // the handshake proves that the client has the key
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(m.Certificate, m.Key)
			return &pair, err
		},
		VerifyConnection: func(state tls.ConnectionState) error {
			data, err := os.ReadFile(m.Client)
			if err != nil {
				return fmt.Errorf("read the certificate of the mirror's client: %w", err)
			}
			block, _ := pem.Decode(data)
			if block == nil || len(state.PeerCertificates) == 0 || !bytes.Equal(block.Bytes, state.PeerCertificates[0].Raw) {
				return errors.New("only the node's containerd may ask the registry mirror")
			}
			return nil
		},
	}
}
