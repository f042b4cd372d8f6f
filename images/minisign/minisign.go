// Package minisign verifies signatures of minisign (https://jedisct1.github.io/minisign/, "Signature format"): Ed25519 over the
// BLAKE2b-512 hash of a file, and a comment that is signed with it. It makes none.
package minisign

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/blake2b"
)

// What a signature is refused for.
var (
	ErrFormat    = errors.New("it is not a minisign signature")
	ErrForeign   = errors.New("it is signed with a key that this skiff does not know")
	ErrSignature = errors.New("the signature is not of this content")
)

const (
	keyID         = 8 // bytes
	keyBytes      = 2 + keyID + ed25519.PublicKeySize
	signatureSize = 2 + keyID + ed25519.SignatureSize
	algorithm     = "Ed" // of a key, and of the old signatures over the file itself, which are refused
	prehashed     = "ED" // of a signature over the BLAKE2b-512 hash
)

// PublicKey is one half of a key pair of minisign.
type PublicKey struct {
	id  [keyID]byte
	key ed25519.PublicKey
}

// String is the key's number as minisign prints it.
func (k PublicKey) String() string {
	id := k.id
	slices.Reverse(id[:]) // minisign prints a little-endian number
	return strings.ToUpper(hex.EncodeToString(id[:]))
}

// ParsePublicKey reads a key: the file that `minisign -G` writes, or its second line alone.
func ParsePublicKey(text string) (PublicKey, error) {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	raw, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(lines[len(lines)-1]))
	if err != nil || len(raw) != keyBytes || string(raw[:2]) != algorithm {
		return PublicKey{}, errors.New("it is not a public key of minisign")
	}
	return PublicKey{id: [keyID]byte(raw[2 : 2+keyID]), key: raw[2+keyID:]}, nil
}

// Verify returns the trusted comment of a signature file, when the signature is of content and was made with one of keys. Other
// errors wrap ErrFormat, ErrForeign or ErrSignature.
func Verify(keys []PublicKey, content, signature []byte) (comment string, err error) {
	lines := strings.Split(strings.ReplaceAll(string(bytes.TrimSpace(signature)), "\r\n", "\n"), "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[0], "untrusted comment:") {
		return "", ErrFormat
	}
	comment, trusted := strings.CutPrefix(lines[2], "trusted comment: ")
	raw, badSignature := base64.StdEncoding.Strict().DecodeString(lines[1])
	global, badGlobal := base64.StdEncoding.Strict().DecodeString(lines[3])
	switch {
	case !trusted || badSignature != nil || badGlobal != nil || len(raw) != signatureSize || len(global) != ed25519.SignatureSize:
		return "", ErrFormat
	case string(raw[:2]) != prehashed:
		return "", fmt.Errorf("%w with a BLAKE2b hash: sign without -l", ErrFormat)
	}
	at := slices.IndexFunc(keys, func(key PublicKey) bool { return bytes.Equal(key.id[:], raw[2:2+keyID]) })
	if at < 0 {
		return "", fmt.Errorf("%w: key %s", ErrForeign, PublicKey{id: [keyID]byte(raw[2 : 2+keyID])})
	}
	hash, sign := blake2b.Sum512(content), raw[2+keyID:]
	if !ed25519.Verify(keys[at].key, hash[:], sign) {
		return "", ErrSignature
	}
	if !ed25519.Verify(keys[at].key, slices.Concat(sign, []byte(comment)), global) {
		return "", fmt.Errorf("%w: its trusted comment was changed", ErrSignature)
	}
	return comment, nil
}
