package ssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/skiff-k8s/skiff/machine"
)

const (
	// waitTick is how often Wait considers a new attempt.
	waitTick = 50 * time.Millisecond
	// bannerPatience is how long an attempt may stay without an answer before another is started beside it. A forwarder
	// accepts at once and asks a guest that still boots; its lost packets are sent again only after a second.
	bannerPatience = 400 * time.Millisecond
	// bannerLimit is when an attempt without an answer is given up.
	bannerLimit = 4 * time.Second
)

// Wait returns once the machine's SSH server answers and lets us in, and keeps that connection. It tries until ctx is
// done, then returns an error that wraps ctx.Err() and names the last failure. A *HostKeyError is returned at once.
func (r *Runner) Wait(ctx context.Context) error {
	r.mu.Lock()
	switch {
	case r.closed:
		r.mu.Unlock()
		return net.ErrClosed
	case r.conn != nil && !r.conn.dead():
		r.mu.Unlock()
		return nil
	}
	r.mu.Unlock()
	conn, err := race(ctx, r.target)
	if err != nil {
		return fmt.Errorf("wait for SSH at %s: %w", r.target.Address, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		conn.close()
		return net.ErrClosed
	}
	if r.conn != nil && !r.conn.dead() { // a concurrent command was faster
		conn.close()
		return nil
	}
	r.conn = conn
	return nil
}

// errSilent says that something accepted the connection and said nothing.
var errSilent = errors.New("no answer")

// attempt is the outcome of one try.
type attempt struct {
	conn *connection
	err  error
}

// race starts attempts until one gets in. While one is answered, no further one is started.
func race(ctx context.Context, target machine.SSH) (*connection, error) {
	ctx, cancel := context.WithCancel(ctx)
	outcomes := make(chan attempt)
	flying := 0
	defer func() { // the losers end soon, as ctx is cancelled; one may have got in as well
		cancel()
		for ; flying > 0; flying-- {
			if o := <-outcomes; o.conn != nil {
				o.conn.close()
			}
		}
	}()
	answered := make(chan struct{}, 1)
	ticker := time.NewTicker(waitTick)
	defer ticker.Stop()
	last := errors.New("no attempt has ended yet")
	var quietUntil time.Time
	for {
		if now := time.Now(); flying == 0 || now.After(quietUntil) {
			flying++
			quietUntil = now.Add(bannerPatience)
			go func() {
				conn, err := tryOnce(ctx, target, answered)
				outcomes <- attempt{conn, err}
			}()
		}
		select {
		case o := <-outcomes:
			flying--
			if o.err == nil {
				return o.conn, nil
			}
			if ctx.Err() == nil { // else it failed for that
				last = o.err
			}
			quietUntil = time.Now()
			if _, wrong := errors.AsType[*HostKeyError](last); wrong {
				return nil, last
			}
		case <-answered:
			quietUntil = time.Now().Add(dialLimit)
		case <-ticker.C:
			continue
		case <-ctx.Done():
			return nil, fmt.Errorf("%w; last attempt: %w", ctx.Err(), last)
		}
		select { // at most one attempt per tick
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}

// tryOnce connects with a short limit until the server's first byte, and a long one from then on.
func tryOnce(ctx context.Context, target machine.SSH, answered chan<- struct{}) (*connection, error) {
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	ctx, giveUp := context.WithCancelCause(ctx)
	silent := time.AfterFunc(bannerLimit, func() { giveUp(errSilent) })
	defer silent.Stop()
	defer giveUp(nil)
	return dial(ctx, target, func() {
		silent.Stop()
		select {
		case answered <- struct{}{}:
		default:
		}
	})
}

// withStderr adds what the command complained about.
func withStderr(err error) error {
	var failed *machine.RunError
	if !errors.As(err, &failed) || len(bytes.TrimSpace(failed.Stderr)) == 0 {
		return err
	}
	return fmt.Errorf("%w: %s", err, bytes.TrimSpace(failed.Stderr))
}
