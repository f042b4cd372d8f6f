package download

import (
	"context"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/skiff-k8s/skiff/fail"
)

// pipes is a listener in memory, so that all of a test has the clock of its bubble.
type pipes struct {
	connections chan net.Conn
	once        sync.Once
	closed      chan struct{}
}

var _ net.Listener = (*pipes)(nil)

func newPipes() *pipes { return &pipes{connections: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.connections <- server:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case connection := <-p.connections:
		return connection, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }

// TestSlow has the real timeouts, on a clock that does not take any time.
func TestSlow(t *testing.T) {
	t.Parallel()
	content := someBytes(1, size)
	hang := func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	tests := []struct {
		name   string
		handle func(w http.ResponseWriter, r *http.Request, n int)
		want   string // part of the error; empty: it is brought
		spans  string
		takes  time.Duration
	}{
		{"no answer, once", func(w http.ResponseWriter, r *http.Request, n int) {
			if n == 0 {
				<-r.Context().Done()
			}
			give(w, r, content, -1)
		}, "", "all all", 31 * time.Second},
		{"no answer", func(_ http.ResponseWriter, r *http.Request, _ int) { <-r.Context().Done() },
			"sent nothing for half a minute before it answered. See that this computer's network works", "all all all all", (4*30 + 1 + 2 + 4) * time.Second},
		{"an answer without a byte", func(w http.ResponseWriter, r *http.Request, _ int) { hang(w, r) },
			"sent nothing for half a minute", "all all all all", (4*30 + 1 + 2 + 4) * time.Second},
		{"stalls in the middle, once", func(w http.ResponseWriter, r *http.Request, n int) {
			if n > 0 {
				give(w, r, content, -1)
				return
			}
			w.Header().Set("Content-Length", strconv.Itoa(size))
			_, _ = w.Write(content[:size/2])
			hang(w, r)
		}, "", "all 150000-299999", 31 * time.Second},
		{"stalls in the middle, and then always", func(w http.ResponseWriter, r *http.Request, n int) {
			if n == 0 {
				w.Header().Set("Content-Length", strconv.Itoa(size))
				_, _ = w.Write(content[:size/2])
			}
			hang(w, r)
		}, "sent nothing for half a minute", "all 150000-299999 150000-299999 150000-299999", (4*30 + 1 + 2 + 4) * time.Second},
		{"some bytes every 29 seconds", func(w http.ResponseWriter, r *http.Request, _ int) {
			from, _, _ := span(r, size)
			w.Header().Set("Content-Length", strconv.Itoa(size-from))
			for at := from; at < size; at += 1000 {
				time.Sleep(29 * time.Second)
				_, _ = w.Write(content[at : at+1000])
				_ = http.NewResponseController(w).Flush()
			}
		}, "", "all", 300 * 29 * time.Second},
		{"busy for a minute", func(w http.ResponseWriter, r *http.Request, n int) {
			if n == 0 {
				w.Header().Set("Retry-After", time.Now().Add(time.Minute).UTC().Format(http.TimeFormat))
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			give(w, r, content, -1)
		}, "", "all all", time.Minute},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "images")
			synctest.Test(t, func(t *testing.T) {
				s, listener := &server{}, newPipes()
				serving := &http.Server{Handler: s.noting(test.handle), ReadHeaderTimeout: time.Hour}
				go func() { _ = serving.Serve(listener) }()
				defer func() { _ = serving.Close() }()
				d, err := newDownloader(Config{Dir: dir, Sources: []string{"http://release.example"}}, listener.dial)
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				err = d.Fetch(t.Context(), []v1.Descriptor{descriptor(t, content)}, nil)
				took := time.Since(began)
				if test.want != "" {
					wantFailure(t, err, fail.DownloadFailed, test.want)
				} else if err != nil {
					t.Errorf("got error %v, want none", err)
				} else {
					wantBlob(t, d, content)
				}
				if s.spans() != test.spans {
					t.Errorf("got the ranges %q, want %q", s.spans(), test.spans)
				}
				if took != test.takes {
					t.Errorf("it took %s, want %s", took, test.takes)
				}
			})
		})
	}
}

// TestSlowDisk: the time that this computer takes is not the source's.
func TestSlowDisk(t *testing.T) {
	t.Parallel()
	content, dir := someBytes(1, size), filepath.Join(t.TempDir(), "images")
	synctest.Test(t, func(t *testing.T) {
		s, listener := &server{}, newPipes()
		serving := &http.Server{Handler: s.noting(func(w http.ResponseWriter, r *http.Request, _ int) { give(w, r, content, -1) }), ReadHeaderTimeout: time.Hour}
		go func() { _ = serving.Serve(listener) }()
		defer func() { _ = serving.Close() }()
		d, err := newDownloader(Config{Dir: dir, Sources: []string{"http://release.example"}}, listener.dial)
		if err != nil {
			t.Fatal(err)
		}
		slow := func(Progress) { time.Sleep(time.Minute) }
		if err := d.Fetch(t.Context(), []v1.Descriptor{descriptor(t, content)}, slow); err != nil || s.spans() != "all" {
			t.Errorf("got error %v and the ranges %q, want one request", err, s.spans())
		}
	})
}

// TestCancelled: Ctrl-C ends a download at once, whatever the source does, and what came is there for the next one.
func TestCancelled(t *testing.T) {
	t.Parallel()
	content := someBytes(1, size)
	half := make(chan struct{})
	s := newServer(t, func(w http.ResponseWriter, r *http.Request, n int) {
		if n > 0 {
			give(w, r, content, -1)
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(size))
		_, _ = w.Write(content[:size/2])
		_ = http.NewResponseController(w).Flush()
		close(half)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	d, waited := newTest(t, Config{Sources: []string{s.source()}})
	interrupt := func(p Progress) {
		if p.Done == size/2 {
			<-half
			cancel()
		}
	}
	if err := d.Fetch(ctx, []v1.Descriptor{descriptor(t, content)}, interrupt); err == nil || fail.Known(err) || ctx.Err() == nil || err.Error() != ctx.Err().Error() {
		t.Errorf("got error %v, want that of the context", err)
	}
	if err := d.Fetch(t.Context(), []v1.Descriptor{descriptor(t, content)}, nil); err != nil {
		t.Fatal(err)
	}
	wantBlob(t, d, content)
	if got, want := s.spans(), "all 150000-299999"; got != want {
		t.Errorf("got the ranges %q, want %q", got, want)
	}
	if len(waited.all) > 0 {
		t.Errorf("got the waits %v, want none", waited.all)
	}
}
