package publish

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Between attempts to accept a connection, while the process or the host has no descriptors left. It doubles up to the last.
const (
	firstBackoff = 5 * time.Millisecond
	lastBackoff  = time.Second
)

// serve carries every connection of listener to guest until ctx ends, and returns once all have ended.
func (p *Publisher) serve(ctx context.Context, listener net.Listener, guest netip.AddrPort) {
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	var open sync.WaitGroup
	defer open.Wait()
	for {
		conn, err := Accept(ctx, listener, func(err error, retry time.Duration) {
			p.log.Warn("a published port could not accept a connection", "host", listener.Addr(), "err", err, "retry_in", retry)
		})
		if err != nil {
			return
		}
		open.Go(func() { p.carry(ctx, conn, guest) })
	}
}

// Accept returns the next connection of a listener that is sound: where accepting fails, as while there are no descriptors left,
// it tells failed, waits for retry, and tries again. An error means that ctx has ended, or that the listener was closed.
func Accept(ctx context.Context, listener net.Listener, failed func(err error, retry time.Duration)) (net.Conn, error) {
	for backoff := firstBackoff; ; backoff = min(2*backoff, lastBackoff) {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			if err == nil {
				_ = conn.Close()
			}
			return nil, ctx.Err()
		}
		if err == nil || errors.Is(err, net.ErrClosed) {
			return conn, err
		}
		failed(err, backoff)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(backoff):
		}
	}
}

// carry joins one connection with a new one to guest. When the guest does not answer, the client sees a reset, as it would
// of a port where nothing listens, rather than an orderly end without an answer.
func (p *Publisher) carry(ctx context.Context, client net.Conn, guest netip.AddrPort) {
	server, err := p.network.DialContext(ctx, guest)
	if err != nil {
		p.log.Debug("the guest refused a connection", "host", client.LocalAddr(), "guest", guest, "err", err)
		if tcp, ok := client.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = client.Close()
		return
	}
	Join(ctx, client, server)
}

// Join copies both ways until both have ended, or ctx does, and closes both. The end of one direction is passed on as
// such, so that a client may finish sending and still read the answer.
func Join(ctx context.Context, a, b net.Conn) {
	closeBoth := func() {
		_ = a.Close()
		_ = b.Close()
	}
	stop := context.AfterFunc(ctx, closeBoth)
	defer stop()
	defer closeBoth()
	var both sync.WaitGroup
	both.Go(func() { half(a, b) })
	both.Go(func() { half(b, a) })
	both.Wait()
}

// half copies from src to dst and passes the end on. After an error neither direction has a future.
func half(dst, src net.Conn) {
	_, err := io.Copy(dst, src)
	if err == nil {
		if half, ok := dst.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
			return
		}
	}
	_ = dst.Close()
	_ = src.Close()
}
