package dashboard

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
)

// policy is what the page may load and who may show it. Emotion and Monaco, which the page is made with, put style sheets
// into it as it runs, so style-src needs 'unsafe-inline'; scripts need nothing of the kind.
const policy = "default-src 'self'; script-src 'self'; connect-src 'self'; worker-src 'self' blob:; style-src 'self' 'unsafe-inline'; " +
	"img-src 'self' data:; font-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// guard lets in what comes from the page itself, and a token. Every request passes here, WebSockets included.
//
// The Host is what keeps other sites out that have made their own name point to 127.0.0.1 (DNS rebinding); the Origin and
// Sec-Fetch-Site keep out what other sites, and other ports of this host, make a browser send along with the cookie.
func (s *Server) guard(next http.Handler) http.Handler {
	origin := "http://" + s.host
	crossOrigin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secure(w.Header())
		opens := r.Method == http.MethodGet && r.URL.Path == openPath
		site := r.Header.Get("Sec-Fetch-Site")
		switch {
		case r.Host != s.host:
			refuse(w, http.StatusMisdirectedRequest, fmt.Sprintf("The dashboard is at http://%s and has no other name.", s.host))
		case len(r.Header.Values("Origin")) > 1 || r.Header.Get("Origin") != "" && r.Header.Get("Origin") != origin:
			refuse(w, http.StatusForbidden, "The request comes from another page.")
		case crossOrigin.Check(r) != nil, !opens && (site == "cross-site" || site == "same-site"):
			refuse(w, http.StatusForbidden, "The request comes from another site.")
		case opens:
			s.open(w, r)
		case !s.tokens.known(r, s.cookieName()):
			refuse(w, http.StatusUnauthorized, "This browser has not been let in. Run `skiff dashboard` in a terminal; it opens the page.")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func secure(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer") // the token is in an address
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// refuse answers with one sentence for people.
func refuse(w http.ResponseWriter, status int, why string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, why+"\n")
}

func portOf(host string) string {
	_, port, _ := net.SplitHostPort(host)
	return port
}

// silent drops what net/http logs: a browser that ends a connection is nothing to tell in the user's terminal.
func silent() *log.Logger { return log.New(io.Discard, "", 0) }
