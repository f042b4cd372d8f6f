package build

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// archive is a Debian that can be reached or not, and a host with a clock.
type archive struct {
	t       *testing.T
	cache   Cache
	now     time.Time
	version string // of its packages
	fetched int    // how often
	fails   error  // in the middle of fetching
	unfit   string // the version that no image can be made of
	lacks   error  // of the host
	inputs  string // of the root's step
}

// build builds an image and returns the version of the packages in it.
func (a *archive) build() (version string, fresh bool, old, err error) {
	a.t.Helper()
	r := roots{cache: a.cache, step: a.step, check: func() error { return a.lacks }, now: a.now}
	goal, fresh, old, err := r.build(a.t.Context(), func(debian *Step) (*Step, error) {
		return &Step{Name: "image", Needs: []*Step{debian}, Do: func(_ context.Context, out string) error {
			content, err := os.ReadFile(filepath.Join(a.cache.Dir(debian), "root"))
			if err == nil && string(content) == a.unfit {
				err = errors.New("there is no kernel in it")
			}
			return errors.Join(err, os.WriteFile(filepath.Join(out, "image"), content, 0o600))
		}}, nil
	})
	if err != nil {
		return "", fresh, old, err
	}
	content, err := os.ReadFile(filepath.Join(a.cache.Dir(goal), "image"))
	return string(content), fresh, old, err
}

func (a *archive) step(day string) *Step {
	return &Step{Name: "debian", Inputs: []string{a.inputs, day}, Do: func(_ context.Context, out string) error {
		a.fetched++
		if err := os.WriteFile(filepath.Join(out, "root"), []byte(a.version), 0o600); err != nil || a.fails != nil {
			return errors.Join(err, a.fails)
		}
		return os.Chtimes(out, a.now, a.now)
	}}
}

// want builds, and expects the version, whether anything had to be made, how often packages were fetched until then, and the reason
// why they are old.
func (a *archive) want(what, version string, fresh bool, fetched int, old string) {
	a.t.Helper()
	got, made, reason, err := a.build()
	if err != nil || got != version || made != fresh || a.fetched != fetched || (reason != nil) != (old != "") || reason != nil && !strings.Contains(reason.Error(), old) {
		a.t.Errorf("%s: got packages %q, fresh %t, fetched %d times, old as %v, and error %v; want %q, %t, %d, %q", what, got, made, a.fetched, reason, err, version, fresh, fetched, old)
	}
}

func newArchive(t *testing.T) *archive {
	t.Helper()
	return &archive{t: t, cache: Cache{Root: t.TempDir()}, now: time.Now().Add(-400 * 24 * time.Hour), version: "1"}
}

const day = 24 * time.Hour

// TestOldPackagesAreFetchedAnew: the root is refreshed each time that it has become older than a month, and the image with it.
func TestOldPackagesAreFetchedAnew(t *testing.T) {
	t.Parallel()
	a := newArchive(t)
	a.want("nothing cached", "1", true, 1, "")
	a.want("at once", "1", false, 1, "")
	a.now, a.version = a.now.Add(29*day), "2"
	a.want("after 29 days", "1", false, 1, "")
	a.now = a.now.Add(2 * day)
	a.want("after 31 days", "2", true, 2, "")
	a.now, a.version = a.now.Add(day), "3"
	a.want("a day later", "2", false, 2, "")
	a.now = a.now.Add(30 * day)
	a.want("after two months", "3", true, 3, "")
	a.inputs = "another list of packages"
	a.want("with another list", "3", true, 4, "")
	a.want("and again", "3", false, 4, "")
}

// TestOldPackagesWithoutNetwork: a refresh that fails, at any place, leaves the old root and its image of use, says why, and is tried
// again by the next build.
func TestOldPackagesWithoutNetwork(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		breaks  func(*archive)
		old     string
		fetches int // by a build that fails so
		again   int // by the next one, which works
	}{
		"no network":          {func(a *archive) { a.fails = errors.New("Temporary failure resolving") }, "Temporary failure", 1, 1},
		"no image of it":      {func(a *archive) { a.unfit = "2" }, "no kernel", 1, 0},
		"no root on the host": {func(a *archive) { a.lacks = errors.New("needs root") }, "needs root", 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newArchive(t)
			a.want("nothing cached", "1", true, 1, "")
			a.now, a.version = a.now.Add(31*day), "2"
			test.breaks(a)
			a.want("a refresh that fails", "1", false, 1+test.fetches, test.old)
			if left, err := filepath.Glob(filepath.Join(a.cache.Root, "*.partial")); err != nil || len(left) > 0 {
				t.Errorf("it left %q (%v)", left, err)
			}
			for range 2 { // roots of later days do not push it out
				a.now = a.now.Add(day)
				a.want("and again", "1", false, a.fetched+test.fetches, test.old)
			}
			if !a.cache.Has(a.step("")) {
				t.Error("the old root is gone")
			}
			fetched := a.fetched
			a.fails, a.unfit, a.lacks = nil, "", nil
			a.want("one that works", "2", true, fetched+test.again, "")
			a.want("after it", "2", false, fetched+test.again, "")
		})
	}
}

// TestRefreshCutOff: Ctrl-C ends the build, and the next one has the old root.
func TestRefreshCutOff(t *testing.T) {
	t.Parallel()
	a := newArchive(t)
	a.want("nothing cached", "1", true, 1, "")
	a.now, a.version = a.now.Add(31*day), "2"
	ctx, cancel := context.WithCancel(t.Context())
	r := roots{cache: a.cache, check: func() error { return nil }, now: a.now, step: func(day string) *Step {
		step := a.step(day)
		step.Do = func(ctx context.Context, _ string) error { cancel(); return ctx.Err() }
		return step
	}}
	_, _, _, err := r.build(ctx, func(debian *Step) (*Step, error) { return debian, nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want %v", err, context.Canceled)
	}
	a.fails = errors.New("no network")
	a.want("then without a network", "1", false, 2, "no network")
}
