package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/store"
)

// Step is one thing to do, with the reason for it.
type Step struct {
	ID   string // stable; names the step's log
	Text string // what, such as "Create machine skiff (2 CPUs, 4096 MiB)"
	Why  string // because of what was observed
	// Do does it. It reports what it is at through report.
	Do func(ctx context.Context, report Report) error
	// Undo rolls it back after a later step failed or was interrupted; nil when there is nothing to roll back.
	Undo func(ctx context.Context) error
}

// Report tells how far a step is: text, and bytes done of total where it counts them (else 0, 0).
type Report func(text string, done, total int64)

// Plan is what start will do, in order. An empty one means that all is as it should be.
type Plan struct {
	Profile string
	Steps   []Step
}

// add appends a step where it is needed.
func (p *Plan) add(needed bool, step Step) {
	if needed {
		p.Steps = append(p.Steps, step)
	}
}

// String shows the plan, one line a step; it is what --dry-run prints.
func (p Plan) String() string {
	if len(p.Steps) == 0 {
		return fmt.Sprintf("Nothing to do: cluster %s is as it should be.\n", p.Profile)
	}
	var b strings.Builder
	for i, step := range p.Steps {
		fmt.Fprintf(&b, "%2d. %s\n    because %s\n", i+1, step.Text, step.Why)
	}
	return b.String()
}

// undoLimit bounds how long taking back may last after Ctrl-C.
const undoLimit = 90 * time.Second

// Apply does the steps in order. When one fails or ctx ends, it takes back those that were begun, last first (also the
// one that failed: it may be half done), and returns the cause; keep says for which errors all is left as it is. What
// taking back could not do is joined to the cause.
func Apply(ctx context.Context, plan Plan, keep func(error) bool, sink Sink) error {
	for i, step := range plan.Steps {
		event := Event{Profile: plan.Profile, Step: step.ID, Index: i + 1, Steps: len(plan.Steps), Text: step.Text}
		emit(sink, event, Began)
		report := func(text string, done, total int64) {
			progress := event
			progress.Text, progress.Done, progress.Total = text, done, total
			emit(sink, progress, Progress)
		}
		err := ctx.Err()
		if err == nil {
			err = step.Do(ctx, report)
		}
		if err == nil {
			emit(sink, event, Ended)
			continue
		}
		err = named(ctx, plan.Profile, step, err)
		event.Err = err
		emit(sink, event, Failed)
		if keep(err) {
			return err
		}
		return errors.Join(err, undo(ctx, plan, i, sink))
	}
	return nil
}

// undo takes back the steps from last down to the first.
func undo(ctx context.Context, plan Plan, last int, sink Sink) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
	defer cancel()
	var problems []error
	for i := last; i >= 0; i-- {
		step := plan.Steps[i]
		if step.Undo == nil {
			continue
		}
		if err := step.Undo(ctx); err != nil {
			problems = append(problems, fmt.Errorf("take back %q: %w", step.ID, err))
			continue
		}
		emit(sink, Event{Profile: plan.Profile, Step: step.ID, Index: i + 1, Steps: len(plan.Steps), Text: step.Text}, Undone)
	}
	return errors.Join(problems...)
}

// named gives the error of a step an ID, where the step itself knew none.
func named(ctx context.Context, profile string, step Step, err error) error {
	op := fmt.Sprintf("cluster %s: %s", profile, step.ID)
	switch {
	case ctx.Err() != nil:
		return interrupted(ctx, profile, step)
	case fail.Known(err):
		return err
	}
	if full := store.NoSpace(op, err); fail.Known(full) {
		return full
	}
	return fmt.Errorf("%s: %w", op, err)
}

// interrupted is the error of a run that ctx ended.
func interrupted(ctx context.Context, profile string, step Step) error {
	return fail.New(fail.Interrupted, fmt.Sprintf("start cluster %s: %s", profile, step.ID), "%w", context.Cause(ctx)).
		WithNext("skiff start -p %s", profile)
}

func emit(sink Sink, event Event, kind Kind) {
	if sink == nil {
		return
	}
	event.Kind = kind
	sink(event)
}
