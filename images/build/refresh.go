package build

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"
)

// maxAge is how old the packages of Debian may be before newer ones are fetched: Debian publishes fixes of security holes all the time.
const maxAge = 30 * 24 * time.Hour

// roots knows the root file systems of Debian that are in a cache, and which of them builds use. The step of a root has the day of its
// refresh among its inputs, so that all that is made of an older one is made again; the first has none.
type roots struct {
	cache Cache
	step  func(day string) *Step // makes a root; debianStep, but in tests
	check func() error           // says what a step lacks on this host
	now   time.Time
	sink  func(Event) // may be nil
}

// build makes the goal that plan returns for a root. Where the root is older than maxAge it is made of a new one first. When that
// fails, be it for want of a network, the goal is made of the old root, and old is the reason.
func (r roots) build(ctx context.Context, plan func(debian *Step) (*Step, error)) (goal *Step, fresh bool, old, err error) {
	debian := r.step(r.day())
	r.cache.Keep = r.cache.Dir(debian)
	if at := r.cache.made(debian, debian.Name); !at.IsZero() && r.now.Sub(at) > maxAge {
		if goal, old = r.refresh(ctx, plan); old == nil {
			return goal, true, nil, nil
		}
		if err := ctx.Err(); err != nil {
			return nil, false, nil, err
		}
	}
	if goal, err = plan(debian); err != nil || r.cache.Has(goal) {
		return goal, false, old, err
	}
	return goal, true, old, r.make(ctx, goal)
}

// refresh makes the goal of a new root, and has later builds use that root when all of it is there. Until then they use the old one.
func (r roots) refresh(ctx context.Context, plan func(debian *Step) (*Step, error)) (*Step, error) {
	day := r.now.UTC().Format(time.DateOnly)
	debian := r.step(day)
	goal, err := plan(debian)
	if err != nil {
		return nil, err
	}
	for _, step := range []*Step{debian, goal} { // without a network nothing else is begun
		if err := r.make(ctx, step); err != nil {
			return nil, err
		}
	}
	return goal, renameio.WriteFile(r.record(), []byte(r.step("").Key()+" "+day+"\n"), 0o644)
}

func (r roots) make(ctx context.Context, step *Step) error {
	if err := r.check(); err != nil {
		return err
	}
	return r.cache.Run(ctx, step, r.sink)
}

// record is the file with the key of the first root, and the day of the one that took its place.
func (r roots) record() string { return filepath.Join(r.cache.Root, "debian.refreshed") }

// day returns the day of the root that builds use; empty for the first one, which they also use when the other one is gone.
func (r roots) day() string {
	content, err := os.ReadFile(r.record())
	if err != nil {
		return ""
	}
	key, day, _ := strings.Cut(strings.TrimSpace(string(content)), " ")
	if key != r.step("").Key() || !r.cache.Has(r.step(day)) {
		return ""
	}
	return day
}
