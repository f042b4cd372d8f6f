package download

import (
	"net/url"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/skiff-k8s/skiff/fail"
)

// Reference is a source, and the index of images that is wanted of it.
type Reference struct {
	Source string        // as of Config; may have a login
	Index  digest.Digest // empty: the reference does not say
}

// ParseReference reads SOURCE or SOURCE@sha256:HEX, which is how references to container images are written. What is none is
// fail.FlagInvalid. Nothing is asked.
func ParseReference(text string) (Reference, error) {
	reference := Reference{Source: text}
	if at := strings.LastIndex(text, "@"+digest.SHA256.String()+":"); at >= 0 {
		reference.Source, reference.Index = text[:at], digest.Digest(text[at+1:])
		if err := reference.Index.Validate(); err != nil {
			return Reference{}, fail.New(fail.FlagInvalid, "read the place "+clean(text), "what follows the @ is no digest: %w", err).
				WithHint("A digest is sha256: and 64 hexadecimal digits.")
		}
	}
	_, err := parseSource(reference.Source, nil, nil)
	return reference, err
}

// String is the source for people, without logins.
func (r Reference) String() string { return clean(r.Source) }

// Network reports whether asking the source needs the network.
func (r Reference) Network() bool { return overNetwork(r.Source) }

// Path is that of a source that does not need the network.
func (r Reference) Path() string {
	if parsed, err := url.Parse(r.Source); err == nil && parsed.Scheme == "file" {
		return parsed.Path
	}
	return r.Source
}

// CheckTrust refuses a source over the network without a digest, with fail.FlagInvalid: who can change what it serves could change its
// index too, and so any file of the image.
func (r Reference) CheckTrust() error {
	if !r.Network() || r.Index != "" {
		return nil
	}
	return fail.New(fail.FlagInvalid, "use the place "+r.String(), "without the digest of its index of images nothing that it serves can be believed").
		WithHint("Write it as %s@sha256:DIGEST. Whoever publishes the images tells the digest, which `sha256sum index.json` prints in their layout.", r)
}
