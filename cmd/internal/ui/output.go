package ui

import (
	"io"

	"github.com/skiff-k8s/skiff/fail"
)

// Output writes to To, and remembers when that failed: those who write to it need not look.
type Output struct {
	To  io.Writer
	err error
}

func (o *Output) Write(p []byte) (int, error) {
	n, err := o.To.Write(p)
	if err != nil && o.err == nil {
		o.err = err
	}
	return n, err
}

// Err returns what kept something from being written, as fail.OutputFailed.
func (o *Output) Err() error {
	if o.err == nil {
		return nil
	}
	return fail.New(fail.OutputFailed, "write the output", "%w", o.err)
}
