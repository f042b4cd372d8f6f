package download

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/net/http/httpproxy"

	"github.com/skiff-k8s/skiff/fail"
)

const (
	dialTimeout  = 10 * time.Second // for each address of a name
	idle         = 10 * time.Second
	pingAfter    = 15 * time.Second // without a frame of HTTP/2, whose connection outlives a request: it may be of another network
	maxRedirects = 10
	maxIndex     = 8 << 20 // bytes; indexes have some kilobytes
	sniffed      = 512     // bytes that tell a web page
)

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// client asks over HTTP, with GET alone: some proxies refuse HEAD.
type client struct {
	transport http.RoundTripper
}

// newClient returns a client whose proxies are those of env, and that trusts the certificates in caFile besides the system's.
func newClient(env func(string) string, caFile string, dial dialFunc) (*client, error) {
	roots, err := certificates(caFile)
	if err != nil {
		return nil, err
	}
	return &client{&http.Transport{
		Proxy:                  proxies(env),
		DialContext:            dial,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    dialTimeout,
		IdleConnTimeout:        idle,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingAfter},
		DisableCompression:     true, // ranges are of what the digest is of
		OnProxyConnectResponse: connected,
	}}, nil
}

// certificates are the system's and those of the file. SSL_CERT_FILE instead would work on Linux only, and replace the system's.
func certificates(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil // which crypto/tls takes for the system's
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fail.New(fail.FlagInvalid, "read ca-file", "%w", err).About("ca-file")
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool() // a system without any
	}
	if !roots.AppendCertsFromPEM(content) {
		return nil, fail.New(fail.FlagInvalid, "read ca-file "+file, "it has no certificate in PEM").About("ca-file")
	}
	return roots, nil
}

// proxies reads the environment as net/http does, which reads it once for a whole process and ignores what is no URL.
func proxies(env func(string) string) func(*http.Request) (*url.URL, error) {
	if env == nil {
		return nil
	}
	either := func(name string) string {
		if value := env(name); value != "" {
			return value
		}
		return env(strings.ToLower(name))
	}
	config := httpproxy.Config{HTTPProxy: either("HTTP_PROXY"), HTTPSProxy: either("HTTPS_PROXY"), NoProxy: either("NO_PROXY")}
	choose := config.ProxyFunc()
	return func(r *http.Request) (*url.URL, error) {
		name, value := "HTTPS_PROXY", config.HTTPSProxy
		if r.URL.Scheme == "http" {
			name, value = "HTTP_PROXY", config.HTTPProxy
		}
		chosen, err := choose(r.URL)
		if err != nil || chosen == nil && !proxyURL(value) {
			return nil, &problem{text: "was not asked: " + name + " is not the URL of a proxy", do: "Correct it, or unset it.", dead: true} // without its value, which may have a password
		}
		return chosen, nil
	}
}

// proxyURL reports whether the value of a variable is none, or a proxy: a URL, or HOST:PORT.
func proxyURL(value string) bool {
	if !strings.Contains(value, "://") {
		value = "http://" + value
	}
	parsed, err := url.Parse(value)
	return value == "http://" || err == nil && parsed.Host != ""
}

// connected looks at a proxy's answer to CONNECT.
func connected(_ context.Context, proxy *url.URL, _ *http.Request, answer *http.Response) error {
	if answer.StatusCode == http.StatusOK {
		return nil
	}
	return status(answer.StatusCode, answer.Header, "the proxy "+proxy.Host, "")
}

// over returns an HTTP client that asks through way.
func (c *client) over(way http.RoundTripper) *http.Client {
	return &http.Client{Transport: way, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		r.Header.Del("Referer") // has the query of the URL before, which may be a signature
		switch last := via[len(via)-1].URL; {
		case len(via) >= maxRedirects:
			return &problem{text: fmt.Sprintf("redirects more than %d times", maxRedirects)}
		case last.Scheme == "https" && r.URL.Scheme != "https":
			return &problem{text: "redirects from HTTPS to " + display(r.URL)}
		}
		return nil
	}}
}

// get asks for one URL. header may be nil.
func get(ctx context.Context, over *http.Client, at *url.URL, header http.Header) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, err
	}
	maps.Copy(request.Header, header)
	request.Header.Set("User-Agent", "skiff")
	request.Header.Set("Accept-Encoding", "identity")
	answer, err := over.Do(request)
	if err != nil {
		// The connection may be a dead one, as after a computer has slept: the next try opens another.
		over.CloseIdleConnections()
	}
	return answer, err
}

// blob asks for the rest of a blob, always at its own URL: what that redirects to may be valid for minutes only. Where the rest cannot
// be had it asks for all of it.
func blob(ctx context.Context, over *http.Client, at *url.URL, accept string, want v1.Descriptor, offset int64) (io.ReadCloser, int64, error) {
	header := http.Header{}
	if accept != "" {
		header.Set("Accept", accept)
	}
	if offset > 0 {
		// Never an open range, which some registries answer with 416. All of a blob is asked for without a range, so that caches on the
		// way can keep it.
		header.Set("Range", fmt.Sprintf("bytes=%d-%d", offset, want.Size-1))
	}
	answer, err := get(ctx, over, at, header)
	if err != nil {
		return nil, 0, err
	}
	if offset > 0 && !ranged(answer, want.Size, offset) {
		if answer.StatusCode == http.StatusPartialContent || answer.StatusCode == http.StatusRequestedRangeNotSatisfiable {
			_ = answer.Body.Close()
			return blob(ctx, over, at, accept, want, 0)
		}
		offset = 0
	}
	body, err := accepted(answer, at, want.Size-offset)
	if err != nil {
		return nil, 0, errors.Join(err, answer.Body.Close())
	}
	return body, offset, nil
}

// ranged reports whether an answer is what was asked for with a range (RFC 9110, 14.4).
func ranged(answer *http.Response, size, offset int64) bool {
	span, total, _ := strings.Cut(answer.Header.Get("Content-Range"), "/")
	return answer.StatusCode == http.StatusPartialContent && span == fmt.Sprintf("bytes %d-%d", offset, size-1) && (total == "*" || total == fmt.Sprint(size))
}

// accepted returns the body of an answer that may be what is wanted. length is how many bytes it should have, -1 when that is not known.
func accepted(answer *http.Response, asked *url.URL, length int64) (io.ReadCloser, error) {
	final := answer.Request.URL
	who := ""
	if final.Host != asked.Host {
		who = final.Host
	}
	if answer.StatusCode != http.StatusOK && answer.StatusCode != http.StatusPartialContent {
		problem := status(answer.StatusCode, answer.Header, who, says(answer))
		switch answer.StatusCode {
		case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusGone:
			problem.again = who != "" // stores answer so to a link that has expired
		}
		return nil, problem
	}
	if encoding := answer.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return nil, &problem{text: "sent it with Content-Encoding: " + clean(encoding) + ", which was not asked for", do: "See whether a proxy on the way changes downloads."}
	}
	body := bufio.NewReaderSize(answer.Body, sniffed)
	if length == 0 {
		return &buffered{body, answer.Body}, nil
	}
	if _, err := body.Peek(1); err != nil {
		return nil, err
	}
	begin, err := body.Peek(min(body.Buffered(), sniffed)) // what has come, without waiting for more
	if err != nil {
		return nil, err
	}
	wrong := length >= 0 && answer.ContentLength >= 0 && answer.ContentLength != length
	if page(begin) || hypertext(answer.Header) && answer.ContentLength != length {
		return nil, portal(body, who)
	}
	if wrong {
		return nil, wrongSize(answer.ContentLength, length)
	}
	return &buffered{body, answer.Body}, nil
}

// buffered reads what was looked at before, and closes what it came from.
type buffered struct {
	io.Reader
	io.Closer
}

// status is the problem of an answer that is none. who answered is empty when it is the source; says is what it says, or empty.
func status(code int, header http.Header, who, says string) *problem {
	text := fmt.Sprintf("answered %d %s", code, http.StatusText(code))
	if who != "" {
		text = fmt.Sprintf("did not serve it: %s answered %d %s", who, code, http.StatusText(code))
	}
	if says != "" {
		text += ": " + says
	}
	p := &problem{text: text, after: retryAfter(header, time.Now())}
	switch code {
	case http.StatusUnauthorized, http.StatusForbidden:
		p.do = "It wants a login, or does not let this computer in: for a registry use docker login, else put user and password into the URL."
		p.missing = true
	case http.StatusNotFound, http.StatusGone:
		p.do = "It does not have this release: correct the address, or use another place."
		p.missing = true
	case http.StatusProxyAuthRequired:
		p.do = "Put user and password into the proxy's URL in HTTPS_PROXY: http://USER:PASSWORD@HOST:PORT."
		p.dead = true
	case http.StatusNetworkAuthenticationRequired:
		p.do = signIn
		p.dead = true
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests,
		http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		p.do = "Run the same command again later: it continues."
		p.again = true
	}
	if p.after > longestAsked {
		p.text += fmt.Sprintf(", and asks to wait for %s", p.after.Round(time.Second))
	}
	return p
}

const signIn = "Open a browser and sign in to this network, or set HTTPS_PROXY to the proxy that it needs."

// says is what an answer without a blob says for people: the message of a registry, or the title of a page. A page about what is
// not found says nothing more.
func says(answer *http.Response) string {
	content, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	if err != nil || answer.StatusCode == http.StatusNotFound && page(content) {
		return ""
	}
	if page(content) {
		return title(content)
	}
	answer.Body = io.NopCloser(strings.NewReader(string(content)))
	if refused, ok := errors.AsType[*transport.Error](transport.CheckError(answer)); ok {
		return refusal(refused)
	}
	return ""
}

// page reports whether content begins like a web page. No blob of an image does.
func page(content []byte) bool {
	return strings.HasPrefix(http.DetectContentType(content), "text/html")
}

func hypertext(header http.Header) bool {
	kind := strings.ToLower(header.Get("Content-Type"))
	return strings.HasPrefix(kind, "text/html") || strings.HasPrefix(kind, "application/xhtml")
}

// portal is the problem of a web page in place of a blob.
func portal(content io.Reader, who string) *problem {
	begin, err := io.ReadAll(io.LimitReader(content, 16<<10))
	name := title(begin)
	if err != nil {
		name = ""
	}
	if name != "" {
		name = " " + name
	}
	if who != "" {
		name += " of " + who
	}
	return &problem{text: "sent a web page" + name + ": a proxy answered, not the release", do: signIn, dead: true}
}

var titles = regexp.MustCompile(`(?is)<title[^>]*>([^<]{1,200})`) //nolint:gochecknoglobals // compiled once, never changed

// title is a page's own name in quotation marks; empty when it has none.
func title(content []byte) string {
	found := titles.FindSubmatch(content)
	if found == nil {
		return ""
	}
	return fmt.Sprintf("%q", clean(strings.Join(strings.Fields(string(found[1])), " ")))
}

// readIndex reads a small file.
func readIndex(from io.Reader) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(from, maxIndex+1))
	if err == nil && len(content) > maxIndex {
		return nil, &problem{text: fmt.Sprintf("has an index of more than %d bytes", maxIndex)}
	}
	return content, err
}

// index asks for a small file whose size is not known.
func index(ctx context.Context, over *http.Client, at *url.URL, accept string) ([]byte, error) {
	header := http.Header{}
	if accept != "" {
		header.Set("Accept", accept)
	}
	answer, err := get(ctx, over, at, header)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := accepted(answer, at, -1)
	if err != nil {
		return nil, err
	}
	return readIndex(body)
}
