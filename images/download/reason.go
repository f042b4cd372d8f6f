package download

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/skiff-k8s/skiff/fail"
)

// Miss is a place that did not serve, and why.
type Miss struct {
	Place string // without logins
	Err   error
}

// MissesError says of all places, in the order in which they were asked, why they did not serve. None is possible.
type MissesError struct{ Misses []Miss }

func (e *MissesError) Error() string {
	if len(e.Misses) == 0 {
		return "no place to download from is configured"
	}
	var text strings.Builder
	text.WriteString("no place served it")
	for _, miss := range e.Misses {
		fmt.Fprintf(&text, "\n  %s %v", miss.Place, miss.Err)
	}
	return text.String()
}

// missed is the error when no source is left.
func (r *run) missed(op string, misses []Miss) error {
	cause := &MissesError{misses}
	id := fail.DownloadFailed
	if r.config.Offline {
		id = fail.Offline
	}
	for _, miss := range misses {
		if known, ok := errors.AsType[*problem](miss.Err); ok && known.id != "" {
			id = known.id
			break
		}
	}
	return fail.New(id, op, "%w", cause)
}

// problem is why a source did not serve. Its text continues a sentence that begins with the source.
type problem struct {
	text  string
	do    string // what to do about it, a sentence; may be empty
	again bool   // another try may help
	after time.Duration
	dead  bool // it is the same for all blobs
	// missing says that the source does not have it, or does not give it to everyone.
	missing bool
	id      fail.ID // when no source serves; empty: as for any other problem
	err     error   // may be nil
}

func (p *problem) Error() string {
	if p.do == "" {
		return p.text
	}
	return p.text + ". " + p.do
}

func (p *problem) Unwrap() error { return p.err }

// askedError is a question to a source that failed.
type askedError struct {
	err    error
	before bool  // the source has answered before
	at, of int64 // bytes that are there, of those wanted; of is 0 when the answer did not begin
}

func (e *askedError) Error() string { return clean(e.err.Error()) }

func (e *askedError) Unwrap() error { return e.err }

// explain says why a source did not serve. Texts of the network libraries have the whole URL, with logins and signatures, so that
// they are looked into or cleaned.
func explain(asked *askedError) *problem {
	err := asked.err
	if known, ok := errors.AsType[*problem](err); ok {
		return known
	}
	if refused, ok := errors.AsType[*transport.Error](err); ok {
		return status(refused.StatusCode, nil, "the registry", refusal(refused))
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	const look = "See that this computer's network works, and whether it needs a proxy (HTTPS_PROXY)."
	if errors.Is(err, errStalled) {
		return &problem{text: err.Error() + place(asked), do: look, again: true, err: err}
	}
	if wrong, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return &problem{
			text: "answered with a certificate that this computer does not trust" + issuer(wrong) + ": " + wrong.Err.Error(),
			do:   "Where a proxy of your organisation looks into TLS, set ca-file to the file with its certificate.", dead: true, err: wrong,
		}
	}
	if unknown, ok := errors.AsType[*net.DNSError](err); ok {
		return &problem{text: fmt.Sprintf("cannot be reached: the name %s is not resolved", unknown.Name), do: look, again: asked.before, dead: true, err: err}
	}
	if operation, ok := errors.AsType[*net.OpError](err); ok && operation.Op == "proxyconnect" {
		return &problem{text: "cannot be reached through the proxy of HTTPS_PROXY: " + clean(operation.Err.Error()), do: "Correct HTTPS_PROXY, or unset it.", again: asked.before, dead: true, err: err}
	} else if ok && operation.Op == "dial" {
		return &problem{text: "cannot be reached: " + clean(operation.Error()), do: look, again: asked.before, dead: true, err: err}
	}
	if file, ok := errors.AsType[*fs.PathError](err); ok {
		return &problem{text: "cannot be read: " + file.Error(), err: err}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the connection was closed")
	}
	return &problem{text: "broke off" + place(asked) + ": " + clean(err.Error()), do: look, again: true, err: err}
}

func place(asked *askedError) string {
	if asked.of == 0 {
		return " before it answered"
	}
	return fmt.Sprintf(" after %d of %d bytes", asked.at, asked.of)
}

func issuer(wrong *tls.CertificateVerificationError) string {
	if len(wrong.UnverifiedCertificates) == 0 {
		return ""
	}
	return fmt.Sprintf(" (issued by %q)", wrong.UnverifiedCertificates[0].Issuer.String())
}

// refusal is what a registry says in the words of the protocol; a page that it sends instead says nothing.
func refusal(refused *transport.Error) string {
	for _, one := range refused.Errors {
		if one.Message != "" {
			return clean(one.Message)
		}
	}
	return ""
}

var address = regexp.MustCompile(`[a-zA-Z][a-zA-Z0-9+.-]*://[^\s"'<>]+`) //nolint:gochecknoglobals // compiled once, never changed

// clean takes logins and queries, which may be signatures, out of the URLs in a text.
func clean(text string) string {
	return address.ReplaceAllStringFunc(text, func(found string) string {
		parsed, err := url.Parse(strings.TrimRight(found, ":.,;)"))
		if err != nil {
			return "(a URL)"
		}
		return display(parsed)
	})
}

// display is a URL as people may see it.
func display(u *url.URL) string {
	plain := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	return plain.String()
}
