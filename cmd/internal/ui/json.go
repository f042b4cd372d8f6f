package ui

import (
	"encoding/json"
	"io"
	"strconv"
	"time"

	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/fail"
)

// cloudEvent is one line of the event stream (CloudEvents 1.0, JSON format). All values in data are strings.
type cloudEvent struct {
	SpecVersion     string            `json:"specversion"`
	ID              string            `json:"id"`
	Source          string            `json:"source"`
	Type            string            `json:"type"`
	Time            string            `json:"time"` // RFC 3339, UTC, milliseconds
	DataContentType string            `json:"datacontenttype"`
	Data            map[string]string `json:"data"`
}

// jsonRenderer writes events as lines of JSON.
type jsonRenderer struct {
	encoder *json.Encoder
	newID   func() string
	now     func() time.Time
	profile string
	said    string // the last progress text, so that it is not repeated
	tenth   int64  // the last tenth of a step's bytes that was reported
}

func newJSONRenderer(w io.Writer, newID func() string, now func() time.Time) *jsonRenderer {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return &jsonRenderer{encoder: encoder, newID: newID, now: now}
}

func (r *jsonRenderer) event(e cluster.Event) {
	if e.Profile != "" {
		r.profile = e.Profile
	}
	switch e.Kind {
	case cluster.Began:
		r.said, r.tenth = "", -1
		r.step(e)
	case cluster.Progress:
		r.progress(e)
	case cluster.Waiting:
		r.write("info", map[string]string{"name": "waiting", "message": e.Text})
	case cluster.Ended, cluster.Failed: // the next event says as much: another step, or the error
	case cluster.Undone:
		r.write("info", map[string]string{"name": "undone", "message": "Rolled back: " + e.Text})
	case cluster.Info:
		r.write("info", map[string]string{"message": e.Text})
	case cluster.Warning:
		r.write("warning", map[string]string{"name": e.Step, "message": e.Text, "advice": ""})
	}
}

func (r *jsonRenderer) step(e cluster.Event) {
	r.write("step", map[string]string{
		"currentstep": strconv.Itoa(e.Index), "totalsteps": strconv.Itoa(e.Steps), "name": e.Step, "message": e.Text,
	})
}

func (r *jsonRenderer) progress(e cluster.Event) {
	if e.Total > 0 {
		if tenth := e.Done * 10 / e.Total; tenth != r.tenth {
			r.tenth = tenth
			r.write("download", map[string]string{
				"artifact": e.Step, "url": "", "bytes": strconv.FormatInt(e.Done, 10), "totalbytes": strconv.FormatInt(e.Total, 10),
			})
		}
		return
	}
	if e.Text != "" && e.Text != r.said {
		r.said = e.Text
		r.step(e)
	}
}

func (r *jsonRenderer) close() {}

// problem writes an error; the last one is the last line of the stream.
func (r *jsonRenderer) problem(p Problem) {
	r.write("error", map[string]string{
		"name": string(p.ID), "exitcode": strconv.Itoa(p.Code), "op": p.Op, "message": p.Why, "advice": p.Advice,
		"next": p.Next, "url": page(p.ID),
	})
}

func (r *jsonRenderer) write(kind string, data map[string]string) {
	_ = r.encoder.Encode(cloudEvent{ // a reader who went away has no use for an error either
		SpecVersion: "1.0", ID: r.newID(), Source: "/skiff/" + r.profile, Type: "io.skiff." + kind,
		Time: r.now().UTC().Format("2006-01-02T15:04:05.000Z07:00"), DataContentType: "application/json", Data: data,
	})
}

// Lines returns a sink that writes events to w as the JSON stream has them, for a log.
func Lines(w io.Writer, newID func() string, now func() time.Time) cluster.Sink {
	return newJSONRenderer(w, newID, now).event
}

// page is where the error with that ID is explained.
func page(id fail.ID) string { return "errors/" + string(id) }
