package qemu

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// monitorServer serves QMP on a socket and returns its path.
func monitorServer(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	path := filepath.Join(shortDir(t), "qmp.sock")
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() }) // one that nobody holds is closed by the garbage collector
			serve(conn)
		}
	}()
	return path
}

func TestMonitor(t *testing.T) {
	t.Parallel()
	path := monitorServer(t, func(conn net.Conn) {
		serveQMP(conn, func(command string) any {
			switch command {
			case "query-status":
				return map[string]any{"status": "running"}
			case "qmp_capabilities":
				return map[string]any{}
			}
			return errors.New("The command " + command + " has not been found")
		})
	})
	for range 2 { // a connection that was closed makes room for the next
		qemu, err := connect(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if got, err := qemu.status(t.Context()); got != "running" || err != nil {
				t.Errorf("got status %q (%v), want running", got, err)
			}
		}
		var refused *monitorError
		if err := qemu.execute(t.Context(), "fly", nil); !errors.As(err, &refused) || !strings.Contains(refused.Desc, "fly has not been found") {
			t.Errorf("got error %v, want QEMU's", err)
		}
		qemu.close()
	}
}

func TestMonitorWithoutAnswer(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		serve func(net.Conn)
		want  error // nil: any
	}{
		"silent":       {func(net.Conn) {}, context.DeadlineExceeded},
		"closes":       {func(conn net.Conn) { _ = conn.Close() }, nil},
		"not QEMU":     {func(conn net.Conn) { _, _ = conn.Write([]byte("220 mail.example ESMTP\r\n")) }, nil},
		"no greeting":  {func(conn net.Conn) { _, _ = conn.Write([]byte("{\"return\": {}}\n")) }, nil},
		"half an idea": {func(conn net.Conn) { _, _ = conn.Write([]byte(`{"QMP": {`)) }, context.DeadlineExceeded},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := monitorServer(t, test.serve)
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if qemu, err := connect(ctx, path); err == nil || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("got %v and error %v, want error %v", qemu, err, test.want)
			}
		})
	}
}
