package ui

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/google/uuid"
	"sigs.k8s.io/yaml"

	"github.com/skiff-k8s/skiff/cluster"
)

// Format is a value of --output.
type Format string

// The formats that commands know. Table is text with columns.
const (
	Text  Format = "text"
	Table Format = "table"
	JSON  Format = "json"
	YAML  Format = "yaml"
)

// Options says how a Printer speaks.
type Options struct {
	Format  Format
	Events  bool // with Format JSON: stdout is a stream of events, as of commands that act
	Quiet   bool // warnings and errors only
	Verbose int  // 1: also what steps are at, and how long they took
	Env     func(string) string
	NewID   func() string    // IDs of JSON events; nil for random ones
	Now     func() time.Time // the time of JSON events; nil for the computer's
}

// Printer says what a command has to say, in one format. It is safe for concurrent use.
type Printer struct {
	streams Streams
	options Options

	mu       sync.Mutex
	renderer renderer
}

// renderer draws events. It is called by one goroutine at a time.
type renderer interface {
	event(e cluster.Event)
	// close ends what is being drawn, so that lines can follow. Events may follow as well.
	close()
}

// New returns a Printer for one command.
func New(streams Streams, o Options) *Printer {
	p := &Printer{streams: streams, options: o}
	if p.options.NewID == nil {
		p.options.NewID = uuid.NewString
	}
	if p.options.Now == nil {
		p.options.Now = time.Now
	}
	switch {
	case o.Format == JSON && o.Events:
		p.renderer = newJSONRenderer(streams.Out, p.options.NewID, p.options.Now)
	case o.Quiet:
		p.renderer = &quiet{plain{w: streams.Err}}
	case Animated(streams.Err, o.Env):
		p.renderer = &terminal{w: streams.Err}
	default:
		p.renderer = &plain{w: streams.Err, verbose: o.Verbose > 0}
	}
	return p
}

// Event draws e; it is a cluster.Sink.
func (p *Printer) Event(e cluster.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.renderer.event(e)
}

// Info says something that needs no action.
func (p *Printer) Info(profile, format string, args ...any) {
	p.Event(cluster.Event{Kind: cluster.Info, Profile: profile, Text: fmt.Sprintf(format, args...)})
}

// Warn says something that the user should look at.
func (p *Printer) Warn(profile, format string, args ...any) {
	p.Event(cluster.Event{Kind: cluster.Warning, Profile: profile, Text: fmt.Sprintf(format, args...)})
}

// Close ends any drawing.
func (p *Printer) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.renderer.close()
}

// Data prints what the command was asked for to stdout: value as JSON or YAML, or what text writes. What
// cannot be written gives fail.OutputFailed.
func (p *Printer) Data(value any, text func(w io.Writer) error) error {
	p.Close()
	out := &Output{To: p.streams.Out}
	err := p.data(out, value, text)
	if out.Err() != nil {
		return out.Err()
	}
	return err
}

func (p *Printer) data(out io.Writer, value any, text func(w io.Writer) error) error {
	switch p.options.Format {
	case JSON:
		content, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("print as JSON: %w", err)
		}
		_, err = fmt.Fprintf(out, "%s\n", content)
		return err
	case YAML:
		content, err := yaml.Marshal(value)
		if err != nil {
			return fmt.Errorf("print as YAML: %w", err)
		}
		_, err = out.Write(content)
		return err
	default:
		return text(out)
	}
}
