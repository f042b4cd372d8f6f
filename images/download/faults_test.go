package download

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/skiff-k8s/skiff/fail"
)

const size = 300_000 // bytes; more than two blocks

// fault is what a server does wrong, as long as the client is expected to do about it what it can.
type fault struct {
	name   string
	handle func(w http.ResponseWriter, r *http.Request, n int)
	want   string // part of the error; empty: the blob is brought
	spans  string // the ranges asked for; empty: not looked at
	waits  []time.Duration
}

// always answers each request for a blob so.
func always(handle func(w http.ResponseWriter, r *http.Request)) func(http.ResponseWriter, *http.Request, int) {
	return func(w http.ResponseWriter, r *http.Request, _ int) {
		if !notLayout(w, r) {
			handle(w, r)
		}
	}
}

// first answers the first request so, and the others as a good server does.
func first(content []byte, handle func(w http.ResponseWriter, r *http.Request)) func(http.ResponseWriter, *http.Request, int) {
	return func(w http.ResponseWriter, r *http.Request, n int) {
		if n == 0 {
			handle(w, r)
			return
		}
		give(w, r, content, -1)
	}
}

// then cuts the first answer in the middle, and answers the others so.
func then(content []byte, handle func(w http.ResponseWriter, r *http.Request)) func(http.ResponseWriter, *http.Request, int) {
	return func(w http.ResponseWriter, r *http.Request, n int) {
		if n == 0 {
			give(w, r, content, size/2)
		}
		handle(w, r)
	}
}

func code(status int, header ...string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
	}
}

func text(kind string, content []byte, chunked bool) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		if !chunked {
			w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		}
		_ = http.NewResponseController(w).Flush()
		_, _ = w.Write(content)
	}
}

func gzipped(t *testing.T, content []byte) []byte {
	t.Helper()
	var into bytes.Buffer
	writer := gzip.NewWriter(&into)
	if _, err := writer.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return into.Bytes()
}

// seconds are waits.
func seconds(all ...int) []time.Duration {
	var waits []time.Duration
	for _, one := range all {
		waits = append(waits, time.Duration(one)*time.Second)
	}
	return waits
}

func faults(t *testing.T, content []byte) []fault {
	t.Helper()
	const (
		middle = size / 2
		rest   = "all 150000-299999"
		page   = "<!DOCTYPE html>\n<html><head><title>Sign in to\n Hotel WiFi</title></head><body>welcome</body></html>"
		portal = `sent a web page "Sign in to Hotel WiFi": a proxy answered, not the release. Open a browser`
	)
	other, good := someBytes(9, size), func(w http.ResponseWriter, r *http.Request) { give(w, r, content, -1) }
	span206 := func(from, to, total int) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") == "" {
				good(w, r)
				return
			}
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, total))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(content[from:to])
		}
	}
	whole := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content) }
	cut := func(after int) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) { give(w, r, content, after) }
	}
	return []fault{
		{name: "none", handle: always(good), spans: "all"},
		{name: "cut before a byte, once", handle: first(content, cut(0)), spans: "all all", waits: seconds(1)},
		{name: "cut after a byte, once", handle: first(content, cut(1)), spans: "all 1-299999", waits: seconds(1)},
		{name: "cut in the middle, once", handle: first(content, cut(middle)), spans: rest, waits: seconds(1)},
		{name: "cut before the last byte, once", handle: first(content, cut(size-1)), spans: "all 299999-299999", waits: seconds(1)},
		{name: "cut before a byte, always", handle: always(cut(0)), want: "broke off before it answered: the connection was closed", spans: "all all all all", waits: seconds(1, 2, 4)},
		{name: "cut after a byte, always", handle: always(cut(1)), want: "broke off after 4 of 300000 bytes", waits: seconds(1, 2, 4)},
		{name: "cut after 70000 bytes, always", handle: always(cut(70_000)), spans: "all 70000-299999 140000-299999 210000-299999 280000-299999", waits: seconds(1, 1, 1, 1)},
		{name: "cut before the last byte, always", handle: always(cut(size - 1)), spans: "all 299999-299999", waits: seconds(1)},

		{name: "200 to a range", handle: then(content, whole), spans: rest, waits: seconds(1)},
		{name: "200 to a range, and cut each time", handle: always(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(size))
			giveCut(w, content, middle)
		}), want: "broke off after 150000 of 300000 bytes", waits: seconds(1, 2, 4)},
		{name: "416", handle: then(content, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return
			}
			good(w, r)
		}), spans: rest + " all", waits: seconds(1)},
		{name: "Content-Range of another place", handle: then(content, span206(middle+1, size, size)), spans: rest + " all", waits: seconds(1)},
		{name: "Content-Range of another size", handle: then(content, span206(middle, size, size+1)), spans: rest + " all", waits: seconds(1)},
		{name: "Content-Range that ends earlier", handle: then(content, span206(middle, size-1, size)), spans: rest + " all", waits: seconds(1)},
		{name: "206 without Content-Range", handle: then(content, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") == "" {
				good(w, r)
				return
			}
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(content[middle:])
		}), spans: rest + " all", waits: seconds(1)},
		{name: "206 with other bytes", handle: then(content, func(w http.ResponseWriter, r *http.Request) { give(w, r, other, -1) }), want: "sent something else, which has SHA-256", spans: rest, waits: seconds(1)},
		{name: "other bytes", handle: always(func(w http.ResponseWriter, r *http.Request) { give(w, r, other, -1) }), want: "sent something else", spans: "all"},

		{name: "404", handle: always(code(404)), want: "answered 404 Not Found. It does not have this release"},
		{name: "403", handle: always(code(403)), want: "answered 403 Forbidden. It wants a login"},
		{name: "403 with a page", handle: always(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte("<html><title>Blocked by policy</title></html>"))
		}), want: `answered 403 Forbidden: "Blocked by policy"`},
		{name: "410", handle: always(code(410)), want: "answered 410 Gone"},
		{name: "429 once, with Retry-After in seconds", handle: first(content, code(429, "Retry-After", "7")), spans: "all all", waits: seconds(7)},
		{name: "503 once, with Retry-After as a date", handle: first(content, code(503, "Retry-After", "Thu, 01 Jan 1970 00:00:00 GMT")), spans: "all all", waits: seconds(1)},
		{name: "429 for an hour", handle: always(code(429, "Retry-After", "3600")), want: "answered 429 Too Many Requests, and asks to wait for 1h0m0s", spans: "all"},
		{name: "500 once", handle: first(content, code(500)), spans: "all all", waits: seconds(1)},
		{name: "500", handle: always(code(500)), want: "answered 500 Internal Server Error", spans: "all all all all", waits: seconds(1, 2, 4)},
		{name: "503 in the middle", handle: func(w http.ResponseWriter, r *http.Request, n int) {
			switch n {
			case 0:
				give(w, r, content, middle)
			case 1:
				w.WriteHeader(http.StatusServiceUnavailable)
			default:
				good(w, r)
			}
		}, spans: rest + " 150000-299999", waits: seconds(1, 2)},
		{name: "418", handle: always(code(418)), want: "answered 418 I'm a teapot", spans: "all"},
		{name: "511", handle: always(code(511)), want: "sign in to this network", spans: "all"},

		{name: "HEAD refused", handle: always(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead {
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
			good(w, r)
		}), spans: "all"},

		{name: "a web page with 200", handle: always(text("text/html; charset=utf-8", []byte(page), false)), want: portal, spans: "all"},
		{name: "a web page that says it is none", handle: always(text("application/octet-stream", []byte(page), true)), want: portal, spans: "all"},
		{name: "a page that does not look like one", handle: always(text("text/html", []byte("access denied"), false)), want: "sent a web page: a proxy answered", spans: "all"},
		{name: "a web page in place of the rest", handle: then(content, text("text/html", []byte(page), true)), want: portal, spans: rest, waits: seconds(1)},
		{name: "the blob, and said to be a web page", handle: always(text("text/html", content, false)), spans: "all"},

		{name: "Content-Encoding", handle: always(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(gzipped(t, content))
		}), want: "sent it with Content-Encoding: gzip", spans: "all"},

		{name: "truncated and closed cleanly, once", handle: first(content, text("", content[:middle], true)), spans: rest, waits: seconds(1)},
		{name: "truncated with its length, always", handle: always(text("", content[:middle], false)), want: "has something else under that name: 150000 bytes instead of 300000", spans: "all"},
		{name: "longer than promised", handle: always(text("", slices.Concat(content, other), false)), want: "600000 bytes instead of 300000", spans: "all"},
		{name: "longer than promised, without saying so", handle: always(text("", slices.Concat(other, content), true)), want: "sent something else", spans: "all"},
		{name: "the blob, and more", handle: always(text("", slices.Concat(content, other), true)), spans: "all"},
		{name: "a redirect to itself", handle: always(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.String(), http.StatusFound) }), want: "redirects more than 10 times"},
		{name: "a redirect to nowhere", handle: always(code(302, "Location", "http://user:"+secret+"@%zz/?sig="+secret)), want: "broke off before it answered", waits: seconds(1, 2, 4)},
		{name: "no HTTP", handle: always(func(w http.ResponseWriter, _ *http.Request) {
			connection, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_, _ = connection.Write([]byte("SSH-2.0-OpenSSH_9.2\r\n"))
				_ = connection.Close()
			}
		}), want: "broke off before it answered", waits: seconds(1, 2, 4)},
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	content := someBytes(1, size)
	for _, test := range faults(t, content) {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			bad := newServer(t, test.handle)
			d, waited := newTest(t, Config{Sources: []string{bad.source()}})
			err := d.Fetch(t.Context(), []v1.Descriptor{descriptor(t, content)}, nil)
			if test.want == "" {
				if err != nil {
					t.Errorf("got error %v, want none", err)
				}
				wantBlob(t, d, content)
			} else {
				wantFailure(t, err, fail.DownloadFailed, test.want)
				if !strings.Contains(err.Error(), bad.URL+"/release ") {
					t.Errorf("got error %v, want it to name the place %s/release", err, bad.URL)
				}
				if blobs := files(t, d.config.Dir+"/blobs"); len(blobs) > 0 {
					t.Errorf("got the blobs %q, want none", blobs)
				}
			}
			if spans := bad.spans(); test.spans != "" && spans != test.spans {
				t.Errorf("got the ranges %q, want %q", spans, test.spans)
			}
			if !slices.Equal(waited.all, test.waits) {
				t.Errorf("got the waits %v, want %v", waited.all, test.waits)
			}
			for _, one := range bad.requests() {
				if one.method != http.MethodGet || one.encoding != "identity" {
					t.Errorf("got a %s that accepts %q, want GET alone, and the bytes as they are", one.method, one.encoding)
				}
				if !strings.HasPrefix(one.authorization, "Basic ") {
					t.Errorf("got authorization %q, want the login of the URL", one.authorization)
				}
			}
		})
	}
}

// TestFaultsThenAnother: whatever the first place does, the second one serves, and continues what the first one began.
func TestFaultsThenAnother(t *testing.T) {
	t.Parallel()
	content := someBytes(1, size)
	for _, test := range faults(t, content) {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			bad := newServer(t, test.handle)
			good := newServer(t, func(w http.ResponseWriter, r *http.Request, _ int) { give(w, r, content, -1) })
			d, _ := newTest(t, Config{Sources: []string{bad.source(), good.source()}})
			if err := d.Fetch(t.Context(), []v1.Descriptor{descriptor(t, content)}, nil); err != nil {
				t.Errorf("got error %v, want none", err)
			}
			wantBlob(t, d, content)
			if test.want != "" && strings.Contains(test.want, "150000 of") && good.spans() != "150000-299999" {
				t.Errorf("the second place was asked for %q, want the rest alone", good.spans())
			}
		})
	}
}

// TestExpiringRedirect: a release host redirects to a URL that serves once, and then says 403.
func TestExpiringRedirect(t *testing.T) {
	t.Parallel()
	content := someBytes(1, size)
	used := map[string]bool{}
	storage := newServer(t, func(w http.ResponseWriter, r *http.Request, n int) {
		if token := r.URL.Query().Get("token"); used[token] {
			w.WriteHeader(http.StatusForbidden)
			return
		} else {
			used[token] = true
		}
		cut := size / 2
		if n > 0 {
			cut = -1
		}
		give(w, r, content, cut)
	})
	middle := newServer(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		http.Redirect(w, r, storage.URL+"/x?token="+r.URL.Query().Get("token"), http.StatusTemporaryRedirect)
	})
	release := newServer(t, func(w http.ResponseWriter, r *http.Request, n int) {
		http.Redirect(w, r, fmt.Sprintf("%s/x?token=%d%s", middle.URL, max(n, 1), secret), http.StatusFound) // the second is that of the first
	})
	d, _ := newTest(t, Config{Sources: []string{release.source()}})
	if err := d.Fetch(t.Context(), []v1.Descriptor{descriptor(t, content)}, nil); err != nil {
		t.Fatal(err)
	}
	wantBlob(t, d, content)
	if got, want := storage.spans(), "all 150000-299999 150000-299999"; got != want {
		t.Errorf("the storage was asked for %q, want %q", got, want)
	}
	for _, one := range append(storage.requests(), middle.requests()...) {
		if one.referer != "" {
			t.Errorf("got the Referer %q, want none: it has a signature", one.referer)
		}
	}
	// It names what answered at the end of the chain, and no signature.
	gone := newServer(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		http.Redirect(w, r, storage.URL+"/x?token=1"+secret, http.StatusFound)
	})
	d, _ = newTest(t, Config{Sources: []string{gone.source()}})
	err := d.Fetch(t.Context(), []v1.Descriptor{descriptor(t, content)}, nil)
	if n := len(gone.requests()); n < tries {
		t.Errorf("the release was asked %d times, want %d times for a new link", n, tries)
	}
	wantFailure(t, err, fail.DownloadFailed, strings.TrimPrefix(storage.URL, "http://")+" answered 403 Forbidden")
}

// TestRedirectToNothing: what is not there after a redirect does not come by asking again.
func TestRedirectToNothing(t *testing.T) {
	t.Parallel()
	storage := newServer(t, func(w http.ResponseWriter, r *http.Request, _ int) { http.NotFound(w, r) })
	release := newServer(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		http.Redirect(w, r, storage.URL+r.URL.Path, http.StatusMovedPermanently)
	})
	d, waited := newTest(t, Config{Sources: []string{release.source()}})
	err := d.Fetch(t.Context(), []v1.Descriptor{descriptor(t, someBytes(1, size))}, nil)
	wantFailure(t, err, fail.DownloadFailed, strings.TrimPrefix(storage.URL, "http://")+" answered 404 Not Found. It does not have this release")
	if len(waited.all) > 0 {
		t.Errorf("got the waits %v, want none", waited.all)
	}
}

// TestRedirectToHTTP: TLS is not given up on the way.
func TestRedirectToHTTP(t *testing.T) {
	t.Parallel()
	content := someBytes(1, size)
	plain := newServer(t, func(w http.ResponseWriter, r *http.Request, _ int) { give(w, r, content, -1) })
	secure := httptest.NewTLSServer(http.RedirectHandler(plain.URL+"/?sig="+secret, http.StatusFound))
	t.Cleanup(secure.Close)
	d, _ := newTest(t, Config{Sources: []string{secure.URL}, CAFile: caFile(t, secure)})
	err := d.Fetch(t.Context(), []v1.Descriptor{descriptor(t, content)}, nil)
	wantFailure(t, err, fail.DownloadFailed, "redirects from HTTPS to "+plain.URL)
	if len(plain.requests()) > 0 {
		t.Errorf("got %d requests over HTTP, want none", len(plain.requests()))
	}
}

// TestServerGoes: a network that was there a moment ago may come back, as when a computer moves to another one.
func TestServerGoes(t *testing.T) {
	t.Parallel()
	content := someBytes(1, size)
	var bad *server
	bad = newServer(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		_ = bad.Listener.Close()
		give(w, r, content, size/2)
	})
	other := newServer(t, func(w http.ResponseWriter, r *http.Request, _ int) { give(w, r, content, -1) })
	d, waited := newTest(t, Config{Sources: []string{bad.source(), other.source()}})
	if err := d.Fetch(t.Context(), []v1.Descriptor{descriptor(t, content)}, nil); err != nil {
		t.Fatal(err)
	}
	wantBlob(t, d, content)
	if got := other.spans(); got != "150000-299999" || !slices.Equal(waited.all, seconds(1, 2, 4)) {
		t.Errorf("the other one was asked for %q after the waits %v, want the rest after three", got, waited.all)
	}
}
