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
	// An attempt that stays without an answer is not ended, and another is started beside it: a forwarder accepts at once and
	// asks a guest that still boots, and its lost packets are sent again only after a second. The time between them doubles
	// from the first to the last value: a guest that is busy still works on those that came before.
	firstPatience, lastPatience = 400 * time.Millisecond, 5 * time.Second
	// bannerLimit is when an attempt without an answer is given up.
	bannerLimit = 30 * time.Second
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
	conn, err := r.dial.race(ctx, r.target)
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

var (
	// errSilent says that something accepted the connection and said nothing.
	errSilent = errors.New("no answer")
	// errSlow says that an SSH server began to answer and did not go on.
	errSlow = errors.New("it took too long to let us in")
)

// attempt is the outcome of one try.
type attempt struct {
	conn *connection
	err  error
}

// race starts attempts until one gets in. While one is answered, no further one is started.
func (d Dial) race(ctx context.Context, target machine.SSH) (*connection, error) {
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
	last := errSilent
	var quietUntil time.Time
	patience := firstPatience
	for {
		if now := time.Now(); flying == 0 || now.After(quietUntil) {
			flying++
			quietUntil = now.Add(patience)
			patience = min(2*patience, lastPatience)
			go func() {
				conn, err := d.tryOnce(ctx, target, answered)
				outcomes <- attempt{conn, err}
			}()
		}
		select {
		case o := <-outcomes:
			flying--
			if o.err == nil {
				return o.conn, nil
			}
			if !over(ctx) { // else it failed for that
				last = o.err
			}
			if !errors.Is(o.err, errSilent) { // a machine that says no may say yes in a moment
				quietUntil, patience = time.Now(), firstPatience
			}
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

// over reports whether ctx has ended, or its deadline is here and it will not be long.
func over(ctx context.Context) bool {
	end, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(end)
}

// tryOnce connects. It gives up when nothing answers within bannerLimit, or when who answered does not let us in within
// dialLimit.
func (d Dial) tryOnce(ctx context.Context, target machine.SSH, answered chan<- struct{}) (*connection, error) {
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	silent := time.AfterFunc(bannerLimit, func() { giveUp(errSilent) })
	defer silent.Stop()
	return d.login(ctx, target, func() {
		silent.Stop()
		time.AfterFunc(dialLimit, func() { giveUp(errSlow) }) // has no effect once the attempt has ended
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
