package provision

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/internal/host"
	"github.com/skiff-k8s/skiff/machine"
)

// serviceAccount is the file, without its ending, of the keys that sign and check the tokens of service accounts.
const serviceAccount = "sa"

// DamagedError says which pairs of a provisioned cluster's keys are missing or unreadable on the host. They must not be
// recreated: what they signed, and what etcd holds, would be of no use. Restore takes them from the machine.
type DamagedError struct {
	ClusterName string
	Dir         string   // the folder of the cluster's keys
	Files       []string // names below Dir without an ending, such as "etcd/ca"; in the order of EnsurePKI
	Reasons     []error  // one for each of Files
}

func (e *DamagedError) Error() string {
	var texts []string
	for i, file := range e.Files {
		texts = append(texts, fmt.Sprintf("%s: %v", filepath.Join(e.Dir, filepath.FromSlash(file)), e.Reasons[i]))
	}
	return "keys of the cluster are damaged: " + strings.Join(texts, "; ")
}

// CheckClock compares the clock with the authorities in dir, the folder of a provisioned cluster's keys. A clock at which they
// are not valid must be wrong, as they are valid for ten years from the cluster's creation: that gives fail.ClockWrong. An
// authority that cannot be read is no evidence, and gives nil.
func CheckClock(cluster, dir string, now time.Time) error {
	for _, want := range authorities() {
		if p, err := readPair(dir, want.file); err == nil {
			if err := inTime(cluster, p.cert, now); err != nil {
				return err
			}
		}
	}
	return nil
}

// inTime holds an authority's certificate to the clock.
func inTime(cluster string, cert *x509.Certificate, now time.Time) error {
	if !now.Before(cert.NotBefore) && !now.After(cert.NotAfter) {
		return nil
	}
	in := func(t time.Time) string { return t.In(now.Location()).Format(time.DateTime) }
	return fail.New(fail.ClockWrong, "use cluster "+cluster, "this computer's clock says %s, but the cluster's certificates are valid from %s to %s",
		in(now), in(cert.NotBefore), in(cert.NotAfter)).
		WithHint("Nothing was changed. Set the clock, and the cluster works again.").WithNext("%s", host.SetClock())
}

// readPair reads a certificate and its key from dir.
func readPair(dir, file string) (*pair, error) {
	path := filepath.Join(dir, filepath.FromSlash(file))
	cert, err := os.ReadFile(path + ".crt")
	if err != nil {
		return nil, err
	}
	key, err := os.ReadFile(path + ".key")
	if err != nil {
		return nil, err
	}
	return parsePair(cert, key)
}

// provisionedAuthorities reads the authorities of a provisioned cluster, and adds those that are damaged to damage.
func provisionedAuthorities(dir string, config Config, now time.Time, damage *DamagedError) (map[string]*pair, error) {
	read := map[string]*pair{}
	for _, want := range authorities() {
		p, err := readPair(dir, want.file)
		if err == nil {
			err = want.identify(p)
		}
		if err != nil {
			damage.add(want.file, err)
			continue
		}
		if err := inTime(config.ClusterName, p.cert, now); err != nil {
			return nil, err
		}
		read[want.file] = p
	}
	return read, nil
}

func (e *DamagedError) add(file string, reason error) {
	e.Files, e.Reasons = append(e.Files, file), append(e.Reasons, reason)
}

// identify says why a pair is not what it should be, whatever the time.
func (c certificate) identify(p *pair) error {
	if !p.key.PublicKey.Equal(p.cert.PublicKey) {
		return errors.New("its key is another's")
	}
	if p.cert.Subject.String() != c.subject().String() {
		return fmt.Errorf("it is for %s", p.cert.Subject)
	}
	if c.ca == "" && !p.cert.IsCA {
		return errors.New("it is not an authority")
	}
	return nil
}

// Restore writes the damaged files of dir again from the copies on the machine, after checking that each is the pair of the
// certificates in use there. It writes nothing unless all of them are. Otherwise the failure is fail.StateCorrupt.
func Restore(ctx context.Context, runner machine.Runner, damaged *DamagedError) error {
	contents := map[string][]byte{}
	for _, file := range damaged.Files {
		found, err := guestCopy(ctx, runner, damaged.Dir, file)
		if ctx.Err() != nil {
			return err
		}
		if err != nil {
			path := filepath.Join(damaged.Dir, filepath.FromSlash(file)) + ".key"
			return fail.New(fail.StateCorrupt, "use cluster "+damaged.ClusterName, "%w; the machine's own copy of %s cannot take its place: %w", damaged, path, err).
				WithHint("Restore the file from a backup. The cluster's disk is untouched.").WithNext("skiff ssh -p %s", damaged.ClusterName)
		}
		for suffix, content := range found {
			contents[file+suffix] = content
		}
	}
	for name, content := range contents {
		if err := writeKeys(filepath.Join(damaged.Dir, filepath.FromSlash(name)), content); err != nil {
			return err
		}
	}
	return nil
}

// guestCopy returns the files of one pair as the machine has them, by ending.
func guestCopy(ctx context.Context, runner machine.Runner, dir, file string) (map[string][]byte, error) {
	key, err := guestFile(ctx, runner, file+".key")
	if err != nil {
		return nil, err
	}
	if file == serviceAccount {
		public, err := guestFile(ctx, runner, file+".pub")
		if err != nil {
			return nil, err
		}
		return map[string][]byte{".key": key, ".pub": public}, checkServiceAccount(dir, key, public)
	}
	crt, err := guestFile(ctx, runner, file+".crt")
	if err != nil {
		return nil, err
	}
	p, err := parsePair(crt, key)
	if err != nil {
		return nil, err
	}
	all := authorities()
	want := all[slices.IndexFunc(all, func(c certificate) bool { return c.file == file })]
	if err := want.identify(p); err != nil {
		return nil, err
	}
	user := issuedBy(file)
	used, err := guestFile(ctx, runner, user+".crt")
	if err != nil {
		return nil, err
	}
	leaf, err := parseCertificate(used)
	if err != nil {
		return nil, fmt.Errorf("%s.crt: %w", user, err)
	}
	if err := leaf.CheckSignatureFrom(p.cert); err != nil {
		return nil, fmt.Errorf("it did not sign %s.crt: %w", user, err)
	}
	// What is left of the host's own pair tells whether the machine's is the same.
	if own, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(file)) + ".crt"); err == nil {
		if cert, err := parseCertificate(own); err == nil && !cert.Equal(p.cert) {
			return nil, errors.New("the machine has another authority")
		}
	}
	return map[string][]byte{".crt": crt, ".key": key}, nil
}

// issuedBy names a certificate that the authority in file signed and that the machine uses.
func issuedBy(file string) string {
	switch file {
	case "front-proxy-ca":
		return "front-proxy-client"
	case "etcd/ca":
		return "etcd/server"
	}
	return "apiserver"
}

// checkServiceAccount holds the machine's private key to its public one, and to the host's where that can be read.
func checkServiceAccount(dir string, key, public []byte) error {
	private, err := parseKey(key)
	if err != nil {
		return err
	}
	own, _ := os.ReadFile(filepath.Join(dir, serviceAccount+".pub"))
	for i, content := range [][]byte{public, own} {
		block, _ := pem.Decode(content)
		if block == nil {
			if i == 0 {
				return errors.New("the public key is no PEM block")
			}
			continue
		}
		parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return err
		}
		if known, ok := parsed.(*ecdsa.PublicKey); !ok || !private.PublicKey.Equal(known) {
			return errors.New("its public key is another's")
		}
	}
	return nil
}

func parseCertificate(content []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(content)
	if block == nil {
		return nil, errors.New("no PEM block")
	}
	return x509.ParseCertificate(block.Bytes)
}

// guestFile reads a file of the machine's keys.
func guestFile(ctx context.Context, runner machine.Runner, name string) ([]byte, error) {
	var content, complaint bytes.Buffer
	if _, err := runner.Run(ctx, machine.Cmd{Args: []string{"cat", pkiDir + "/" + name}, Stdout: &content, Stderr: &complaint}); err != nil {
		return nil, fmt.Errorf("%w: %s", err, strings.TrimSpace(complaint.String()))
	}
	return content.Bytes(), nil
}

// readServiceAccount reads the key of a provisioned cluster's service accounts.
func readServiceAccount(dir string) error {
	content, err := os.ReadFile(filepath.Join(dir, serviceAccount+".key"))
	if err == nil {
		_, err = parseKey(content)
	}
	return err
}
