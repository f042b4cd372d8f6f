package dashboard

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"sync"
	"time"
)

const (
	openPath       = "/open"
	tokenParameter = "token"
	tokenLife      = 10 * time.Minute
)

// tokens are the ways into the page: tokens that are good once, and the cookie that one is exchanged for.
type tokens struct {
	now    func() time.Time
	cookie string

	mu   sync.Mutex
	good map[[sha256.Size]byte]time.Time // digests of tokens, and when each ends
}

func newTokens(now func() time.Time) *tokens {
	return &tokens{now: now, cookie: rand.Text(), good: map[[sha256.Size]byte]time.Time{}}
}

// mint makes a token that is good once, for ten minutes.
func (t *tokens) mint() string {
	token := rand.Text() // 128 bits at least
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	for digest, end := range t.good {
		if now.After(end) {
			delete(t.good, digest)
		}
	}
	t.good[sha256.Sum256([]byte(token))] = now.Add(tokenLife)
	return token
}

// spend reports whether a token is good, which it then is no longer. Digests are compared, so the time that it takes says
// nothing about a token.
func (t *tokens) spend(token string) bool {
	given := sha256.Sum256([]byte(token))
	t.mu.Lock()
	defer t.mu.Unlock()
	for digest, end := range t.good {
		if subtle.ConstantTimeCompare(digest[:], given[:]) == 1 {
			delete(t.good, digest)
			return !t.now().After(end)
		}
	}
	return false
}

// known reports whether a request has the cookie.
func (t *tokens) known(r *http.Request, name string) bool {
	for _, cookie := range r.CookiesNamed(name) {
		if subtle.ConstantTimeCompare([]byte(cookie.Value), []byte(t.cookie)) == 1 {
			return true
		}
	}
	return false
}

// open exchanges a token for the cookie. It answers with a page that leads on, and not with a redirect: a browser does not
// send a SameSite=Strict cookie along a redirect that began on another site, and a link in a chat or a mail is one.
func (s *Server) open(w http.ResponseWriter, r *http.Request) {
	if !s.tokens.spend(r.FormValue(tokenParameter)) {
		refuse(w, http.StatusForbidden, "This address was used already, or it is too old. Run `skiff dashboard` again; the page that is open stays so.")
		return
	}
	http.SetCookie(w, &http.Cookie{
		Name: s.cookieName(), Value: s.tokens.cookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode,
	})
	w.Header().Set("Refresh", "0; url=/")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("The dashboard opens.\n"))
}

// cookieName differs from port to port: the dashboards of two clusters share a host name, and so their cookies.
func (s *Server) cookieName() string { return "skiff-" + portOf(s.host) }
