package cluster

import (
	"context"

	"github.com/skiff-k8s/skiff/machine"
)

// waiter is a machine that can wait for its guest to answer better than by running a command.
type waiter interface {
	Wait(ctx context.Context) error
}

// reach returns once commands run on the machine, or with the reason why not when ctx ends.
func reach(ctx context.Context, vm machine.Machine) error {
	if w, ok := vm.(waiter); ok {
		return w.Wait(ctx)
	}
	_, err := vm.Run(ctx, machine.Cmd{Args: []string{"true"}})
	return err
}
