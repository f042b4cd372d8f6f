package mirror

import (
	"errors"
	"io"
	"net/http"
	"strings"
)

// errTooLarge: a manifest is held in memory as a whole, and go-containerregistry would take 100 MiB of it (pkg/v1/remote).
var errTooLarge = errors.New("the registry's manifest has more than 8 MiB")

// bounded lets no registry send a manifest of more than maxManifest bytes, whatever it says of its length.
type bounded struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := b.RoundTripper.RoundTrip(r)
	if err == nil && r.Method == http.MethodGet && ofManifest(r) {
		response.Body = &capped{ReadCloser: response.Body, left: maxManifest}
	}
	return response, err
}

// ofManifest reports whether a request is for a manifest, also after redirects (net/http, Request.Response).
func ofManifest(r *http.Request) bool {
	for r.Response != nil && r.Response.Request != nil {
		r = r.Response.Request
	}
	return strings.Contains(r.URL.Path, "/manifests/")
}

// capped fails where there is more to read than left.
type capped struct {
	io.ReadCloser
	left int64
}

func (c *capped) Read(p []byte) (int, error) {
	if int64(len(p)) > c.left+1 {
		p = p[:c.left+1]
	}
	n, err := c.ReadCloser.Read(p)
	if c.left -= int64(n); c.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}
