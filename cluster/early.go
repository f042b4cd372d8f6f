package cluster

import (
	"context"
	"sync"
)

// early is a look at the addons of a resumed machine while the rest of it comes to itself. The step of each addon takes its result;
// that one fails is no reason to give up the machine's memory. A nil one has looked at nothing.
type early struct {
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	done   map[string]chan error // by addon
}

func (s *start) enableEarly(ctx context.Context, addons []string) *early {
	ctx, cancel := context.WithCancel(ctx)
	e := &early{cancel: cancel, done: map[string]chan error{}}
	target := s.target(s.config)
	for _, name := range addons {
		done := make(chan error, 1)
		e.done[name] = done
		e.tasks.Go(func() {
			done <- s.Kubernetes.EnableAgain(ctx, target, name, func(string, int64, int64) {})
		})
	}
	return e
}

// of returns where the result for an addon arrives, once; nil when it was not looked at.
func (e *early) of(name string) <-chan error {
	if e == nil {
		return nil
	}
	return e.done[name]
}

// end stops looking.
func (e *early) end() {
	if e != nil {
		e.cancel()
		e.tasks.Wait()
	}
}
