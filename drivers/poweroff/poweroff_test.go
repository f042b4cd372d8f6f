package poweroff_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skiff-k8s/skiff/drivers/poweroff"
	"github.com/skiff-k8s/skiff/machine"
)

// guest is one that is only played.
type guest struct {
	listens  int64 // it ends when the button was pressed so often; 0: never
	reached  time.Duration
	end      bool // a command ends it
	pressed  atomic.Int64
	ended    atomic.Bool
	began    time.Time
	noButton bool
	lost     bool // the button cannot be reached
}

func (g *guest) press(context.Context) error {
	if g.noButton {
		return errors.New("no button")
	}
	if g.lost {
		return fmt.Errorf("press it: %w", machine.ErrUncontrolled)
	}
	if g.pressed.Add(1) == g.listens {
		g.ended.Store(true)
	}
	return nil
}

func (g *guest) wait(ctx context.Context, limit time.Duration) (bool, error) {
	for end := time.Now().Add(limit); !g.ended.Load() && time.Now().Before(end); {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	return g.ended.Load(), nil
}

func (g *guest) Run(_ context.Context, cmd machine.Cmd) (machine.Result, error) {
	if g.reached == 0 || time.Since(g.began) < g.reached {
		return machine.Result{}, errors.New("connection refused")
	}
	if cmd.String() == "systemctl --no-block poweroff" && g.end {
		g.ended.Store(true)
	}
	return machine.Result{}, nil
}

func (g *guest) Put(context.Context, string, fs.FileMode, io.Reader) error {
	return errors.ErrUnsupported
}

func TestAsk(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		guest *guest
		ended bool
		most  time.Duration // that it takes
	}{
		"listens to the button":         {&guest{listens: 1}, true, time.Second},
		"still boots":                   {&guest{listens: 4}, true, 10 * time.Second},
		"obeys a command":               {&guest{reached: 5 * time.Second, end: true}, true, 10 * time.Second},
		"listens to nothing":            {&guest{}, false, time.Minute},
		"has no button":                 {&guest{noButton: true}, false, time.Second},
		"has lost its button and obeys": {&guest{lost: true, reached: 5 * time.Second, end: true}, true, 10 * time.Second},
		"has lost its button":           {&guest{lost: true}, false, time.Minute},
		"had ended before the button":   {&guest{noButton: true, end: true, reached: 1}, true, time.Second},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := test.guest
				g.began = time.Now()
				if name == "had ended before the button" {
					g.ended.Store(true)
				}
				ended, err := poweroff.Ask(t.Context(), poweroff.Guest{Press: g.press, Ended: g.wait, Runner: g}, time.Minute)
				if took := time.Since(g.began); ended != test.ended || err != nil || took > test.most {
					t.Errorf("got %t and error %v after %s, want %t within %s", ended, err, took, test.ended, test.most)
				}
			})
		})
	}
}

// TestAskHurried: the guest that does not listen must not keep anybody who is in a hurry, and no error either.
func TestAskHurried(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hurry := make(chan struct{})
		began := time.Now()
		time.AfterFunc(10*time.Second, func() { close(hurry) })
		g := &guest{}
		ended, err := poweroff.Ask(machine.WithHurry(t.Context(), hurry), poweroff.Guest{Press: g.press, Ended: g.wait, Runner: g}, time.Minute)
		if took := time.Since(began); ended || err != nil || took != 10*time.Second {
			t.Errorf("got %t and error %v after %s, want false after 10s", ended, err, took)
		}
	})
}

func TestAskCancelled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		g := &guest{}
		ended, err := poweroff.Ask(ctx, poweroff.Guest{Press: g.press, Ended: g.wait, Runner: g}, time.Minute)
		if ended || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %t and error %v, want %v", ended, err, context.DeadlineExceeded)
		}
	})
}
