package ui

import (
	"fmt"
	"io"
	"time"

	"github.com/skiff-k8s/skiff/cluster"
)

// plain writes one line a step, for logs and dumb terminals.
type plain struct {
	w       io.Writer
	verbose bool
	began   time.Time
	said    string
}

func (r *plain) event(e cluster.Event) {
	switch e.Kind {
	case cluster.Began:
		r.began, r.said = time.Now(), ""
		fmt.Fprintf(r.w, "[%d/%d] %s\n", e.Index, e.Steps, e.Text)
	case cluster.Progress:
		if r.verbose && e.Text != "" && e.Text != r.said {
			r.said = e.Text
			fmt.Fprintf(r.w, "      %s\n", e.Text)
		}
	case cluster.Waiting:
		fmt.Fprintf(r.w, "      waiting: %s\n", e.Text)
	case cluster.Ended:
		if r.verbose {
			fmt.Fprintf(r.w, "      done in %s\n", elapsed(r.began))
		}
	case cluster.Failed: // the error itself is printed once, at the end
	case cluster.Undone:
		fmt.Fprintf(r.w, "Rolled back: %s\n", e.Text)
	case cluster.Info:
		fmt.Fprintln(r.w, e.Text)
	case cluster.Warning:
		fmt.Fprintf(r.w, "Warning: %s\n", e.Text)
	}
}

func (r *plain) close() {}

// quiet writes warnings only.
type quiet struct{ plain }

func (r *quiet) event(e cluster.Event) {
	if e.Kind == cluster.Warning {
		r.plain.event(e)
	}
}

// elapsed is the time since began, as people say it.
func elapsed(began time.Time) string { return Duration(time.Since(began)) }

// Duration is d as people say it: "3.2s" below ten seconds, else "1m12s".
func Duration(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return d.Round(time.Second).String()
}
