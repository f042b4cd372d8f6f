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

// Why nobody waits any longer for what a guest was to do.
var (
	errEnded  = errors.New("its machine has ended")
	errCutOff = errors.New("its agent has ended")
)

func isEnd(err error) bool { return errors.Is(err, errEnded) || errors.Is(err, errCutOff) }

// whileRuns does what waits for the cluster's guest, and gives errEnded when its machine ends meanwhile, and errCutOff when
// its agent does: then no answer comes, and the limits of waiting are those of slow hosts. A machine that exists already is
// not asked, as that takes a connection each time.
func (s *start) whileRuns(ctx context.Context, do func(context.Context) error) error {
	running, end := context.WithCancelCause(ctx)
	defer end(nil)
	go func() {
		ticker := time.NewTicker(runsTick)
		defer ticker.Stop()
		for last := error(nil); ; { // one look may meet what is just being found out about
			select {
			case <-running.Done():
				return
			case <-ticker.C:
			}
			now := s.ending(running)
			if now != nil && now == last { //nolint:errorlint // the very same is meant
				end(now)
				return
			}
			last = now
		}
	}()
	err := do(running)
	if cause := context.Cause(running); err != nil && ctx.Err() == nil && isEnd(cause) {
		return cause
	}
	return err
}

// ending looks once at the machine and the agent.
func (s *start) ending(ctx context.Context) error {
	if s.Agents.Gone(ctx, s.files.AgentSocket()) {
		return errCutOff
	}
	if s.config.SSH != nil {
		return nil
	}
	state, err := s.vm.State(ctx)
	if err == nil && (state == machine.Stopped || state == machine.Absent) {
		return errEnded
	}
	return nil
}

// ended gives an error of whileRuns its ID; any other stays as it is.
func (s *start) ended(err error) error {
	if !isEnd(err) {
		return err
	}
	id := fail.MachineFailed
	if errors.Is(err, errCutOff) {
		id = fail.AgentFailed
	}
	return fail.New(id, "start cluster "+s.config.Profile, "%w", err)
}
