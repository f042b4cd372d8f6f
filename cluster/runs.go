package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
)

// runsTick is how often a machine is asked whether it still runs while one waits for its guest.
const runsTick = 500 * time.Millisecond

// errEnded is why nobody waits any longer for what a guest was to do.
var errEnded = errors.New("its machine has ended")

// whileRuns does what waits for the guest of a machine, and gives errEnded when the machine ends meanwhile: from a guest that is
// gone no answer comes, and the limits of waiting are those of slow hosts.
func whileRuns(ctx context.Context, vm machine.Machine, do func(context.Context) error) error {
	running, end := context.WithCancelCause(ctx)
	defer end(nil)
	go func() {
		ticker := time.NewTicker(runsTick)
		defer ticker.Stop()
		for seen := 0; ; { // one look may meet a process that is just being found out about
			select {
			case <-running.Done():
				return
			case <-ticker.C:
			}
			state, err := vm.State(running)
			if err != nil || state != machine.Stopped && state != machine.Absent {
				seen = 0
				continue
			}
			if seen++; seen == 2 {
				end(errEnded)
				return
			}
		}
	}()
	err := do(running)
	if err != nil && ctx.Err() == nil && errors.Is(context.Cause(running), errEnded) {
		return errEnded
	}
	return err
}

// whileRuns is that for the cluster's machine. One that exists already is not asked: that takes a connection each time.
func (s *start) whileRuns(ctx context.Context, do func(context.Context) error) error {
	if s.config.SSH != nil {
		return do(ctx)
	}
	return whileRuns(ctx, s.vm, do)
}

// ended gives an error that says that the machine has ended its ID; any other stays as it is.
func (s *start) ended(err error) error {
	if !errors.Is(err, errEnded) {
		return err
	}
	return fail.New(fail.MachineFailed, "start cluster "+s.config.Profile, "%w", err).WithNext("skiff start -p %s", s.config.Profile)
}
