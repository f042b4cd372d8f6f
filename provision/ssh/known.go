package ssh

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"

	xssh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// UnknownHostKeyError says that no known_hosts file has the host key that a server showed.
type UnknownHostKeyError struct {
	Address     string
	Kind        string // "ssh-ed25519"
	Fingerprint string // SHA-256
	Key         []byte // one authorized_keys line
	Line        string // for a known_hosts file, without a newline
}

func (e *UnknownHostKeyError) Error() string {
	return fmt.Sprintf("the SSH server at %s shows the %s host key %s, which no known_hosts file has", e.Address, e.Kind, e.Fingerprint)
}

// errSeen ends a handshake whose purpose was to see the host key.
var errSeen = errors.New("the host key was seen")

// FindHostKey asks the SSH server at addr for its host key and returns it (one authorized_keys line) when one of the
// known_hosts files has it; files that do not exist are left out. It does not log in. Errors: *UnknownHostKeyError,
// *HostKeyError when they have another one for that address, *DialError.
func FindHostKey(ctx context.Context, addr netip.AddrPort, files []string) ([]byte, error) {
	known, err := openKnown(files)
	if err != nil {
		return nil, err
	}
	text := addr.String()
	remote := net.TCPAddrFromAddrPort(addr)
	kinds := kindsOf(known(text, remote, noKey{}))
	key, err := seeHostKey(ctx, text, algorithms(kinds))
	if negotiation := (*xssh.AlgorithmNegotiationError)(nil); errors.As(err, &negotiation) && len(kinds) > 0 {
		key, err = seeHostKey(ctx, text, algorithms(nil)) // it has none of the known kinds any more
	}
	if err != nil {
		return nil, err
	}
	err = known(text, remote, key)
	var other *knownhosts.KeyError
	var revoked *knownhosts.RevokedError
	switch {
	case err == nil:
		return xssh.MarshalAuthorizedKey(key), nil
	case errors.As(err, &revoked):
		return nil, &HostKeyError{Address: text, Want: "none: it was revoked", Got: xssh.FingerprintSHA256(key), File: revoked.Revoked.Filename}
	case errors.As(err, &other) && len(other.Want) > 0:
		want := other.Want[0]
		return nil, &HostKeyError{Address: text, Want: xssh.FingerprintSHA256(want.Key), Got: xssh.FingerprintSHA256(key), File: want.Filename}
	case errors.As(err, &other):
		return nil, &UnknownHostKeyError{
			Address: text, Kind: key.Type(), Fingerprint: xssh.FingerprintSHA256(key),
			Key: xssh.MarshalAuthorizedKey(key), Line: knownhosts.Line([]string{text}, key),
		}
	}
	return nil, err
}

// openKnown reads the files that exist.
func openKnown(files []string) (xssh.HostKeyCallback, error) {
	files = slices.DeleteFunc(slices.Clone(files), func(name string) bool {
		_, err := os.Stat(name)
		return errors.Is(err, fs.ErrNotExist)
	})
	known, err := knownhosts.New(files...)
	if err != nil {
		return nil, fmt.Errorf("read the known SSH host keys: %w", err)
	}
	return known, nil
}

// kindsOf returns the kinds of keys that are known, from what the callback says of a key that nobody has.
func kindsOf(err error) []string {
	var other *knownhosts.KeyError
	if !errors.As(err, &other) {
		return nil
	}
	var kinds []string
	for _, want := range other.Want {
		kinds = append(kinds, want.Key.Type())
	}
	return kinds
}

// algorithms asks for keys of these kinds; none means any, the best first.
func algorithms(kinds []string) []string {
	if len(kinds) == 0 {
		kinds = []string{xssh.KeyAlgoED25519, xssh.KeyAlgoECDSA256, xssh.KeyAlgoECDSA384, xssh.KeyAlgoECDSA521, xssh.KeyAlgoRSA}
	}
	var all []string
	for _, kind := range kinds {
		all = append(all, hostKeyAlgorithms(kind)...)
	}
	return all
}

// seeHostKey begins a connection to the point where the server shows its key.
func seeHostKey(ctx context.Context, addr string, algorithms []string) (xssh.PublicKey, error) {
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	conn, err := Dial(direct).reach(ctx, addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	var seen xssh.PublicKey
	client, _, _, err := xssh.NewClientConn(conn, addr, &xssh.ClientConfig{
		HostKeyAlgorithms: algorithms,
		HostKeyCallback: func(_ string, _ net.Addr, key xssh.PublicKey) error {
			seen = key
			return errSeen
		},
	})
	var negotiation *xssh.AlgorithmNegotiationError
	switch {
	case seen != nil:
		return seen, nil
	case err == nil: // cannot be: nobody accepts the key
		_ = client.Close()
		return nil, &DialError{errors.New("the SSH server showed no host key")}
	case ctx.Err() != nil:
		return nil, &DialError{fmt.Errorf("ask %s for its host key: %w", addr, ctx.Err())}
	case errors.As(err, &negotiation):
		return nil, err
	}
	return nil, &DialError{fmt.Errorf("ask %s for its host key: %w", addr, err)}
}

// noKey is a key that nobody has.
type noKey struct{}

var _ xssh.PublicKey = noKey{}

func (noKey) Type() string                         { return "none" }
func (noKey) Marshal() []byte                      { return nil }
func (noKey) Verify([]byte, *xssh.Signature) error { return errors.New("it is no key") }
