package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Step is one piece of the work with a folder as its result. Its key is made of everything that the result depends on,
// so that a result that is there is the right one.
type Step struct {
	Name   string
	Inputs []string // versions, flags, digests of sources; anything whose change changes the result
	Needs  []*Step
	// Expect is how long it takes on a laptop with nothing cached, for the progress display.
	Expect time.Duration
	// Alone keeps it from running next to another such step: compilers fill all processors and much memory.
	Alone bool
	// Before, which may be nil, does what need not wait for an Alone step's turn, such as downloading. It leaves nothing in
	// the result, and when it fails Do says so better.
	Before func(ctx context.Context)
	// Do fills the empty folder out. It must give the same files for the same inputs.
	Do func(ctx context.Context, out string) error
}

// Key returns what names the step's result: the beginning of a SHA-256 over name, inputs and the keys of its needs.
func (s *Step) Key() string {
	sum := sha256.New()
	add := func(text string) { fmt.Fprintf(sum, "%d:%s,", len(text), text) }
	add(s.Name)
	for _, input := range s.Inputs {
		add(input)
	}
	add("needs")
	for _, need := range s.Needs {
		add(need.Key())
	}
	return hex.EncodeToString(sum.Sum(nil))[:16]
}

// Kind says what happened to a step.
type Kind string

// The kinds of an Event, in the order in which a step may see them.
const (
	Started  Kind = "started"
	Finished Kind = "finished"
	Failed   Kind = "failed"
)

// Event is the news of one step. Steps whose result was there already have none.
type Event struct {
	Step   string
	Kind   Kind
	Index  int // how many steps have started, this one included
	Total  int // how many steps run in this build
	Took   time.Duration
	Expect time.Duration
	Err    error
}

// Cache keeps results of steps in one folder.
type Cache struct {
	Root string
	Keep string // a result's folder that is not removed, however old it is; may be empty
}

// Dir returns the folder of the step's result, whether it is there or not.
func (c Cache) Dir(s *Step) string {
	return filepath.Join(c.Root, s.Name+"-"+s.Key())
}

// Has reports whether the step's result is there. Results appear in one step, so one that is there is complete.
func (c Cache) Has(s *Step) bool {
	_, err := os.Stat(c.Dir(s))
	return err == nil
}

// made returns when the result of the step of that name was made, which is step or one that it needs; the zero Time when it is
// not there. Nothing is put into a result later, so the folder's time is that.
func (c Cache) made(step *Step, name string) (at time.Time) {
	if step.Name == name {
		if info, err := os.Stat(c.Dir(step)); err == nil {
			at = info.ModTime()
		}
		return at
	}
	for _, need := range step.Needs {
		if at = c.made(need, name); !at.IsZero() {
			return at
		}
	}
	return at
}

// Run makes the results of the steps that goal needs and of goal itself, those without dependence on one another side by side.
// Results that are there are used; a build that was interrupted goes on where it was.
func (c Cache) Run(ctx context.Context, goal *Step, sink func(Event)) error {
	missing := c.missing(goal, nil, map[*Step]bool{})
	run := runner{cache: c, total: len(missing), sink: sink, done: map[*Step]chan struct{}{}}
	for _, step := range missing {
		run.done[step] = make(chan struct{})
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, step := range missing {
		group.Go(func() error { return run.step(ctx, step) })
	}
	return group.Wait()
}

// missing returns the steps to run, each after its needs. What only a step needs whose result is there is not made.
func (c Cache) missing(step *Step, list []*Step, seen map[*Step]bool) []*Step {
	if seen[step] {
		return list
	}
	seen[step] = true
	if c.Has(step) {
		return list
	}
	for _, need := range step.Needs {
		list = c.missing(need, list, seen)
	}
	return append(list, step)
}

type runner struct {
	cache Cache
	total int
	done  map[*Step]chan struct{} // closed when the step's result is there
	alone sync.Mutex

	mu    sync.Mutex // guards index and the order of events
	index int
	sink  func(Event)
}

func (r *runner) step(ctx context.Context, step *Step) error {
	for _, need := range step.Needs {
		if done := r.done[need]; done != nil {
			select {
			case <-done:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	if step.Before != nil {
		step.Before(ctx)
	}
	if step.Alone {
		r.alone.Lock()
		defer r.alone.Unlock()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	start := time.Now()
	r.tell(Event{Step: step.Name, Kind: Started, Expect: step.Expect})
	err := r.cache.make(ctx, step)
	if err != nil {
		err = fmt.Errorf("%s: %w", step.Name, err)
		r.tell(Event{Step: step.Name, Kind: Failed, Took: time.Since(start), Expect: step.Expect, Err: err})
		return err
	}
	close(r.done[step])
	r.tell(Event{Step: step.Name, Kind: Finished, Took: time.Since(start), Expect: step.Expect})
	return nil
}

func (r *runner) tell(event Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if event.Kind == Started {
		r.index++
	}
	event.Index, event.Total = r.index, r.total
	if r.sink != nil {
		r.sink(event)
	}
}

// make runs the step in a folder beside its result and renames it when all is written.
func (c Cache) make(ctx context.Context, step *Step) error {
	dir := c.Dir(step)
	partial := dir + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	if err := os.MkdirAll(partial, 0o755); err != nil {
		return err
	}
	if err := step.Do(ctx, partial); err != nil {
		// What is left would only fill the disk. The error of the step matters more than one of the clearing.
		_ = os.RemoveAll(partial)
		return err
	}
	if err := os.Rename(partial, dir); err != nil {
		return err
	}
	return c.prune(step, dir)
}

// keepFor is how long a result stays after a newer one of the same step was made.
const keepFor = 14 * 24 * time.Hour

// prune removes results of the same step that are old and not the one just made.
func (c Cache) prune(step *Step, keep string) error {
	old, err := filepath.Glob(filepath.Join(c.Root, step.Name+"-"+"????????????????"))
	if err != nil {
		return err
	}
	var problems []error
	for _, dir := range old {
		info, err := os.Stat(dir)
		if errors.Is(err, fs.ErrNotExist) || dir == keep || dir == c.Keep {
			continue
		}
		if err == nil && time.Since(info.ModTime()) > keepFor {
			err = os.RemoveAll(dir)
		}
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}
