package main

import (
	"fmt"
	"image/color"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
)

// drawn are the figures of the picture, from the top: the baseline, and what one waits for.
func drawn() []string {
	return []string{handmade, coldStart, fromSpare, resumed, restored, suspended, saved}
}

// draw writes a picture of what one waits for, as horizontal bars of seconds, to a PNG file.
func (r *report) draw(file string) error {
	p := plot.New()
	p.Title.Text = "Seconds until a cluster is usable, or kept"
	p.Title.Padding = vg.Points(8)

	var names []string
	var values, baseline plotter.Values // both have all bars; those of the other are empty
	var ends plotter.XYLabels
	for _, what := range slices.Backward(drawn()) { // the first bar of a chart is the lowest
		f := r.find(what)
		if f == nil {
			continue
		}
		ends.XYs = append(ends.XYs, plotter.XY{X: f.Value, Y: float64(len(names))})
		ends.Labels = append(ends.Labels, fmt.Sprintf("%.1f", f.Value))
		ours, byHand := f.Value, 0.0
		if what == handmade {
			ours, byHand = byHand, ours
		}
		names, values, baseline = append(names, what), append(values, ours), append(baseline, byHand)
	}
	for _, bars := range []struct {
		values plotter.Values
		color  color.Color
	}{{values, color.RGBA{R: 0x1f, G: 0x6f, B: 0xb2, A: 0xff}}, {baseline, color.Gray{Y: 0xa0}}} {
		chart, err := plotter.NewBarChart(bars.values, vg.Points(18))
		if err != nil {
			return fmt.Errorf("draw the figures: %w", err)
		}
		chart.Horizontal, chart.Color, chart.LineStyle.Width = true, bars.color, 0
		p.Add(chart)
	}
	labels, err := plotter.NewLabels(ends)
	if err != nil {
		return fmt.Errorf("draw the figures: %w", err)
	}
	labels.Offset.X = vg.Points(4)
	p.Add(labels)
	p.NominalY(names...)
	for i := range labels.TextStyle {
		labels.TextStyle[i].YAlign = text.YCenter
		labels.TextStyle[i].Font.Variant = "Sans"
	}
	for _, style := range []*text.Style{&p.Title.TextStyle, &p.X.Tick.Label, &p.Y.Tick.Label} {
		style.Font.Variant = "Sans"
	}
	p.X.Min, p.X.Max = 0, 1.1*max(slices.Max(values), slices.Max(baseline)) // room for the number behind the longest bar
	if err := p.Save(vg.Points(640), vg.Points(float64(60+30*len(names))), file); err != nil {
		return fmt.Errorf("draw the figures: %w", err)
	}
	return nil
}
