package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/skiff-k8s/skiff/agent/network"
)

// maxKubeconfig is how many bytes of kubeconfig are taken.
const maxKubeconfig = 1 << 20

// maxLimit is how many bytes of a time are taken.
const maxLimit = 64

// maxList is how many bytes of a network.Access, which has fewer with every port that there is, and of a list of registries are
// taken.
const maxList = 1 << 19

// api is the agent's side of Client.
type api struct {
	status     func(ctx context.Context) Status
	watch      func(kubeconfig []byte) error
	published  func(ctx context.Context) error
	autoPause  func(ctx context.Context, limit time.Duration) error
	hostAccess func(access network.Access) error
	insecure   func(registries []string)
	wake       func(ctx context.Context) error
	stop       func()

	mu      sync.Mutex
	waiting []net.Conn // those who asked for the end; closing tells them
}

func (a *api) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/ping", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(a.status(r.Context()))
	})
	mux.HandleFunc("PUT /v1/kubernetes", done(func(w http.ResponseWriter, r *http.Request) error {
		kubeconfig, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxKubeconfig))
		if err != nil {
			return err
		}
		return a.watch(kubeconfig)
	}))
	mux.HandleFunc("GET /v1/published", done(func(_ http.ResponseWriter, r *http.Request) error { return a.published(r.Context()) }))
	mux.HandleFunc("PUT /v1/auto-pause", done(func(w http.ResponseWriter, r *http.Request) error {
		var limit time.Duration
		err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxLimit)).Decode(&limit)
		if err == nil && limit < 0 {
			err = fmt.Errorf("%s is less than nothing", limit)
		}
		if err != nil {
			return err
		}
		return a.autoPause(r.Context(), limit)
	}))
	mux.HandleFunc("PUT /v1/host-access", done(func(w http.ResponseWriter, r *http.Request) error {
		var access network.Access
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxList)).Decode(&access); err != nil {
			return err
		}
		return a.hostAccess(access)
	}))
	mux.HandleFunc("PUT /v1/insecure-registries", done(func(w http.ResponseWriter, r *http.Request) error {
		var registries []string
		err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxList)).Decode(&registries)
		if err == nil {
			a.insecure(registries)
		}
		return err
	}))
	mux.HandleFunc("POST /v1/wake", done(func(_ http.ResponseWriter, r *http.Request) error { return a.wake(r.Context()) }))
	mux.HandleFunc("POST /v1/shutdown", a.shutdown)
	return mux
}

// done answers with nothing but the error of do.
func done(do func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := do(w, r); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

// shutdown begins the end and leaves the answer open: the caller reads until the agent has ended.
func (a *api) shutdown(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
	a.mu.Lock()
	a.waiting = append(a.waiting, conn)
	a.mu.Unlock()
	a.stop()
}

// ended tells those who asked for the end that it has come.
func (a *api) ended() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, conn := range a.waiting {
		_ = conn.Close()
	}
}

// listen makes a unix socket that only this user can use, in the place of one that a process has left behind. The caller
// holds the agent's lock, so no other agent is behind it.
func listen(path string) (*net.UnixListener, error) {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = listener.Close()
		return nil, err
	}
	return listener, nil
}
