package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// untilSignal returns a context that ends at the first Ctrl-C or SIGTERM, or when the terminal is closed (SIGHUP). A second
// Ctrl-C or SIGTERM ends the process at once, as it does by default, unless somebody listens to hurry: then that one is told,
// and the next ends the process. stop gives the signals back.
//
// SIGHUP never does that: of a terminal that is closed, both the kernel and the shell tell with one, and there is nobody left
// who could be impatient. Who ignores it, as nohup does, goes on to.
func untilSignal(ctx context.Context, hurry *rush) (_ context.Context, stop func()) {
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
				if told := hurry.tell(); second && !told {
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

// rush tells who listens that the user is in a hurry. The zero value is ready, and safe for concurrent use.
type rush struct {
	mu    sync.Mutex
	asked chan struct{} // nil: nobody listens
}

// listen returns a channel that is closed when the user is in a hurry.
func (r *rush) listen() (asked <-chan struct{}, release func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = make(chan struct{})
	return r.asked, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.asked = nil
	}
}

// tell reports whether anybody listened who had not been told yet.
func (r *rush) tell() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked == nil {
		return false
	}
	close(r.asked)
	r.asked = nil
	return true
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
