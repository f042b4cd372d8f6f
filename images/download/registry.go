package download

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// registry is a repository of an OCI registry (OCI Distribution Specification 1.1, "Pull"). Tokens are go-containerregistry's
// business; its own way to read a layer cannot continue one.
type registry struct {
	client   *client
	repo     name.Repository
	keychain authn.Keychain
	over     *http.Client // nil until the registry has answered
	login    bool         // over has the user's login
}

func parseRegistry(text string, client *client, keychain authn.Keychain) (source, error) {
	rest := strings.TrimPrefix(text, "oci://")
	host, _, _ := strings.Cut(rest, "/")
	repo, err := name.NewRepository(rest)
	// Without a host it would be one of Docker Hub.
	if err != nil || !strings.ContainsAny(host, ".:") && host != "localhost" {
		return nil, noSource(text)
	}
	return &registry{client: client, repo: repo, keychain: keychain}, nil
}

func (g *registry) String() string { return "oci://" + g.repo.Name() }

func (g *registry) network() bool { return true }

// at is the URL of a blob or a manifest; the transport knows whether it is one of HTTPS.
func (g *registry) at(kind, reference string) *url.URL {
	return &url.URL{Scheme: "https", Host: g.repo.RegistryStr(), Path: fmt.Sprintf("/v2/%s/%s/%s", g.repo.RepositoryStr(), kind, reference)}
}

func (g *registry) open(ctx context.Context, want v1.Descriptor, offset int64) (body io.ReadCloser, from int64, err error) {
	kind, accept := "blobs", ""
	if want.MediaType == v1.MediaTypeImageIndex || want.MediaType == v1.MediaTypeImageManifest {
		kind, accept = "manifests", want.MediaType
	}
	err = g.ask(ctx, func(over *http.Client) error {
		body, from, err = blob(ctx, over, g.at(kind, want.Digest.String()), accept, want, offset)
		return err
	})
	return body, from, err
}

func (g *registry) index(ctx context.Context, want digest.Digest) (content []byte, err error) {
	err = g.ask(ctx, func(over *http.Client) error {
		content, err = index(ctx, over, g.at("manifests", want.String()), v1.MediaTypeImageIndex)
		return cmp.Or(err, another(content, want))
	})
	return content, err
}

// signed takes the index that is tagged "latest", and its signature from the one layer of what is tagged with the index's digest and
// ".minisig": so the two belong together also while they are replaced.
func (g *registry) signed(ctx context.Context) (content, signature []byte, err error) {
	err = g.ask(ctx, func(over *http.Client) error {
		if content, err = index(ctx, over, g.at("manifests", "latest"), v1.MediaTypeImageIndex); err != nil {
			return err
		}
		manifest, err := index(ctx, over, g.at("manifests", "sha256-"+digest.FromBytes(content).Encoded()+".minisig"), v1.MediaTypeImageManifest)
		if err != nil {
			return err
		}
		var parsed v1.Manifest
		if err := json.Unmarshal(manifest, &parsed); err != nil || len(parsed.Layers) != 1 {
			return &problem{text: "has something else than a signature for its index"}
		}
		signature, err = index(ctx, over, g.at("blobs", parsed.Layers[0].Digest.String()), "")
		return err
	})
	return content, signature, err
}

// ask asks as nobody in particular, and again as the user where that is refused and the user has logged in: most registries of images
// are public, and asking a credential helper may open a window.
func (g *registry) ask(ctx context.Context, question func(*http.Client) error) error {
	err := g.as(ctx, authn.Anonymous, g.client.transport, question)
	if g.keychain == nil || g.login || !refused(err) {
		return err
	}
	login, unknown := authn.Resolve(ctx, g.keychain, g.repo)
	if unknown != nil || login == authn.Anonymous {
		return err
	}
	g.over, g.login = nil, true
	return g.as(ctx, login, encrypted{g.client.transport}, question)
}

// as asks with a login, and takes the way to the registry that is known already.
func (g *registry) as(ctx context.Context, login authn.Authenticator, way http.RoundTripper, question func(*http.Client) error) error {
	if g.over == nil {
		authorized, err := transport.NewWithContext(ctx, g.repo.Registry, login, way, []string{g.repo.Scope(transport.PullScope)})
		if err != nil {
			return err
		}
		g.over = g.client.over(authorized)
	}
	return question(g.over)
}

// refused reports whether a login may help.
func refused(err error) bool {
	if absent, ok := errors.AsType[*problem](err); ok {
		return absent.missing
	}
	answer, ok := errors.AsType[*transport.Error](err)
	return ok && (answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden)
}

// encrypted refuses plain HTTP, which go-containerregistry tries for private addresses: nobody on the way may read a login.
type encrypted struct{ over http.RoundTripper }

var _ http.RoundTripper = encrypted{}

func (e encrypted) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" {
		return nil, &problem{text: "wants a login and has no TLS, and a login is sent over TLS only", dead: true}
	}
	return e.over.RoundTrip(r)
}
