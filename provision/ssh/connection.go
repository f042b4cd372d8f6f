package ssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	xssh "golang.org/x/crypto/ssh"

	"github.com/skiff-k8s/skiff/machine"
)

// HostKeyError says that the machine showed another host key than the pinned one, or none of its kind. It is final:
// trying again does not help, and nothing was sent to the machine.
type HostKeyError struct {
	Address string
	Want    string // SHA-256 fingerprint of the pinned key
	Got     string // SHA-256 fingerprint of the key shown; empty when none of the pinned kind was
}

func (e *HostKeyError) Error() string {
	if e.Got == "" {
		return fmt.Sprintf("the SSH server at %s has no host key of the pinned kind (%s)", e.Address, e.Want)
	}
	return fmt.Sprintf("the SSH server at %s shows host key %s instead of the pinned %s", e.Address, e.Got, e.Want)
}

// connection is one SSH connection and the goroutine that watches over it.
type connection struct {
	client *xssh.Client
	gone   chan struct{} // closed when the transport has ended
	close  func()
}

// dial connects and logs in until ctx is done. onBanner, when not nil, is called at the server's first byte: from
// then on something answers that speaks SSH.
func dial(ctx context.Context, target machine.SSH, onBanner func()) (*connection, error) {
	config, mismatch, err := clientConfig(target)
	if err != nil {
		return nil, err
	}
	addr := target.Address.String()
	raw, err := (&net.Dialer{KeepAlive: keepalivePeriod}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("connect to SSH server: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer stop()
	conn, channels, requests, err := xssh.NewClientConn(&watchedConn{Conn: raw, onRead: onBanner}, addr, config)
	if err != nil {
		_ = raw.Close()
		return nil, dialError(ctx, addr, target, *mismatch, err)
	}
	if !stop() { // ctx ended at the last moment and closed the transport
		_ = conn.Close()
		return nil, fmt.Errorf("connect to SSH server at %s: %w", addr, ctx.Err())
	}
	c := &connection{client: xssh.NewClient(conn, channels, requests), gone: make(chan struct{})}
	c.close = sync.OnceFunc(func() { _ = c.client.Close() })
	go func() {
		_ = c.client.Wait()
		close(c.gone)
	}()
	go c.keepalive()
	return c, nil
}

func dialError(ctx context.Context, addr string, target machine.SSH, mismatch *HostKeyError, err error) error {
	var negotiation *xssh.AlgorithmNegotiationError
	switch {
	case mismatch != nil:
		return mismatch
	case errors.As(err, &negotiation) && negotiation.What == "host key":
		pinned, _, _, _, _ := xssh.ParseAuthorizedKey(target.HostKey)
		return &HostKeyError{Address: addr, Want: xssh.FingerprintSHA256(pinned)}
	case ctx.Err() != nil:
		return fmt.Errorf("log in to SSH server at %s: %w", addr, context.Cause(ctx))
	}
	return fmt.Errorf("log in to SSH server at %s: %w", addr, err)
}

// clientConfig accepts the pinned host key only. What it showed instead, if anything, is stored in mismatch.
func clientConfig(target machine.SSH) (config *xssh.ClientConfig, mismatch **HostKeyError, err error) {
	signer, err := xssh.ParsePrivateKey(target.PrivateKey)
	if err != nil {
		return nil, nil, fmt.Errorf("read SSH user key: %w", err)
	}
	pinned, _, _, _, err := xssh.ParseAuthorizedKey(target.HostKey)
	if err != nil {
		return nil, nil, fmt.Errorf("read pinned SSH host key: %w", err)
	}
	mismatch = new(*HostKeyError)
	check := func(_ string, _ net.Addr, key xssh.PublicKey) error {
		if bytes.Equal(key.Marshal(), pinned.Marshal()) {
			return nil
		}
		*mismatch = &HostKeyError{
			Address: target.Address.String(),
			Want:    xssh.FingerprintSHA256(pinned),
			Got:     xssh.FingerprintSHA256(key),
		}
		return *mismatch
	}
	return &xssh.ClientConfig{
		User:              target.User,
		Auth:              []xssh.AuthMethod{xssh.PublicKeys(signer)},
		HostKeyCallback:   check,
		HostKeyAlgorithms: hostKeyAlgorithms(pinned.Type()),
	}, mismatch, nil
}

// hostKeyAlgorithms asks the server for the key of the pinned kind, so that another key of it is no false alarm.
func hostKeyAlgorithms(kind string) []string {
	if kind == xssh.KeyAlgoRSA {
		return []string{xssh.KeyAlgoRSASHA512, xssh.KeyAlgoRSASHA256} // never SHA-1
	}
	return []string{kind}
}

// keepalive ends a connection whose other side no longer answers, such as after the machine was paused and forgotten.
func (c *connection) keepalive() {
	ticker := time.NewTicker(keepalivePeriod)
	defer ticker.Stop()
	for {
		select {
		case <-c.gone:
			return
		case <-ticker.C:
		}
		timer := time.AfterFunc(keepalivePeriod, c.close)
		_, _, err := c.client.SendRequest("keepalive@openssh.com", true, nil)
		timer.Stop()
		if err != nil {
			c.close()
			return
		}
	}
}

// newSession is xssh.Client.NewSession that heeds ctx.
func (c *connection) newSession(ctx context.Context) (*xssh.Session, error) {
	type outcome struct {
		session *xssh.Session
		err     error
	}
	opened := make(chan outcome, 1)
	go func() {
		session, err := c.client.NewSession()
		opened <- outcome{session, err}
	}()
	select {
	case o := <-opened:
		if o.err != nil {
			return nil, fmt.Errorf("open SSH session: %w", o.err)
		}
		return o.session, nil
	case <-ctx.Done():
		go func() {
			if o := <-opened; o.err == nil {
				_ = o.session.Close()
			}
		}()
		return nil, fmt.Errorf("open SSH session: %w", ctx.Err())
	}
}

func (c *connection) dead() bool {
	select {
	case <-c.gone:
		return true
	default:
		return false
	}
}

// lost says whether err means that the connection has ended, rather than that the server refused something.
func (c *connection) lost(err error) bool {
	var refused *xssh.OpenChannelError
	return err != nil && !errors.As(err, &refused)
}

// watchedConn tells when the first byte was read.
type watchedConn struct {
	net.Conn
	once   sync.Once
	onRead func()
}

func (w *watchedConn) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if n > 0 && w.onRead != nil {
		w.once.Do(w.onRead)
	}
	return n, err
}
