package dashboard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/skiff-k8s/skiff/store"
)

// ErrNone means that no dashboard of the cluster is open.
var ErrNone = errors.New("no dashboard is open")

// Share lets later commands of the same user open this dashboard: Ask on the same socket returns an address of it. The socket
// lies in a folder that only the user can enter. Share returns once the socket is there, and removes it with close; what is in
// its place must be the rest of a dashboard that has ended, which the caller's lock makes sure of.
func (s *Server) Share(ctx context.Context, socket string) (closeSocket func(), err error) {
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("share the dashboard: %w", err)
	}
	server := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          silent(),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			answer(w, http.StatusOK, shared{URL: s.URL()})
		}),
	}
	go func() { _ = server.Serve(listener) }()
	return func() { _ = server.Close() }, nil
}

type shared struct {
	URL string `json:"url"`
}

// askTimeout limits the wait for a dashboard's answer, which takes milliseconds.
const askTimeout = 5 * time.Second

// Ask returns an address of the dashboard that Share has put behind the socket, which lets one browser in. ErrNone means that
// there is none.
func Ask(ctx context.Context, socket string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "unix", socket)
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://dashboard/", http.NoBody)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return "", ErrNone
	}
	if err != nil {
		return "", fmt.Errorf("ask the dashboard that is open: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	var found shared
	if err := json.NewDecoder(response.Body).Decode(&found); err != nil {
		return "", fmt.Errorf("ask the dashboard that is open: %w", err)
	}
	return found.URL, nil
}

// LeadOn writes a page for this user alone that leads on to an address of URL, and returns its path. A browser is started with
// the path: arguments of programs are visible to other users, and the address lets in whoever has it.
func LeadOn(path, url string) error {
	page := fmt.Sprintf(`<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="0; url=%[1]s">`+
		`<title>skiff dashboard</title></head><body><p><a href="%[1]s">skiff dashboard</a></p></body></html>`+"\n", url)
	return store.Write(path, []byte(page), 0o600)
}
