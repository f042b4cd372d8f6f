// Package ui is everything that skiff says: what happens while a command works (package cluster's events), data, and
// errors. It is the only package that writes to the streams. Data goes to stdout, all else to stderr.
package ui

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"

	"golang.org/x/term"
)

// Streams is where a command reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// IsTerminal reports whether a stream is a terminal.
func IsTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd())) //nolint:gosec // a file descriptor fits into int
}

// Animated reports whether lines on w may be drawn over: it is a terminal, and nothing in the environment asks for plain
// text (https://no-color.org, TERM=dumb, CI).
func Animated(w io.Writer, env func(string) string) bool {
	return IsTerminal(w) && env("NO_COLOR") == "" && env("TERM") != "dumb" && env("CI") == ""
}

// Unread reports whether err is that of writing to stdout or stderr when nobody reads it any more.
func Unread(streams Streams, err error) bool {
	failed, ok := errors.AsType[*fs.PathError](err)
	if !ok || !errors.Is(failed.Err, syscall.EPIPE) {
		return false
	}
	return slices.ContainsFunc([]io.Writer{streams.Out, streams.Err}, func(stream io.Writer) bool {
		file, ok := stream.(*os.File)
		return ok && file.Name() == failed.Path
	})
}

// columns is the width of the terminal w, or a usual one.
func columns(w io.Writer) int {
	if file, ok := w.(*os.File); ok {
		if width, _, err := term.GetSize(int(file.Fd())); err == nil && width > 0 { //nolint:gosec // as above
			return width
		}
	}
	return 80
}
