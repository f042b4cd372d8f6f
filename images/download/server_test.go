package download

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/skiff-k8s/skiff/fail"
)

// secret must never be seen in an error: it is in every server's URL, as a password and as a signature.
const secret = "s3cr3t"

// someBytes are bytes that look like nothing, always the same for the same seed.
func someBytes(seed uint64, n int) []byte {
	content := make([]byte, n)
	source := rand.NewChaCha8([32]byte{byte(seed), 1})
	_, _ = source.Read(content)
	return content
}

func descriptor(t testing.TB, content []byte) v1.Descriptor {
	t.Helper()
	return v1.Descriptor{Digest: digest.FromBytes(content), Size: int64(len(content))}
}

// asked is a request that a server got.
type asked struct {
	method, path, span string
	authorization      string
	referer, encoding  string
}

// server notes what is asked, and how many bytes it gives.
type server struct {
	*httptest.Server
	mu    sync.Mutex
	asked []asked
	bytes int64
}

// newServer starts a server whose handler is told which request, from 0, it answers.
func newServer(t *testing.T, handle func(w http.ResponseWriter, r *http.Request, n int)) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewServer(s.noting(handle))
	t.Cleanup(s.Close)
	return s
}

func (s *server) noting(handle func(w http.ResponseWriter, r *http.Request, n int)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		n := len(s.asked)
		s.asked = append(s.asked, asked{r.Method, r.URL.Path, r.Header.Get("Range"), r.Header.Get("Authorization"), r.Header.Get("Referer"), r.Header.Get("Accept-Encoding")})
		s.mu.Unlock()
		handle(&counting{w, s}, r, n)
	})
}

type counting struct {
	http.ResponseWriter
	server *server
}

func (c *counting) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.server.mu.Lock()
	c.server.bytes += int64(n)
	c.server.mu.Unlock()
	return n, err
}

func (s *server) requests() []asked {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]asked(nil), s.asked...)
}

// spans are the ranges that were asked for, as "all" or "a-b".
func (s *server) spans() string {
	var spans []string
	for _, one := range s.requests() {
		spans = append(spans, strings.TrimPrefix(max(one.span, "all"), "bytes="))
	}
	return strings.Join(spans, " ")
}

// source is the server's URL as a user may give it, with a login and a signature.
func (s *server) source() string {
	at, err := url.Parse(s.URL)
	if err != nil {
		panic(err)
	}
	at.User = url.UserPassword("user", secret)
	return at.JoinPath("release").String() + "?sig=" + secret
}

// span reads the range of a request; all of the content when there is none.
func span(r *http.Request, size int) (from, to int, ranged bool) {
	first, last, ok := strings.Cut(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), "-")
	if !ok {
		return 0, size, false
	}
	from, err := strconv.Atoi(first)
	until, err2 := strconv.Atoi(last)
	if err != nil || err2 != nil || until != size-1 {
		panic("a range that no client of ours asks for: " + r.Header.Get("Range"))
	}
	return from, until + 1, true
}

// give answers as a good server does, but for the cut: after that many bytes the connection breaks; -1: never.
func give(w http.ResponseWriter, r *http.Request, content []byte, cut int) {
	from, to, ranged := span(r, len(content))
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(to-from))
	if ranged {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, len(content)))
		w.WriteHeader(http.StatusPartialContent)
	}
	giveCut(w, content[from:to], cut)
}

func giveCut(w http.ResponseWriter, content []byte, cut int) {
	if cut < 0 || cut >= len(content) {
		_, _ = w.Write(content)
		return
	}
	_, _ = w.Write(content[:cut])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// notLayout lets the handler answer for blobs in an OCI image layout only.
func notLayout(w http.ResponseWriter, r *http.Request) bool {
	if strings.Contains(r.URL.Path, "/blobs/sha256/") {
		return false
	}
	http.NotFound(w, r)
	return true
}

// pauses notes how long was waited, without waiting.
type pauses struct{ all []time.Duration }

func (p *pauses) pause(ctx context.Context, wait time.Duration) error {
	p.all = append(p.all, wait)
	return ctx.Err()
}

// newTest returns a Downloader to a new folder that does not wait.
func newTest(t *testing.T, config Config) (*Downloader, *pauses) {
	t.Helper()
	if config.Dir == "" {
		config.Dir = filepath.Join(t.TempDir(), "images")
	}
	d, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	waited := &pauses{}
	d.clock.pause = waited.pause
	return d, waited
}

// wantBlob fails unless the blob is there and nothing else is left.
func wantBlob(t *testing.T, d *Downloader, content []byte) {
	t.Helper()
	want := descriptor(t, content)
	got, err := os.ReadFile(d.Path(want.Digest))
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("got a blob of %d bytes and error %v, want the %d bytes that it has", len(got), err, len(content))
	}
	if left := files(t, filepath.Join(d.config.Dir, "partial")); len(left) > 0 {
		t.Errorf("in the folder of partial blobs: got %q, want nothing", left)
	}
}

// wantFailure fails unless err has the ID, contains text, and has nothing of the secret.
func wantFailure(t *testing.T, err error, id fail.ID, text string) {
	t.Helper()
	if !fail.Is(err, id) || !strings.Contains(fmt.Sprint(err), text) {
		t.Errorf("got error %v, want one with ID %s and %q", err, id, text)
	}
	if strings.Contains(fmt.Sprintf("%v %+v", err, err), secret) {
		t.Errorf("got error %v, want one without the login and the signature", err)
	}
}

// files are the names of all files in dir.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			names = append(names, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return names
}
