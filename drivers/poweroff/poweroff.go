// Package poweroff asks a guest to power itself off, in every way that there is, until it has. Ending one that does not
// listen is the driver's business.
package poweroff

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/skiff-k8s/skiff/machine"
)

// tick is how often a guest is asked: one that still boots does not hear.
const tick = 3 * time.Second

// Guest is a machine that runs, as its technology can be asked.
type Guest struct {
	// Press presses the machine's power button. An error means that it has none to press, or has ended; machine.ErrUncontrolled that
	// it runs and the button cannot be reached, so that the command alone is left.
	Press func(ctx context.Context) error
	// Ended waits for the machine's end, for as long as limit. The error is that of ctx alone.
	Ended func(ctx context.Context, limit time.Duration) (bool, error)
	// Runner runs a command in the guest, as not every guest listens to the button; and the network may be gone, so that
	// the button is needed too.
	Runner machine.Runner
}

// Ask asks the guest until it has powered off, limit is over, somebody is in a hurry (machine.WithHurry), or it cannot be
// asked. The error is that of ctx alone.
func Ask(ctx context.Context, guest Guest, limit time.Duration) (ended bool, err error) {
	var command sync.WaitGroup
	defer command.Wait()
	asking, cancel := context.WithCancel(ctx)
	defer cancel()
	command.Go(func() { commandPowerOff(asking, guest.Runner) })
	command.Go(func() {
		select {
		case <-machine.Hurry(ctx):
			cancel()
		case <-asking.Done():
		}
	})
	for end := time.Now().Add(limit); time.Now().Before(end) && asking.Err() == nil; {
		if err := guest.Press(asking); err != nil && !errors.Is(err, machine.ErrUncontrolled) {
			return guest.Ended(ctx, 0)
		}
		if ended, err := guest.Ended(asking, min(tick, time.Until(end))); ended || err != nil {
			return ended, ctx.Err()
		}
	}
	return false, ctx.Err()
}

// commandPowerOff tells the guest's service manager, as soon as it can be reached.
func commandPowerOff(ctx context.Context, runner machine.Runner) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		if _, err := runner.Run(ctx, machine.Cmd{Args: []string{"systemctl", "--no-block", "poweroff"}}); err == nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
