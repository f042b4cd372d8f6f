package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"golang.org/x/sync/errgroup"
)

// serveHTTP answers on listener until ctx ends. Requests that are under way then are cut off: those of the mirror may
// take minutes, and whoever asks for an image asks again.
func serveHTTP(ctx context.Context, group *errgroup.Group, name string, handler http.Handler, listener net.Listener) {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	group.Go(func() error {
		stop := context.AfterFunc(ctx, func() { _ = server.Close() })
		defer stop()
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve the %s: %w", name, err)
		}
		return nil
	})
}
