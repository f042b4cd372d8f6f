// Command http-echo answers every HTTP request with a JSON description of that request. It stands in for the image
// kennship/http-echo of the tutorial where no registry can be reached: same port, same idea, our own code.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// bodyLimit is the longest body that is echoed, in bytes; the rest is cut off.
const bodyLimit = 1 << 20

// echo is what the program answers. Header names are those of the request, values in the order they came.
type echo struct {
	Method  string              `json:"method"`
	Path    string              `json:"path"`
	Host    string              `json:"host"`
	Headers map[string][]string `json:"headers"`
	Query   map[string][]string `json:"query"`
	Body    string              `json:"body"`
	Pod     string              `json:"pod"` // host name of the container, which is the name of its pod
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "http-echo:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	pod, err := os.Hostname()
	if err != nil {
		return err
	}
	port := os.Getenv("PORT")
	if port == "" {
		port = "3000"
	}
	server := &http.Server{Addr: ":" + port, Handler: handler(pod), ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.ListenAndServe() }()
	fmt.Println("listening on port", port)
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	grace, stop := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer stop()
	if err := server.Shutdown(grace); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return server.Close()
}

// handler answers each request with itself.
func handler(pod string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, bodyLimit))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		// The client may have gone; there is nobody left to tell.
		_ = encoder.Encode(echo{
			Method: r.Method, Path: r.URL.Path, Host: r.Host, Headers: r.Header, Query: r.URL.Query(), Body: string(body), Pod: pod,
		})
		fmt.Println(r.Method, r.URL.RequestURI())
	})
}
