package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

const (
	patience   = 20 * time.Second // for a manifest that nobody else has
	impatience = 3 * time.Second  // for one that has a stand-in
	remembered = time.Minute      // how long a registry that could not be reached is not asked again for such a one
	stall      = 30 * time.Second // without a byte of a layer
)

var errStalled = errors.New("the registry sent nothing for half a minute")

// upstream is the registries themselves, as this host reaches them.
type upstream struct {
	transport http.RoundTripper
	trusted   http.RoundTripper // for logins: TLS alone, with certificates that this host trusts
	insecure  *insecure
	keychain  authn.Keychain // nil: no logins
	now       func() time.Time

	mu          sync.Mutex
	unreachable map[string]failure // by registry
}

type failure struct {
	at  time.Time
	err error
}

// newUpstream takes two ways to the registries: one that verifies certificates, and one that takes them as they come.
func newUpstream(verifying, lax http.RoundTripper, logins bool) *upstream {
	u := &upstream{insecure: &insecure{}, now: time.Now, unreachable: map[string]failure{}}
	u.transport = bounded{secure{verifying: verifying, lax: lax, insecure: u.insecure}}
	u.trusted = bounded{encrypted{verifying}}
	if logins {
		u.keychain = authn.DefaultKeychain
	}
	return u
}

// known returns why the registry was lately found out of reach, or nil.
func (u *upstream) known(registry string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if last, ok := u.unreachable[registry]; ok && u.now().Sub(last.at) < remembered {
		return last.err
	}
	return nil
}

// note remembers whether the registry answered at all.
func (u *upstream) note(registry string, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if answered(err) || errors.Is(err, context.Canceled) {
		delete(u.unreachable, registry)
		return
	}
	u.unreachable[registry] = failure{u.now(), err}
}

// answered reports whether err, or its absence, is the registry's own answer.
func answered(err error) bool {
	var refusal *transport.Error
	var plain *plainError
	return err == nil || errors.As(err, &refusal) || errors.As(err, &plain) && plain.answered || errors.Is(err, errForbidden) || errors.Is(err, errNotEncrypted) || errors.Is(err, errTooLarge)
}

func (u *upstream) manifest(ctx context.Context, ref name.Reference, limit time.Duration) (manifest, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var found *remote.Descriptor
	err := u.try(ctx, ref, func(options ...remote.Option) (err error) {
		found, err = remote.Get(ref, options...)
		return err
	})
	u.note(ref.Context().RegistryStr(), err)
	if err != nil {
		return manifest{}, err
	}
	return manifest{hash: found.Digest, data: found.Manifest, mediaType: string(found.MediaType)}, nil
}

func (u *upstream) size(ctx context.Context, digest name.Digest) (size int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = u.try(ctx, digest, func(options ...remote.Option) error {
		var layer v1.Layer
		if layer, err = remote.Layer(digest, options...); err == nil {
			size, err = layer.Size()
		}
		return err
	})
	return size, err
}

// blob begins to read a layer; ctx is for all of it. The reader fails at its end when the digest is another.
func (u *upstream) blob(ctx context.Context, digest name.Digest) (body io.ReadCloser, err error) {
	err = u.try(ctx, digest, func(options ...remote.Option) error {
		var layer v1.Layer
		if layer, err = remote.Layer(digest, options...); err == nil {
			body, err = layer.Compressed()
		}
		return err
	})
	return body, err
}

// try asks as nobody in particular, and again as the host's user where that is refused and the user has logged in.
// Most images are public, and asking a credential helper for them may open a window.
func (u *upstream) try(ctx context.Context, ref name.Reference, ask func(...remote.Option) error) error {
	if loopback(ref.Context().RegistryStr()) {
		return errGuestsOwn
	}
	options := []remote.Option{remote.WithContext(ctx), remote.WithTransport(u.transport), remote.WithUserAgent("skiff")}
	err := ask(options...)
	var refusal *transport.Error
	if !errors.As(err, &refusal) {
		return err
	}
	switch refusal.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusTooManyRequests:
	default:
		return err
	}
	if u.keychain == nil {
		return err
	}
	login, lookup := authn.Resolve(ctx, u.keychain, ref.Context())
	if lookup != nil || login == authn.Anonymous {
		return err
	}
	return ask(append(options, remote.WithAuth(login), remote.WithTransport(u.trusted))...)
}

// errGuestsOwn: "localhost" in the guest is the guest, and the host's localhost is none of its business.
var errGuestsOwn = errors.New("a registry on localhost is the guest's own")

func loopback(registry string) bool {
	host := registry
	if h, _, err := net.SplitHostPort(registry); err == nil {
		host = h
	}
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.IsLoopback()
}

// asProblem says in the words of the protocol what became of a question to a registry.
func asProblem(repo name.Repository, err error) error {
	var refusal *transport.Error
	var plain *plainError
	switch {
	case errors.As(err, &plain) && plain.answered:
		return &problem{http.StatusForbidden, "DENIED", plain.Error()}
	case errors.Is(err, errGuestsOwn):
		return &problem{http.StatusNotFound, "NAME_UNKNOWN", err.Error()}
	case errors.Is(err, errForbidden), errors.Is(err, errNotEncrypted):
		return &problem{http.StatusForbidden, "DENIED", err.Error()}
	case errors.Is(err, errTooLarge):
		return &problem{http.StatusBadGateway, "MANIFEST_INVALID", err.Error()}
	case !errors.As(err, &refusal):
		return &problem{http.StatusBadGateway, "UNAVAILABLE", fmt.Sprintf("%s cannot be reached from this host: %v", repo.RegistryStr(), err)}
	case refusal.StatusCode == http.StatusNotFound:
		return &problem{http.StatusNotFound, "MANIFEST_UNKNOWN", err.Error()}
	case refusal.StatusCode == http.StatusUnauthorized, refusal.StatusCode == http.StatusForbidden:
		return &problem{http.StatusForbidden, "DENIED", err.Error()}
	case refusal.StatusCode == http.StatusTooManyRequests:
		return &problem{http.StatusTooManyRequests, "TOOMANYREQUESTS", err.Error()}
	}
	return &problem{http.StatusBadGateway, "UNAVAILABLE", err.Error()}
}

// hasty gives up when one Read takes too long. The time that the reader's user takes does not count.
type hasty struct {
	reader io.Reader
	give   func()
}

func (h *hasty) Read(p []byte) (int, error) {
	timer := time.AfterFunc(stall, h.give)
	defer timer.Stop()
	return h.reader.Read(p)
}
