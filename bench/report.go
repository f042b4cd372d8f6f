package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// figure is one line of the table.
type figure struct {
	What   string  `json:"what"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"` // "s", "ms", "MiB", "MB", "MB/s" or "%"
	Budget float64 `json:"budget,omitempty"`
	// OfBaseline is the share of what a cluster by hand takes in the same run; 0 for what is no time.
	OfBaseline float64 `json:"ofBaseline,omitempty"`
	Phases     []phase `json:"phases,omitempty"`
}

// phase is a part of what a figure measures.
type phase struct {
	What    string  `json:"what"`
	Seconds float64 `json:"seconds"`
}

// Names of the figures that are drawn; to the second, others are compared.
const (
	coldStart = "cold start to usable"
	handmade  = "baseline: boot, and kubeadm init by hand"
	fromSpare = "start from a warm spare"
	suspended = "stop, memory kept"
	resumed   = "start, resumed"
	saved     = "snapshot save"
	restored  = "snapshot restore"
	rebooted  = "start, booted again"
)

// report is what was measured so far.
type report struct {
	figures  []figure
	progress io.Writer
}

func (r *report) add(what string, value float64, unit string, budget float64) {
	r.figures = append(r.figures, figure{What: what, Value: value, Unit: unit, Budget: budget})
	_, _ = fmt.Fprintf(r.progress, "measured: %s: %.1f %s\n", what, value, unit)
}

// addTimings notes the median of several times, and of each of their phases.
func (r *report) addTimings(what string, t timings, budget float64) {
	r.add(what, median(t.whole), "s", budget)
	r.figures[len(r.figures)-1].Phases = t.medians()
}

// timings are the times of one thing that was done several times, in seconds.
type timings struct {
	whole  []float64
	phases []string // in their order
	parts  map[string][]float64
}

// spareName is another for each spare; without it they all take the same step.
var spareName = regexp.MustCompile(`\bspare-[0-9a-f]{8} `)

// add takes up another time, and what `skiff -v` told meanwhile: a line for each step that begins, and one that it is done.
func (t *timings) add(took time.Duration, told string) error {
	t.whole = append(t.whole, took.Seconds())
	begun := ""
	for line := range strings.Lines(told) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			_, begun, _ = strings.Cut(line, "] ")
			begun = spareName.ReplaceAllString(begun, "")
		}
		after, done := strings.CutPrefix(line, "done in ")
		if !done || begun == "" {
			continue
		}
		took, err := time.ParseDuration(after)
		if err != nil {
			return fmt.Errorf("read what skiff told: %w", err)
		}
		t.addPhase(begun, took)
	}
	return nil
}

func (t *timings) addPhase(what string, took time.Duration) {
	if !slices.Contains(t.phases, what) {
		t.phases = append(t.phases, what)
	}
	if t.parts == nil {
		t.parts = map[string][]float64{}
	}
	t.parts[what] = append(t.parts[what], took.Seconds())
}

// medians returns the median of each phase.
func (t *timings) medians() []phase {
	var list []phase
	for _, what := range t.phases {
		list = append(list, phase{what, median(t.parts[what])})
	}
	return list
}

// median returns the middle one of values, of an even number the upper of both.
func median(values []float64) float64 {
	return slices.Sorted(slices.Values(values))[len(values)/2]
}

// find returns the figure of that name; nil when it was not measured.
func (r *report) find(what string) *figure {
	i := slices.IndexFunc(r.figures, func(f figure) bool { return f.What == what })
	if i < 0 {
		return nil
	}
	return &r.figures[i]
}

// compared returns the figures with their shares of the baseline.
func (r *report) compared() []figure {
	figures := slices.Clone(r.figures)
	baseline := r.find(handmade)
	if baseline == nil {
		return figures
	}
	for i, f := range figures {
		figures[i].OfBaseline = f.seconds() / baseline.Value
	}
	return figures
}

// seconds is the figure's time; 0 when it is none.
func (f figure) seconds() float64 {
	return f.Value * map[string]float64{"s": 1, "ms": 0.001}[f.Unit]
}

// write writes the table, then the phases of what has several.
func (r *report) write(w io.Writer) {
	_, _ = fmt.Fprintf(w, "\n%-50s %12s %12s %9s %11s\n", "what", "measured", "budget", "of budget", "of baseline")
	for _, f := range r.compared() {
		budget, share, of := "-", "-", "-"
		if f.Budget > 0 {
			budget, share = fmt.Sprintf("%.0f %s", f.Budget, f.Unit), fmt.Sprintf("%.2f", f.Value/f.Budget)
		}
		if f.OfBaseline > 0 {
			of = fmt.Sprintf("%.4f", f.OfBaseline)
		}
		_, _ = fmt.Fprintf(w, "%-50s %12s %12s %9s %11s\n", f.What, fmt.Sprintf("%.1f %s", f.Value, f.Unit), budget, share, of)
	}
	for _, f := range r.figures {
		if len(f.Phases) > 1 {
			_, _ = fmt.Fprintf(w, "\nphases of %s\n", f.What)
			for _, phase := range f.Phases {
				_, _ = fmt.Fprintf(w, "  %-60s %8.1f s\n", phase.What, phase.Seconds)
			}
		}
	}
}

// save writes the figures to bench.json in a folder, and a picture of them to bench.png.
func (r *report) save(folder string) error {
	content, err := json.MarshalIndent(r.compared(), "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "bench.json"), append(content, '\n'), 0o644); err != nil { //nolint:gosec // holds no secret
		return err
	}
	return r.draw(filepath.Join(folder, "bench.png"))
}
