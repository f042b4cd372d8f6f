package provision

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sync/errgroup"
)

// PKI holds all keys and certificates of one cluster. Make it with EnsurePKI; it does not change afterwards.
type PKI struct {
	Renewed []string // names of the files made by this call, sorted; all of them for a new cluster
	files   map[string][]byte
}

// EnsurePKI returns the keys and certificates of the cluster that config describes. What lies in dir, from an earlier
// call, is used again. A certificate that is missing, ends within 30 days or is for other names is issued again. An authority
// and the key of service accounts are made for a new cluster alone: those of a provisioned one that are missing or garbled
// give a *DamagedError, and a time at which its authorities are not valid gives fail.ClockWrong; nothing is written then. dir
// and its files are readable by the owner only.
func EnsurePKI(dir string, config Config, now time.Time) (*PKI, error) {
	p := &PKI{files: map[string][]byte{}}
	var mu sync.Mutex
	add := func(file string, made bool, contents map[string][]byte) {
		mu.Lock()
		defer mu.Unlock()
		for suffix, content := range contents {
			p.files[file+suffix] = content
		}
		if made {
			p.Renewed = append(p.Renewed, file)
		}
	}
	authority, err := authoritiesOf(dir, config, now)
	if err != nil {
		return nil, err
	}
	for file, ca := range authority {
		if err := addPair(add, file, ca); err != nil {
			return nil, err
		}
	}
	var group errgroup.Group
	for _, want := range config.leaves() {
		group.Go(func() error {
			leaf, err := ensure(dir, want, authority[want.ca], now, now.Add(config.CertificateLife))
			if err != nil {
				return err
			}
			return addPair(add, want.file, leaf)
		})
	}
	group.Go(func() error { return serviceAccountKey(dir, add) })
	if err := group.Wait(); err != nil {
		return nil, err
	}
	slices.Sort(p.Renewed)
	if err := p.addKubeconfigs(config); err != nil {
		return nil, err
	}
	if config.Mirror.IsValid() {
		p.files[hostsFile] = hosts(config.Mirror)
	}
	return p, p.store(dir)
}

// authoritiesOf returns the pairs of all authorities, by file.
func authoritiesOf(dir string, config Config, now time.Time) (map[string]*pair, error) {
	if config.Provisioned {
		damage := &DamagedError{ClusterName: config.ClusterName, Dir: dir}
		made, err := provisionedAuthorities(dir, config, now, damage)
		if err != nil {
			return nil, err
		}
		if err := readServiceAccount(dir); err != nil {
			damage.add(serviceAccount, err)
		}
		if len(damage.Files) > 0 {
			return nil, damage
		}
		return made, nil
	}
	made := map[string]*pair{}
	for _, want := range authorities() { // three keys: not worth a goroutine
		ca, err := ensure(dir, want, nil, now, now.Add(caLife))
		if err != nil {
			return nil, err
		}
		made[want.file] = ca
	}
	return made, nil
}

type adder func(file string, made bool, contents map[string][]byte)

func addPair(add adder, file string, p *pair) error {
	key, err := keyPEM(p.key)
	if err != nil {
		return fmt.Errorf("encode key %q: %w", file, err)
	}
	add(file, p.made, map[string][]byte{".crt": p.certPEM(), ".key": key})
	return nil
}

// ensure reads a pair from dir or makes it.
func ensure(dir string, want certificate, issuer *pair, now, end time.Time) (*pair, error) {
	p, err := readPair(dir, want.file)
	if err == nil && want.check(p, issuer, now) == nil {
		return p, nil
	}
	if _, unread := errors.AsType[*fs.PathError](err); unread && !errors.Is(err, fs.ErrNotExist) { // it may be a good one
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	p, err = issue(want, issuer, now, end)
	if err != nil {
		return nil, fmt.Errorf("make certificate %q: %w", want.file, err)
	}
	return p, nil
}

// serviceAccountKey is the key that signs the tokens of service accounts. It is kept for ever, as tokens outlive it.
func serviceAccountKey(dir string, add adder) error {
	private, err := os.ReadFile(filepath.Join(dir, serviceAccount+".key"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read key: %w", err)
	}
	made := false
	key, err := parseKey(private)
	if err != nil {
		made = true
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return fmt.Errorf("make key of service accounts: %w", err)
		}
		if private, err = keyPEM(key); err != nil {
			return fmt.Errorf("encode key of service accounts: %w", err)
		}
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return fmt.Errorf("encode key of service accounts: %w", err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	add(serviceAccount, made, map[string][]byte{".key": private, ".pub": public})
	return nil
}

// store writes what is not in dir yet.
func (p *PKI) store(dir string) error {
	for name, content := range p.files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if old, err := os.ReadFile(path); err == nil && string(old) == string(content) {
			continue
		}
		if err := writeKeys(path, content); err != nil {
			return err
		}
	}
	return nil
}

// writeKeys replaces a file of keys or certificates in one step.
func writeKeys(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("store keys and certificates: %w", err)
	}
	if err := renameio.WriteFile(path, content, 0o600, renameio.WithStaticPermissions(0o600)); err != nil {
		return fmt.Errorf("store keys and certificates: %w", err)
	}
	return nil
}

// Kubeconfig is the administrator's kubeconfig for use on the host, with all keys in it. Its user is of the group
// kubeadm:cluster-admins, to which kubeadm gives its rights.
func (p *PKI) Kubeconfig() []byte { return p.files["kubeconfig"] }

// superAdmin returns the client certificate that may do everything from the API server's first moment.
func (p *PKI) superAdmin() (cert, key []byte) {
	return p.files[superAdminCert+".crt"], p.files[superAdminCert+".key"]
}

func (p *PKI) ca() []byte { return p.files["ca.crt"] }

// TLS returns the super administrator's certificate and the authority, to talk to the API server.
func (p *PKI) TLS() (*tls.Config, error) {
	return p.clientTLS(superAdminCert, "ca")
}

// clientTLS returns what a client needs: its own certificate, and the authority ca that the server must have its from.
func (p *PKI) clientTLS(own, ca string) (*tls.Config, error) {
	pair, err := tls.X509KeyPair(p.files[own+".crt"], p.files[own+".key"])
	if err != nil {
		return nil, fmt.Errorf("read the certificate %s: %w", own, err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(p.files[ca+".crt"])
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots, MinVersion: tls.VersionTLS13}, nil
}

// Guest returns the files that the machine needs, with their paths there.
func (p *PKI) Guest() []File {
	var files []File
	for name, content := range p.files {
		mode := fs.FileMode(0o600)
		target := pkiDir + "/" + name
		switch {
		case name == "kubeconfig" || strings.HasPrefix(name, "clients/") || strings.HasPrefix(name, mirrorServer+"."):
			continue // on the host, and in the kubeconfigs
		case name == hostsFile:
			target, mode = "/etc/containerd/certs.d/_default/hosts.toml", 0o644
		case strings.HasSuffix(name, ".conf"):
			target = "/etc/kubernetes/" + name
		case strings.HasPrefix(name, kubeletServer+"."):
			target = "/var/lib/kubelet/pki/kubelet" + filepath.Ext(name) // kubelet's own name for them
		}
		if strings.HasSuffix(name, ".crt") || strings.HasSuffix(name, ".pub") {
			mode = 0o644
		}
		files = append(files, File{Path: target, Mode: mode, Body: content})
	}
	// As the kubelet has it after it renewed its certificate (client-go, util/certificate/certificate_store.go).
	const first = "kubelet-client-first.pem"
	own := slices.Concat(p.files[kubeletCert+".crt"], p.files[kubeletCert+".key"])
	files = append(files,
		File{Path: path.Join(path.Dir(kubeletClient), first), Mode: 0o600, Body: own},
		File{Path: kubeletClient, Mode: 0o777, Link: first},
	)
	sortFiles(files)
	return files
}
