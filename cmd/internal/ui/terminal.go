package ui

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/skiff-k8s/skiff/cluster"
)

// Colours of a terminal (ECMA-48, "SGR").
const (
	green  = "\x1b[32m"
	red    = "\x1b[31m"
	yellow = "\x1b[33m"
	plainC = "\x1b[0m"
)

// terminal draws the step that runs, with its place and the time it has taken, and leaves one line for each that ended.
type terminal struct {
	w     io.Writer
	step  string // the step that runs; empty: none
	at    string // what it is at
	bar   *progressbar.ProgressBar
	total int64 // what the bar counts; 0: it is a spinner
	began time.Time
}

func (r *terminal) event(e cluster.Event) {
	switch e.Kind {
	case cluster.Began:
		r.began, r.step, r.at = time.Now(), fmt.Sprintf("[%d/%d] %s", e.Index, e.Steps, e.Text), ""
		r.draw(0)
	case cluster.Progress:
		r.progress(e)
	case cluster.Waiting:
		r.between(func() { fmt.Fprintln(r.w, "  waiting: "+e.Text) })
	case cluster.Ended:
		r.end(green, "✓")
	case cluster.Failed:
		r.end(red, "✗")
	case cluster.Undone:
		r.line(yellow, "↩", "Rolled back: "+e.Text)
	case cluster.Info:
		r.between(func() { fmt.Fprintln(r.w, e.Text) })
	case cluster.Warning:
		r.between(func() { r.line(yellow, "!", e.Text) })
	}
}

func (r *terminal) progress(e cluster.Event) {
	r.at = e.Text
	if e.Total != r.total || r.bar == nil {
		r.draw(e.Total)
	} else {
		r.bar.Describe(r.label())
	}
	if e.Total > 0 {
		_ = r.bar.Set64(min(e.Done, e.Total-1)) // a full bar would end; the event that the step ended does that
	}
}

// end leaves the line of a step that ended.
func (r *terminal) end(colour, mark string) {
	r.line(colour, mark, fmt.Sprintf("%s (%s)", r.step, elapsed(r.began)))
	r.step = ""
}

// between writes lines above the drawing, and draws it anew.
func (r *terminal) between(write func()) {
	total := r.total
	r.close()
	write()
	if r.step != "" {
		r.draw(total)
	}
}

// label names the step that runs and what it is at, on one line: what cannot be overwritten would scroll.
func (r *terminal) label() string {
	text := r.step
	if r.at != "" {
		text += ": " + r.at
	}
	room := max(columns(r.w)-20, 20)
	if r.total > 0 {
		room = max(room-50, 20)
	}
	runes := []rune(text)
	if len(runes) <= room {
		return text
	}
	return string(runes[:room-1]) + "…"
}

// draw begins a new drawing: a bar of total bytes with their rate and the time left, or a spinner for 0.
func (r *terminal) draw(total int64) {
	r.close()
	r.total = total
	length := total
	if length == 0 {
		length = -1
	}
	r.bar = progressbar.NewOptions64(length,
		progressbar.OptionSetWriter(r.w),
		progressbar.OptionSetDescription(r.label()),
		progressbar.OptionSetElapsedTime(true),
		progressbar.OptionSetPredictTime(total > 0),
		progressbar.OptionSetWidth(20),
		progressbar.OptionShowBytes(total > 0),
		progressbar.OptionSpinnerType(14),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionUseANSICodes(true),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetRenderBlankState(true),
	)
}

func (r *terminal) line(colour, mark, text string) {
	r.close()
	fmt.Fprintf(r.w, "%s%s%s %s\n", colour, mark, plainC, text)
}

func (r *terminal) close() {
	if r.bar != nil {
		_ = r.bar.Finish()
		r.bar, r.total = nil, 0
	}
}
