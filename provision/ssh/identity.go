package ssh

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"

	xssh "golang.org/x/crypto/ssh"

	"github.com/skiff-k8s/skiff/machine"
)

// Identity holds the keys of one machine and of the one user who may log in to it. All keys are Ed25519; private ones are
// OpenSSH PEM, public ones are one authorized_keys line each.
type Identity struct {
	HostKey, HostPublicKey []byte
	UserKey, UserPublicKey []byte
}

// GenerateIdentity makes new keys. comment is the comment of the public keys, such as "skiff".
func GenerateIdentity(comment string) (Identity, error) {
	var id Identity
	var err error
	if id.HostKey, id.HostPublicKey, err = keyPair(comment); err != nil {
		return Identity{}, fmt.Errorf("make SSH host key: %w", err)
	}
	if id.UserKey, id.UserPublicKey, err = keyPair(comment); err != nil {
		return Identity{}, fmt.Errorf("make SSH user key: %w", err)
	}
	return id, nil
}

// Machine returns the half that the machine gets.
func (id Identity) Machine() machine.Identity {
	return machine.Identity{HostKey: id.HostKey, AuthorizedKey: id.UserPublicKey}
}

// PublicKey returns the authorized_keys line of a private key in OpenSSH PEM.
func PublicKey(private []byte, comment string) ([]byte, error) {
	signer, err := xssh.ParsePrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("read SSH key: %w", err)
	}
	return line(signer.PublicKey(), comment), nil
}

func keyPair(comment string) (private, public []byte, err error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	block, err := xssh.MarshalPrivateKey(key, comment)
	if err != nil {
		return nil, nil, err
	}
	sshKey, err := xssh.NewPublicKey(key.Public())
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(block), line(sshKey, comment), nil
}

func line(key xssh.PublicKey, comment string) []byte {
	text := xssh.MarshalAuthorizedKey(key) // ends with a newline
	if comment == "" {
		return text
	}
	return append(text[:len(text)-1], " "+comment+"\n"...)
}
