package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// untilSignal returns a context that ends at the first Ctrl-C or SIGTERM, or when the terminal is closed (SIGHUP). A second
// Ctrl-C or SIGTERM ends the process at once, as it does by default. stop gives the signals back.
//
// SIGHUP never does that: of a terminal that is closed, both the kernel and the shell tell with one, and there is nobody left
// who could be impatient. Who ignores it, as nohup does, goes on to.
func untilSignal(ctx context.Context) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals, hangups := make(chan os.Signal, 2), make(chan os.Signal, 1)
	unheard := signal.Ignored(os.Interrupt) // as in a background job of a shell without job control
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(hangups, syscall.SIGHUP)
	}
	ended := make(chan struct{})
	go func() {
		for second := false; ; {
			var one os.Signal
			select {
			case <-ended:
				return
			case one = <-hangups:
			case one = <-signals:
				if second {
					signal.Stop(signals)
					endBy(one, unheard)
				}
				second = true
			}
			cancel(fmt.Errorf("%s signal received", one))
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		signal.Stop(hangups)
		close(ended)
		cancel(nil)
	}
}

// endBy ends the process as the signal does by default, also where Ctrl-C was ignored when the process began: it has been
// listened to once, so it is not to be ignored now.
func endBy(one os.Signal, unheard bool) {
	number, ok := one.(syscall.Signal)
	if !ok || number == syscall.SIGINT && unheard {
		number = syscall.SIGKILL
	}
	_ = syscall.Kill(os.Getpid(), number)
}

// outlivePipes keeps the process alive when nobody reads what it writes to stdout or stderr any more: writing then fails, as
// it does with all other files.
func outlivePipes() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // and not Ignore, which the programs that skiff runs would inherit
}
