package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// untilSignal returns a context that ends at the first Ctrl-C or SIGTERM. The second one ends the process at once, as it
// does by default. stop gives the signals back.
//
// signal.NotifyContext with a stop after the first signal would do the same, but for a second one that comes before that
// stop: it would be lost.
func untilSignal(ctx context.Context) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case first := <-signals:
			cancel(fmt.Errorf("%s signal received", first))
		case <-ctx.Done():
		}
		signal.Stop(signals)
		select {
		case second := <-signals: // came before signals were given back
			if number, ok := second.(syscall.Signal); ok {
				_ = syscall.Kill(os.Getpid(), number)
			}
		default:
		}
	}()
	return ctx, func() { cancel(nil) }
}
