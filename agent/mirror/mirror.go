// Package mirror is the registry that containerd asks first, for images of every other registry. It answers from the
// images that came with the guest, from a cache that all clusters share, and from the registries themselves, in an order
// that saves the network and never hides a real image behind a stand-in. It reads the OCI distribution API (OCI
// Distribution Specification 1.1, "Pull") with containerd's parameter ns, which names the registry meant
// (containerd, docs/hosts.md, "Registry Host Namespace"). Nothing can be pushed.
package mirror

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Config says where images come from.
type Config struct {
	Layout    string            // folder of an OCI image layout with the guest's images; read anew each time; empty: none
	Cache     string            // folder of the cache; made when missing; safe to share and to delete; empty: none
	CacheMax  int64             // bytes that the cache may take; 0: as many as DefaultCacheMax
	Offline   bool              // never ask a registry
	Insecure  []string          // as of SetInsecure
	Logins    bool              // ask as the host's user where a registry wants that; only for who may have what the user has
	Transport http.RoundTripper // how registries are reached; nil: as the host reaches them
	// Loaded returns the manifest of an image that the user has given the node under that name, which has the registry in it, as in
	// docker.io/library/my-app:dev; os.ErrNotExist when there is none. Its layers are on the node. nil: there are no such images.
	Loaded func(ctx context.Context, image string) ([]byte, error)
	Log    *slog.Logger
}

// DefaultCacheMax holds the images of several clusters.
const DefaultCacheMax = 10 << 30

// Mirror is the registry. It is safe for concurrent use.
type Mirror struct {
	bundle   bundle
	cache    cache
	offline  bool
	upstream *upstream
	loaded   func(ctx context.Context, image string) ([]byte, error)
	log      *slog.Logger
}

var _ http.Handler = (*Mirror)(nil)

// New returns the mirror.
func New(c Config) (*Mirror, error) {
	store := cache{c.Cache, cmp.Or(c.CacheMax, DefaultCacheMax)}
	if err := store.make(); err != nil {
		return nil, fmt.Errorf("make the cache of images: %w", err)
	}
	verifying, lax := c.Transport, c.Transport
	if c.Transport == nil {
		verifying, lax = newGuarded(http.ProxyFromEnvironment, public, false), newGuarded(http.ProxyFromEnvironment, public, true)
	}
	m := &Mirror{
		bundle: bundle{c.Layout}, cache: store, offline: c.Offline, loaded: c.Loaded, log: c.Log, upstream: newUpstream(verifying, lax, c.Logins),
	}
	m.SetInsecure(c.Insecure)
	return m, nil
}

// SetInsecure says which registries may be asked without TLS, and with a certificate that this host does not trust, from now on:
// hosts as image names have them, with their port, or networks, as in 10.1.0.0/16, of addresses in image names. No login is sent so.
func (m *Mirror) SetInsecure(registries []string) { m.upstream.insecure.set(registries) }

// Insecure is what SetInsecure, or else New, was given.
func (m *Mirror) Insecure() []string { return m.upstream.insecure.get() }

// ServeHTTP implements http.Handler.
func (m *Mirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		refuse(w, &problem{http.StatusMethodNotAllowed, "UNSUPPORTED", "this registry can only be read"})
		return
	}
	if r.URL.Path == "/v2/" || r.URL.Path == "/v2" {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "{}")
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, "/v2/")
	parts := strings.Split(path, "/")
	if !ok || len(parts) < 3 {
		refuse(w, &problem{http.StatusNotFound, "UNSUPPORTED", "no such page"})
		return
	}
	repository := strings.Join(parts[:len(parts)-2], "/")
	registry := r.URL.Query().Get("ns")
	if registry == "" {
		registry = name.DefaultRegistry
	}
	repo, err := name.NewRepository(registry+"/"+repository, m.upstream.insecure.naming(registry)...)
	if err != nil {
		refuse(w, &problem{http.StatusBadRequest, "NAME_INVALID", err.Error()})
		return
	}
	switch kind, reference := parts[len(parts)-2], parts[len(parts)-1]; kind {
	case "manifests":
		err = m.manifest(w, r, repo, reference)
	case "blobs":
		err = m.blob(w, r, repo, reference)
	default:
		err = &problem{http.StatusNotFound, "UNSUPPORTED", "no such page"}
	}
	if err != nil {
		m.log.Debug("not answered", "path", r.URL.Path, "registry", registry, "err", err)
		refuse(w, err)
	}
}

// manifest answers for a tag or a digest.
func (m *Mirror) manifest(w http.ResponseWriter, r *http.Request, repo name.Repository, reference string) error {
	var found manifest
	hash, err := v1.NewHash(reference)
	if err == nil {
		found, err = m.byDigest(r.Context(), repo, hash)
	} else {
		var tag name.Tag
		if tag, err = name.NewTag(repo.Name()+":"+reference, m.upstream.insecure.naming(repo.RegistryStr())...); err != nil {
			return &problem{http.StatusBadRequest, "MANIFEST_INVALID", err.Error()}
		}
		found, err = m.byTag(r.Context(), tag)
	}
	if err != nil {
		return err
	}
	header := w.Header()
	header.Set("Content-Type", found.mediaType)
	header.Set("Content-Length", fmt.Sprint(len(found.data)))
	header.Set("Docker-Content-Digest", found.hash.String())
	if r.Method == http.MethodGet {
		_, _ = w.Write(found.data)
	}
	return nil
}

// byDigest needs no order: whoever has the digest has the right thing.
func (m *Mirror) byDigest(ctx context.Context, repo name.Repository, hash v1.Hash) (manifest, error) {
	if found, err := m.stored(hash); err == nil {
		return found, nil
	}
	if m.offline {
		return manifest{}, missing(repo.Name() + "@" + hash.String())
	}
	found, err := m.upstream.manifest(ctx, repo.Digest(hash.String()), patience)
	if err != nil {
		return manifest{}, asProblem(repo, err)
	}
	m.keep(found)
	return found, nil
}

// byTag asks in this order: an image that came with the guest; the registry; an image that the user has given the node; what the
// registry said some time ago; a stand-in that came with the guest. Kubernetes asks with imagePullPolicy Always, so a registry that
// gives an image is believed. Where it gives none, because it cannot be reached or has none of that name for this host's user, a
// name that was loaded means what was loaded: nothing else could come of the question but a pod that does not start.
func (m *Mirror) byTag(ctx context.Context, tag name.Tag) (manifest, error) {
	bundled, standIn, err := m.bundle.find(tag)
	has := err == nil
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		m.log.Warn("the guest's images cannot be read", "err", err)
	}
	if has && !standIn {
		return m.stored(bundled)
	}
	failure := m.ask(ctx, tag, has)
	if failure.err == nil {
		return failure.manifest, nil
	}
	if found, err := m.given(ctx, tag); err == nil {
		m.log.Info("answering with an image that was loaded", "image", display(tag), "digest", found.hash, "because", failure.err)
		return found, nil
	} else if !errors.Is(err, os.ErrNotExist) {
		m.log.Warn("the node does not tell whether the image was loaded", "image", display(tag), "err", err)
	}
	if hash, err := m.cache.tag(tag); err == nil {
		if found, err := m.stored(hash); err == nil {
			m.log.Info("answering with what the registry said earlier", "image", display(tag), "because", failure.err)
			return found, nil
		}
	}
	if has {
		m.log.Warn("answering with a stand-in, not with the image itself", "image", display(tag), "because", failure.err)
		return m.stored(bundled)
	}
	return manifest{}, failure.err
}

// loadedLimit is how long the node may take to tell which image was loaded.
const loadedLimit = 15 * time.Second

// given is an image that the user has given the node; os.ErrNotExist when there is none. A registry on the node itself is the
// node's to ask: the image there may be a newer one. "localhost" without a port is none: Podman calls images so that come from no
// registry.
func (m *Mirror) given(ctx context.Context, tag name.Tag) (manifest, error) {
	if registry := tag.RegistryStr(); m.loaded == nil || loopback(registry) && registry != "localhost" {
		return manifest{}, os.ErrNotExist
	}
	ctx, cancel := context.WithTimeout(ctx, loadedLimit)
	defer cancel()
	data, err := m.loaded(ctx, display(tag))
	if err != nil {
		return manifest{}, err
	}
	hash, _, err := v1.SHA256(bytes.NewReader(data))
	if err != nil {
		return manifest{}, err
	}
	found := manifest{hash: hash, data: data, mediaType: mediaType(data)}
	m.keep(found)
	return found, nil
}

type asked struct {
	manifest manifest
	err      error
}

// ask asks the registry, briefly when there is a stand-in.
func (m *Mirror) ask(ctx context.Context, tag name.Tag, standIn bool) asked {
	if m.offline {
		return asked{err: missing(display(tag))}
	}
	limit := patience
	if standIn {
		if err := m.upstream.known(tag.RegistryStr()); err != nil {
			return asked{err: err}
		}
		limit = impatience
	}
	found, err := m.upstream.manifest(ctx, tag, limit)
	if err != nil {
		return asked{err: asProblem(tag.Repository, err)}
	}
	m.log.Info("the registry has the image", "image", display(tag), "digest", found.hash)
	m.keep(found)
	if err := m.cache.remember(tag, found.hash); err != nil {
		m.log.Warn("the cache of images cannot be written", "err", err)
	}
	return asked{manifest: found}
}

func (m *Mirror) keep(found manifest) {
	if err := m.cache.put(found.hash, found.data); err != nil {
		m.log.Warn("the cache of images cannot be written", "err", err)
	}
}

// stored reads a manifest from the disk.
func (m *Mirror) stored(hash v1.Hash) (manifest, error) {
	file, err := m.open(hash)
	if err != nil {
		return manifest{}, fmt.Errorf("read manifest %s: %w", hash, err)
	}
	defer func() { _ = file.Close() }()
	data, err := io.ReadAll(&capped{ReadCloser: file, left: maxManifest}) // a layer is no manifest
	if err != nil {
		return manifest{}, fmt.Errorf("read manifest %s: %w", hash, err)
	}
	return manifest{hash: hash, data: data, mediaType: mediaType(data)}, nil
}

// open opens a blob that is on the disk.
func (m *Mirror) open(hash v1.Hash) (*os.File, error) {
	file, err := m.bundle.open(hash)
	if err != nil {
		file, err = m.cache.open(hash)
	}
	return file, err
}

// blob answers for a layer or a configuration.
func (m *Mirror) blob(w http.ResponseWriter, r *http.Request, repo name.Repository, reference string) error {
	hash, err := v1.NewHash(reference)
	if err != nil {
		return &problem{http.StatusBadRequest, "DIGEST_INVALID", err.Error()}
	}
	w.Header().Set("Docker-Content-Digest", hash.String())
	if file, err := m.open(hash); err == nil {
		defer func() { _ = file.Close() }()
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, r, "", time.Time{}, file) // also HEAD and Range
		return nil
	}
	digest := repo.Digest(hash.String())
	if m.offline {
		return missing(digest.Name())
	}
	if r.Method == http.MethodHead {
		size, err := m.upstream.size(r.Context(), digest)
		if err != nil {
			return asProblem(repo, err)
		}
		w.Header().Set("Content-Length", fmt.Sprint(size))
		return nil
	}
	return m.pass(w, r, digest, hash)
}

// pass streams a blob from its registry to the guest and keeps a copy. Parts that were asked for are not honoured, which
// clients must bear (RFC 9110, 14.2). An error half-way ends the connection: the status has been sent long ago.
func (m *Mirror) pass(w http.ResponseWriter, r *http.Request, digest name.Digest, hash v1.Hash) error {
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	body, err := m.upstream.blob(ctx, digest)
	if err != nil {
		return asProblem(digest.Repository, err)
	}
	defer func() { _ = body.Close() }()
	copied := m.cache.begin(hash)
	defer copied.discard()
	w.Header().Set("Content-Type", "application/octet-stream")
	_, err = io.Copy(io.MultiWriter(w, copied), &hasty{reader: body, give: func() { cancel(errStalled) }})
	if err != nil {
		m.log.Warn("a layer broke off", "blob", digest.Name(), "err", errors.Join(err, context.Cause(ctx)))
		panic(http.ErrAbortHandler)
	}
	if err := copied.commit(); err != nil {
		m.log.Warn("the layer is not kept", "blob", digest.Name(), "err", err)
	}
	if err := m.cache.sweep(); err != nil {
		m.log.Warn("the cache of images is larger than it may be", "err", err)
	}
	return nil
}
