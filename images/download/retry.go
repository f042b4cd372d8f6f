package download

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"
)

const (
	tries       = 4                // without a step forward, until a source is given up
	step        = 64 << 10         // bytes that count as a step forward
	longestWait = 30 * time.Second // between tries
	// longestAsked is how long a source may ask to wait for; another source, or the user, should not wait longer.
	longestAsked = 2 * time.Minute
)

var errStalled = errors.New("sent nothing for half a minute")

// retry attempts until that succeeds, or fails for a reason that another try does not change, or has failed several times without
// coming further. position is how far it is, in bytes. It fails with a *problem where the source is to blame, and else with the
// attempt's own error.
func (r *run) retry(ctx context.Context, position func() int64, attempt func(context.Context, *time.Timer) error) error {
	best, failed := position(), 0
	for {
		err := r.watched(ctx, attempt)
		asked, ofSource := errors.AsType[*askedError](err)
		if !ofSource {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		problem := explain(asked)
		// The furthest position counts: a source that begins again each time comes no further.
		if at := position(); at >= best+step {
			best, failed = at, 0
		}
		failed++
		if !problem.again || failed == tries || problem.after > longestAsked {
			return problem
		}
		if err := r.clock.pause(ctx, max(problem.after, backoff(failed))); err != nil {
			return err
		}
	}
}

// watched ends the attempt when watch expires. It runs from the beginning, and the attempt resets and stops it.
func (r *run) watched(ctx context.Context, attempt func(context.Context, *time.Timer) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(r.clock.stall, func() { cancel(errStalled) })
	defer watch.Stop()
	err := attempt(ctx, watch)
	if asked, ofSource := errors.AsType[*askedError](err); ofSource && errors.Is(context.Cause(ctx), errStalled) {
		asked.err = errStalled
	}
	return err
}

// backoff is how long to wait after that many failures in a row.
func backoff(failed int) time.Duration { return min(time.Second<<(failed-1), longestWait) }

// retryAfter reads how long a source asks to wait (RFC 9110, 10.2.3): seconds, or a date. 0 when it does not say.
func retryAfter(header http.Header, now time.Time) time.Duration {
	text := header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(text); err == nil {
		return max(0, date.Sub(now))
	}
	return 0
}
