package ssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
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
	File    string // the known_hosts file that has the other key; empty when the key was pinned by us
}

func (e *HostKeyError) Error() string {
	if e.Got == "" {
		return fmt.Sprintf("the SSH server at %s has no host key of the pinned kind (%s)", e.Address, e.Want)
	}
	known := "pinned"
	if e.File != "" {
		known = "one in " + e.File + ","
	}
	return fmt.Sprintf("the SSH server at %s shows host key %s instead of the %s %s", e.Address, e.Got, known, e.Want)
}

// DialError says that the machine's SSH server could not be reached: nothing answered, or what answered went silent.
type DialError struct{ Err error }

func (e *DialError) Error() string { return fmt.Sprintf("connect to SSH server: %v", e.Err) }

// Unwrap returns the cause.
func (e *DialError) Unwrap() error { return e.Err }

// LoginError says that an SSH server with the pinned host key does not let the user in with the key.
type LoginError struct {
	Address string
	User    string
	Err     error
}

func (e *LoginError) Error() string {
	return fmt.Sprintf("log in to SSH server at %s as %s: %v", e.Address, e.User, e.Err)
}

// Unwrap returns the cause.
func (e *LoginError) Unwrap() error { return e.Err }

// Lost reports whether err says that the machine was not to be reached, or no longer: what was done there may have
// ended, or not, and may be tried again.
func Lost(err error) bool {
	var dial *DialError
	return errors.Is(err, ErrConnectionLost) || errors.As(err, &dial)
}

// connection is one SSH connection and the goroutine that watches over it.
type connection struct {
	client *xssh.Client
	gone   chan struct{} // closed when the transport has ended
	close  func()
}

// Dial connects to an address, as net.Dialer.DialContext does.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// direct goes the way that the host knows.
func direct(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{KeepAlive: keepalivePeriod}).DialContext(ctx, network, address)
}

// reach connects to where an SSH server should be. Its error is a *DialError.
func (d Dial) reach(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := d(ctx, "tcp", addr)
	if _, limited := ctx.Deadline(); limited && errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("%w: %w", context.DeadlineExceeded, err) // the socket has the deadline of ctx too, and may be first
	}
	if err != nil {
		return nil, &DialError{err}
	}
	return conn, nil
}

// login connects and logs in until ctx is done. onBanner, when not nil, is called at the server's first byte: from
// then on something answers that speaks SSH.
func (d Dial) login(ctx context.Context, target machine.SSH, onBanner func()) (*connection, error) {
	config, shown, err := clientConfig(target)
	if err != nil {
		return nil, err
	}
	addr := target.Address.String()
	raw, err := d.reach(ctx, addr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer stop()
	conn, channels, requests, err := xssh.NewClientConn(&watchedConn{Conn: raw, onRead: onBanner}, addr, config)
	if err != nil {
		_ = raw.Close()
		return nil, handshakeError(ctx, addr, target, *shown, err)
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

// handshakeError tells the ways apart in which a connection can fail that something has accepted.
func handshakeError(ctx context.Context, addr string, target machine.SSH, shown shown, err error) error {
	var negotiation *xssh.AlgorithmNegotiationError
	var broken net.Error
	switch {
	case shown.wrong != nil:
		return shown.wrong
	case errors.As(err, &negotiation) && negotiation.What == "host key":
		pinned, _, _, _, _ := xssh.ParseAuthorizedKey(target.HostKey)
		return &HostKeyError{Address: addr, Want: xssh.FingerprintSHA256(pinned)}
	case ctx.Err() != nil:
		err = fmt.Errorf("log in to SSH server at %s: %w", addr, context.Cause(ctx))
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errSilent) {
			return &DialError{err}
		}
		return err
	case shown.right && !errors.As(err, &broken) && !errors.Is(err, io.EOF):
		// The server had proved who it is, and the transport was whole: it was the login that failed.
		return &LoginError{Address: addr, User: target.User, Err: err}
	}
	return &DialError{fmt.Errorf("log in to SSH server at %s: %w", addr, err)}
}

// shown is what the server showed of itself.
type shown struct {
	wrong *HostKeyError // it showed another key than the pinned one
	right bool          // it showed the pinned one
}

// clientConfig accepts the pinned host key only. What the server shows is stored in the result's second part.
func clientConfig(target machine.SSH) (*xssh.ClientConfig, *shown, error) {
	signer, err := xssh.ParsePrivateKey(target.PrivateKey)
	if err != nil {
		return nil, nil, fmt.Errorf("read SSH user key: %w", err)
	}
	pinned, _, _, _, err := xssh.ParseAuthorizedKey(target.HostKey)
	if err != nil {
		return nil, nil, fmt.Errorf("read pinned SSH host key: %w", err)
	}
	shown := &shown{}
	check := func(_ string, _ net.Addr, key xssh.PublicKey) error {
		if bytes.Equal(key.Marshal(), pinned.Marshal()) {
			shown.right = true
			return nil
		}
		shown.wrong = &HostKeyError{
			Address: target.Address.String(),
			Want:    xssh.FingerprintSHA256(pinned),
			Got:     xssh.FingerprintSHA256(key),
		}
		return shown.wrong
	}
	return &xssh.ClientConfig{
		User:              target.User,
		Auth:              []xssh.AuthMethod{xssh.PublicKeys(signer)},
		HostKeyCallback:   check,
		HostKeyAlgorithms: hostKeyAlgorithms(pinned.Type()),
	}, shown, nil
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
	session, err := opened(ctx, c.client.NewSession)
	if err != nil {
		return nil, fmt.Errorf("open SSH session: %w", err)
	}
	return session, nil
}

// opened calls open and heeds ctx: what is opened too late is closed.
func opened[T io.Closer](ctx context.Context, open func() (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	outcomes := make(chan outcome, 1)
	go func() {
		value, err := open()
		outcomes <- outcome{value, err}
	}()
	select {
	case o := <-outcomes:
		return o.value, o.err
	case <-ctx.Done():
		go func() {
			if o := <-outcomes; o.err == nil {
				_ = o.value.Close()
			}
		}()
		var none T
		return none, ctx.Err()
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
