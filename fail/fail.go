// Package fail has skiff's one error type for people: what failed, why, what to do next, under a stable ID that fixes the
// exit code. The layer that knows the remedy makes it; nobody recognises an error by its text.
package fail

import (
	"errors"
	"fmt"
)

// Error is a failure as a user should meet it.
type Error struct {
	ID     ID
	Op     string // what failed, as a phrase: "start cluster dev: run kubeadm"
	Err    error  // why; may be nil
	Hint   string // what to do about it, one sentence; empty: the advice of the table
	Next   string // the one command to run next; may be empty
	Output string // last lines of what a command printed; may be empty

	Flag    string // long name of the flag whose value is to blame; may be empty
	Again   bool   // the same command works once Flag is Instead, or is left out when that is empty
	Instead string
}

func (e *Error) Error() string {
	switch {
	case e.Err == nil:
		return e.Op
	case e.Op == "":
		return e.Err.Error()
	}
	return fmt.Sprintf("%s: %v", e.Op, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// New returns an Error with the cause built by fmt.Errorf from format and args, so that %w wraps.
func New(id ID, op, format string, args ...any) *Error {
	return &Error{ID: id, Op: op, Err: fmt.Errorf(format, args...)}
}

// WithNext sets the command to run next and returns e.
func (e *Error) WithNext(format string, args ...any) *Error {
	e.Next = fmt.Sprintf(format, args...)
	return e
}

// WithHint sets the advice and returns e.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// WithOutput sets what the failed command printed last and returns e.
func (e *Error) WithOutput(output string) *Error {
	e.Output = output
	return e
}

// About says that the value of a flag, by its long name, is to blame, wherever that value comes from, and returns e.
func (e *Error) About(flag string) *Error {
	e.Flag = flag
	return e
}

// Retry says that the same command works once the flag has the value instead, or is left out when that is empty, and returns e.
func (e *Error) Retry(flag, instead string) *Error {
	e.Flag, e.Again, e.Instead = flag, true, instead
	return e
}

// About is Error.About for an error that may be or wrap one, and may be nil.
func About(err error, flag string) error {
	if known, ok := errors.AsType[*Error](err); ok && known.Flag == "" {
		known.Flag = flag
	}
	return err
}

// Is reports whether err, or an error that it wraps, has the given ID.
func Is(err error, id ID) bool {
	var e *Error
	return errors.As(err, &e) && e.ID == id
}

// Known reports whether err, or an error that it wraps, has an ID already.
func Known(err error) bool {
	var e *Error
	return errors.As(err, &e)
}
