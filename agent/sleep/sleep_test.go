package sleep

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const limit = 30 * time.Minute

// bed is a Machine that does as it is told, and notes what was done to it.
type bed struct {
	mu       sync.Mutex
	did      []string
	paused   bool          // by somebody else, so that it does not run
	freezing time.Duration // how long each takes
	thawing  time.Duration
	settling time.Duration
	broken   error // why it cannot be thawed
	clock    error // why its clock cannot be set
}

func (b *bed) note(what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.did = append(b.did, what)
}

// done returns what was done since the last call.
func (b *bed) done() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	did := strings.Join(b.did, " ")
	b.did = nil
	return did
}

func (b *bed) Freeze(ctx context.Context) (bool, error) {
	b.note("freeze")
	paused, _ := b.now()
	return !paused, takes(ctx, b.freezing)
}

func (b *bed) Thaw(ctx context.Context) error {
	b.note("thaw")
	_, broken := b.now()
	return errors.Join(takes(ctx, b.thawing), broken)
}

func (b *bed) now() (paused bool, broken error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.paused, b.broken
}

// repair makes all work from now on.
func (b *bed) repair() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.paused, b.broken, b.clock = false, nil, nil
}

func (b *bed) Settle(ctx context.Context) error {
	b.note("settle")
	err := takes(ctx, b.settling)
	b.note("settled")
	b.mu.Lock()
	defer b.mu.Unlock()
	return errors.Join(err, b.clock)
}

func takes(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sleeper runs a test in a bubble, with a Sleeper that runs.
func sleeper(t *testing.T, b *bed, test func(t *testing.T, s *Sleeper)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s := New(ctx, b, limit, slog.New(slog.DiscardHandler))
		go s.Run(ctx)
		test(t, s)
	})
}

// passes lets time pass, and all that is due in it be done.
func passes(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func want(t *testing.T, s *Sleeper, b *bed, did string, asleep bool) {
	t.Helper()
	synctest.Wait()
	if got := b.done(); got != did || s.Asleep() != asleep {
		t.Errorf("got %q, asleep %v; want %q and %v", got, s.Asleep(), did, asleep)
	}
}

// begins asks something, and returns how long that took.
func begins(t *testing.T, s *Sleeper) (took time.Duration) {
	t.Helper()
	began := time.Now()
	end, err := s.Begin(t.Context())
	if err != nil {
		t.Fatalf("Begin: %v", err)
	}
	end()
	return time.Since(began)
}

func TestFallsAsleepWhenNobodyAsks(t *testing.T) {
	b := &bed{}
	sleeper(t, b, func(t *testing.T, s *Sleeper) {
		passes(limit - time.Second)
		want(t, s, b, "", false)
		begins(t, s)
		passes(limit - time.Second)
		want(t, s, b, "", false)
		s.Touch()
		passes(limit - time.Second)
		want(t, s, b, "", false)
		end := s.Hold()
		passes(10 * limit)
		want(t, s, b, "", false)
		end()
		end() // twice is once
		passes(limit - time.Second)
		want(t, s, b, "", false)
		passes(time.Second)
		want(t, s, b, "freeze", true)
		passes(10 * limit)
		want(t, s, b, "", true)
	})
}

func TestWakesForTheNext(t *testing.T) {
	b := &bed{thawing: time.Second, settling: 2 * time.Second}
	sleeper(t, b, func(t *testing.T, s *Sleeper) {
		passes(limit)
		want(t, s, b, "freeze", true)
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if took := begins(t, s); took != 3*time.Second {
					t.Errorf("Begin took %s, want what waking takes, 3s", took)
				}
			})
		}
		all.Wait()
		want(t, s, b, "thaw settle settled", false)
		if took := begins(t, s); took != 0 {
			t.Errorf("Begin of a machine that is awake took %s", took)
		}
		passes(limit)
		want(t, s, b, "freeze", true)
	})
}

// TestWaitsForTheClockInModeration: clients have less patience than a slow guest needs.
func TestWaitsForTheClockInModeration(t *testing.T) {
	b := &bed{settling: 2 * limit}
	sleeper(t, b, func(t *testing.T, s *Sleeper) {
		passes(limit)
		if took := begins(t, s); took != settleLimit {
			t.Errorf("Begin took %s, want %s", took, settleLimit)
		}
		want(t, s, b, "freeze thaw settle", false)
		passes(2*limit - settleLimit) // it is not frozen before its clock is right
		want(t, s, b, "settled", false)
		passes(limit)
		want(t, s, b, "freeze", true)
	})
}

func TestTellsWhyItDoesNotWake(t *testing.T) {
	b := &bed{broken: errors.New("no bed"), thawing: time.Second}
	sleeper(t, b, func(t *testing.T, s *Sleeper) {
		passes(limit)
		for range 2 { // everyone tries anew
			if _, err := s.Begin(t.Context()); !errors.Is(err, b.broken) {
				t.Errorf("Begin: got %v, want %v", err, b.broken)
			}
		}
		want(t, s, b, "freeze thaw thaw", true)
		if got := s.Trouble(); !errors.Is(got, b.broken) {
			t.Errorf("Trouble: got %v, want %v", got, b.broken)
		}
		b.repair()
		begins(t, s)
		if got := s.Trouble(); got != nil {
			t.Errorf("Trouble after it woke: got %v, want none", got)
		}
		want(t, s, b, "thaw settle settled", false)
		passes(limit) // those who failed hold nothing
		want(t, s, b, "freeze", true)
	})
}

func TestTellsWhyTheClockIsNotSet(t *testing.T) {
	b := &bed{clock: errors.New("no clock")}
	sleeper(t, b, func(t *testing.T, s *Sleeper) {
		passes(limit)
		begins(t, s)
		if got := s.Trouble(); !errors.Is(got, b.clock) {
			t.Errorf("Trouble: got %v, want %v", got, b.clock)
		}
		if err := s.SetLimit(t.Context(), limit); err != nil || s.Trouble() != nil {
			t.Errorf("Trouble after a command has seen to the machine: got %v (%v), want none", s.Trouble(), err)
		}
		passes(limit)
		begins(t, s)
		if got := s.Trouble(); !errors.Is(got, b.clock) {
			t.Errorf("Trouble of the next waking: got %v, want %v", got, b.clock)
		}
		b.repair()
		passes(limit)
		begins(t, s)
		if got := s.Trouble(); got != nil {
			t.Errorf("Trouble with a clock that was set: got %v, want none", got)
		}
	})
}

func TestWhoGivesUpLeavesItToOthers(t *testing.T) {
	b := &bed{thawing: time.Minute}
	sleeper(t, b, func(t *testing.T, s *Sleeper) {
		passes(limit)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Begin(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Begin: got %v, want %v", err, context.DeadlineExceeded)
		}
		begins(t, s)
		want(t, s, b, "freeze thaw settle settled", false)
	})
}

// TestIsNotOthersToWake: a machine that somebody paused is not frozen here, nor woken.
func TestIsNotOthersToWake(t *testing.T) {
	b := &bed{paused: true}
	sleeper(t, b, func(t *testing.T, s *Sleeper) {
		passes(limit)
		want(t, s, b, "freeze", false)
		begins(t, s)
		want(t, s, b, "", false)
		b.repair()
		passes(limit)
		want(t, s, b, "freeze", true)
	})
}

func TestWhoComesAtTheLastMomentWaits(t *testing.T) {
	b := &bed{freezing: 3 * time.Second, thawing: time.Second}
	sleeper(t, b, func(t *testing.T, s *Sleeper) {
		passes(limit + time.Second)
		if took := begins(t, s); took != 3*time.Second {
			t.Errorf("Begin took %s, want 2s until it is frozen and 1s to wake it", took)
		}
		want(t, s, b, "freeze thaw settle settled", false)
	})
}

func TestAwakeWaitsAndWakesNobody(t *testing.T) {
	b := &bed{}
	sleeper(t, b, func(t *testing.T, s *Sleeper) {
		passes(limit)
		woken := make(chan error)
		go func() { woken <- s.Awake(t.Context()) }()
		passes(10 * limit)
		want(t, s, b, "freeze", true)
		begins(t, s)
		if err := <-woken; err != nil {
			t.Errorf("Awake: %v", err)
		}
	})
}

func TestSetLimit(t *testing.T) {
	b := &bed{thawing: time.Second}
	sleeper(t, b, func(t *testing.T, s *Sleeper) {
		set := func(limit time.Duration) {
			t.Helper()
			if err := s.SetLimit(t.Context(), limit); err != nil || s.Limit() != limit {
				t.Errorf("SetLimit: got %s and %v, want %s", s.Limit(), err, limit)
			}
		}
		passes(limit - time.Second)
		set(limit / 2) // counts from now on
		passes(limit/2 - time.Second)
		want(t, s, b, "", false)
		passes(time.Second)
		want(t, s, b, "freeze", true)
		set(2 * limit)
		want(t, s, b, "", true)
		begins(t, s)
		want(t, s, b, "thaw settle settled", false)
		passes(2 * limit)
		want(t, s, b, "freeze", true)
		set(0) // it is let go: it stays as it is, and is not woken
		begins(t, s)
		want(t, s, b, "", false)
		passes(10 * limit)
		want(t, s, b, "", false)
		set(limit)
		passes(limit)
		want(t, s, b, "freeze", true)
		go func() { _, _ = s.Begin(t.Context()) }()
		passes(time.Millisecond)
		set(0) // while it is being woken: that comes first
		want(t, s, b, "thaw settle settled", false)
	})
}

// TestWithoutHands: what cannot be frozen is awake.
func TestWithoutHands(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s := New(ctx, nil, limit, slog.New(slog.DiscardHandler))
		go s.Run(ctx)
		passes(10 * limit)
		if took := begins(t, s); took != 0 || s.Asleep() {
			t.Errorf("Begin took %s, asleep %v; want neither", took, s.Asleep())
		}
	})
}
