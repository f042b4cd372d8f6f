package mirror

import (
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// endless is a registry whose manifests never end.
type endless struct{ sent atomic.Int64 }

func (e *endless) RoundTrip(r *http.Request) (*http.Response, error) {
	response := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: r}
	if strings.Contains(r.URL.Path, "/manifests/") {
		response.ContentLength, response.Body = -1, io.NopCloser(e)
	}
	return response, nil
}

func (e *endless) Read(p []byte) (int, error) {
	e.sent.Add(int64(len(p)))
	return len(p), nil
}

// TestManifestsAreBounded: a registry cannot make the agent hold more than a manifest may have.
func TestManifestsAreBounded(t *testing.T) {
	t.Parallel()
	registry := &endless{}
	s := serve(t, Config{Transport: registry})
	answer, body := s.do(t, http.MethodGet, "/v2/a/whoami/manifests/v1?ns=quay.io")
	if answer.StatusCode != http.StatusBadGateway || !strings.Contains(string(body), errTooLarge.Error()) {
		t.Errorf("got %d %s, want a refusal that says why", answer.StatusCode, body)
	}
	if sent := registry.sent.Load(); sent > 2*maxManifest {
		t.Errorf("%d bytes were read, want about %d", sent, maxManifest)
	}
}

// TestLayerIsNoManifest: what is on the disk under a digest and too large is not sent as a part of itself.
func TestLayerIsNoManifest(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	s := serve(t, Config{Cache: cache, Offline: true})
	hash := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("1", 64)}
	if err := os.WriteFile(blobPath(cache, hash), make([]byte, maxManifest+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if answer, body := s.do(t, http.MethodGet, "/v2/a/whoami/manifests/"+hash.String()+"?ns=quay.io"); answer.StatusCode == http.StatusOK {
		t.Errorf("got %d bytes, want a refusal", len(body))
	}
}

// TestManifestOfTheLargestSize is read to its end.
func TestManifestOfTheLargestSize(t *testing.T) {
	t.Parallel()
	body := &capped{ReadCloser: io.NopCloser(io.LimitReader(&endless{}, maxManifest)), left: maxManifest}
	if data, err := io.ReadAll(body); err != nil || len(data) != maxManifest {
		t.Errorf("got %d bytes and error %v, want %d", len(data), err, maxManifest)
	}
}
