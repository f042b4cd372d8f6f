package build

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// writes returns a step that writes its name, counting how often it ran.
func writes(name string, ran *atomic.Int32, needs ...*Step) *Step {
	return &Step{Name: name, Needs: needs, Do: func(_ context.Context, out string) error {
		ran.Add(1)
		return os.WriteFile(filepath.Join(out, "name"), []byte(name), 0o644)
	}}
}

func TestKeyDependsOnEverythingThatMatters(t *testing.T) {
	t.Parallel()
	base := func() *Step {
		return &Step{Name: "a", Inputs: []string{"x", "y"}, Needs: []*Step{{Name: "n", Inputs: []string{"1"}}}}
	}
	if first, second := base().Key(), base().Key(); first != second {
		t.Error("equal steps have different keys")
	}
	for name, change := range map[string]func(*Step){
		"name":            func(s *Step) { s.Name = "b" },
		"input":           func(s *Step) { s.Inputs[1] = "z" },
		"inputs joined":   func(s *Step) { s.Inputs = []string{"xy"} },
		"inputs moved":    func(s *Step) { s.Inputs = []string{"y", "x"} },
		"input of a need": func(s *Step) { s.Needs[0].Inputs[0] = "2" },
		"fewer needs":     func(s *Step) { s.Needs = nil },
		"need as inputs":  func(s *Step) { s.Inputs = append(s.Inputs, "needs", s.Needs[0].Key()); s.Needs = nil },
	} {
		changed := base()
		change(changed)
		if changed.Key() == base().Key() {
			t.Errorf("%s: the key is the same", name)
		}
	}
}

func TestRunMakesEachResultOnce(t *testing.T) {
	t.Parallel()
	var leaves, goals atomic.Int32
	leaf := writes("leaf", &leaves)
	goal := writes("goal", &goals, leaf, writes("side", &leaves, leaf))
	cache := Cache{Root: t.TempDir()}
	var mu sync.Mutex
	finished := map[string]int{}
	sink := func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Kind == Finished {
			finished[e.Step]++
		}
		if e.Total != 3 || e.Index < 1 || e.Index > 3 {
			t.Errorf("got step %d of %d, want 1 to 3 of 3", e.Index, e.Total)
		}
	}
	for range 2 {
		if err := cache.Run(t.Context(), goal, sink); err != nil {
			t.Fatal(err)
		}
	}
	if leaves.Load() != 2 || goals.Load() != 1 || finished["leaf"] != 1 || finished["goal"] != 1 {
		t.Errorf("leaf and side ran %d times, goal %d, events %v; want 2, 1, one of each", leaves.Load(), goals.Load(), finished)
	}
	content, err := os.ReadFile(filepath.Join(cache.Dir(goal), "name"))
	if err != nil || string(content) != "goal" {
		t.Errorf("got %q, %v, want the goal's result", content, err)
	}
	// What only a result needs that is there is not made again.
	if err := os.RemoveAll(cache.Dir(leaf)); err != nil {
		t.Fatal(err)
	}
	if err := cache.Run(t.Context(), goal, nil); err != nil || leaves.Load() != 2 {
		t.Errorf("leaves ran %d times, %v, want 2: nothing needs them", leaves.Load(), err)
	}
}

func TestRunGoesOnAfterAFailure(t *testing.T) {
	t.Parallel()
	var ran atomic.Int32
	leaf := writes("leaf", &ran)
	broken := errors.New("broken")
	fails := true
	goal := &Step{Name: "goal", Needs: []*Step{leaf}, Do: func(_ context.Context, out string) error {
		if err := os.WriteFile(filepath.Join(out, "half"), nil, 0o644); err != nil {
			return err
		}
		if fails {
			return broken
		}
		return nil
	}}
	cache := Cache{Root: t.TempDir()}
	// What a killed build left behind must not show up in the result.
	if err := os.MkdirAll(filepath.Join(cache.Dir(goal)+".partial", "rest"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := cache.Run(t.Context(), goal, nil); !errors.Is(err, broken) {
		t.Fatalf("got %v, want the step's error", err)
	}
	if cache.Has(goal) {
		t.Error("a failed step has a result")
	}
	fails = false
	if err := cache.Run(t.Context(), goal, nil); err != nil {
		t.Fatal(err)
	}
	if ran.Load() != 1 {
		t.Errorf("the leaf ran %d times, want once", ran.Load())
	}
	entries, err := os.ReadDir(cache.Dir(goal))
	if err != nil || len(entries) != 1 {
		t.Errorf("the result holds %v, %v, want the one file", entries, err)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	first := &Step{Name: "first", Do: func(ctx context.Context, _ string) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	}}
	var ran atomic.Int32
	if err := (Cache{Root: t.TempDir()}).Run(ctx, writes("goal", &ran, first), nil); !errors.Is(err, context.Canceled) || ran.Load() != 0 {
		t.Errorf("got %v after %d runs of the goal, want the cancel and none", err, ran.Load())
	}
}

// A step prepares itself while another one has its turn: each waits for the other's preparation, which would never come else.
func TestBeforeNeedsNoTurn(t *testing.T) {
	t.Parallel()
	var both sync.WaitGroup
	both.Add(2)
	step := func(name string) *Step {
		return &Step{
			Name: name, Alone: true, Before: func(context.Context) { both.Done() },
			Do: func(context.Context, string) error { both.Wait(); return nil },
		}
	}
	goal := &Step{Name: "goal", Needs: []*Step{step("one"), step("two")}, Do: func(context.Context, string) error { return nil }}
	if err := (Cache{Root: t.TempDir()}).Run(t.Context(), goal, nil); err != nil {
		t.Error(err)
	}
}
