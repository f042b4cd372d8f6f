package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
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
}

// Names of figures that others are compared with.
const (
	coldStart = "cold start to usable"
	handmade  = "baseline: boot, and kubeadm init by hand"
)

func (b *bench) add(what string, value float64, unit string, budget float64) {
	b.figures = append(b.figures, figure{What: what, Value: value, Unit: unit, Budget: budget})
	fmt.Fprintf(b.progress, "measured: %s: %.1f %s\n", what, value, unit)
}

// addMedian notes the median of times, in seconds.
func (b *bench) addMedian(what string, times []time.Duration, budget float64) {
	slices.Sort(times)
	b.add(what, times[len(times)/2].Seconds(), "s", budget)
}

// compared returns the figures with their shares of the baseline.
func (b *bench) compared() []figure {
	figures := slices.Clone(b.figures)
	i := slices.IndexFunc(figures, func(f figure) bool { return f.What == handmade })
	if i < 0 {
		return figures
	}
	seconds := map[string]float64{"s": 1, "ms": 0.001}
	for j, f := range figures {
		figures[j].OfBaseline = f.Value * seconds[f.Unit] / figures[i].Value
	}
	return figures
}

// print writes the table.
func (b *bench) print(w io.Writer) {
	fmt.Fprintf(w, "\nsteps of the last cold start:\n%s\n", b.phases)
	fmt.Fprintf(w, "times are medians of %d\n\n", b.repeats)
	fmt.Fprintf(w, "%-50s %12s %12s %9s %11s\n", "what", "measured", "budget", "of budget", "of baseline")
	for _, f := range b.compared() {
		budget, share, of := "-", "-", "-"
		if f.Budget > 0 {
			budget, share = fmt.Sprintf("%.0f %s", f.Budget, f.Unit), fmt.Sprintf("%.2f", f.Value/f.Budget)
		}
		if f.OfBaseline > 0 {
			of = fmt.Sprintf("%.4f", f.OfBaseline)
		}
		fmt.Fprintf(w, "%-50s %12s %12s %9s %11s\n", f.What, fmt.Sprintf("%.1f %s", f.Value, f.Unit), budget, share, of)
	}
}

// save writes the figures to a file, unless its name is empty.
func (b *bench) save(file string) error {
	if file == "" {
		return nil
	}
	content, err := json.MarshalIndent(map[string]any{"repeats": b.repeats, "figures": b.compared()}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(content, '\n'), 0o644)
}
