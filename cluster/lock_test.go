package cluster_test

import (
	"errors"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/fake"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/store"
)

// TestCommandsReadUnderTheLock: what a command reads of a cluster before it has the lock may be another command's past. Reading
// a description looks up its driver, so that is when the lock must be held.
func TestCommandsReadUnderTheLock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starts(w.options())
	path := w.Home.Cluster("dev").Lock()
	var looked, unlocked atomic.Int32
	w.Drivers = func(string) (drivers.Driver, error) {
		looked.Add(1)
		release, err := store.TryLock(path, store.Holder{})
		if _, held := errors.AsType[*store.HeldError](err); !held {
			unlocked.Add(1)
			if err == nil {
				release()
			}
		}
		return fake.New(w.driver), nil
	}
	ctx := t.Context()
	for _, command := range []struct {
		name string
		do   func() error
	}{
		{"addons enable", func() error { return w.EnableAddon(ctx, "dev", "ingress", w.sink) }},
		{"addons disable", func() error { return w.DisableAddon(ctx, "dev", "ingress", w.sink) }},
		{"pause", func() error { _, err := w.Pause(ctx, "dev", w.sink); return err }},
		{"unpause", func() error { _, err := w.Unpause(ctx, "dev", w.sink); return err }},
		{"snapshot save", func() error {
			_, err := w.SaveSnapshot(ctx, cluster.SaveOptions{Profile: "dev", Name: "one"}, w.sink)
			return err
		}},
		{"snapshot restore", func() error {
			_, err := w.RestoreSnapshot(ctx, cluster.RestoreOptions{Profile: "dev", Name: "one"}, w.sink)
			return err
		}},
		{"snapshot delete", func() error { return w.DeleteSnapshot(ctx, "dev", "one", w.sink) }},
		{"stop", func() error { _, err := w.Stop(ctx, cluster.StopOptions{Profile: "dev"}, w.sink); return err }},
		{"start", func() error { _, err := w.Start(ctx, w.options(), w.sink); return err }},
		{"stop --shutdown", func() error {
			_, err := w.Stop(ctx, cluster.StopOptions{Profile: "dev", Shutdown: true}, w.sink)
			return err
		}},
		{"delete", func() error { _, err := w.Delete(ctx, cluster.DeleteOptions{Profile: "dev"}, w.sink); return err }},
	} {
		looked.Store(0)
		unlocked.Store(0)
		if err := command.do(); err != nil {
			t.Errorf("%s: %v", command.name, err)
		}
		if looked.Load() == 0 || unlocked.Load() != 0 {
			t.Errorf("%s: the cluster was read %d times, %d of them without the lock; want at least once, and never without", command.name, looked.Load(), unlocked.Load())
		}
	}
	for name, do := range map[string]func() error{
		"stop":          func() error { _, err := w.Stop(ctx, cluster.StopOptions{Profile: "dev"}, w.sink); return err },
		"pause":         func() error { _, err := w.Pause(ctx, "dev", w.sink); return err },
		"addons enable": func() error { return w.EnableAddon(ctx, "dev", "ingress", w.sink) },
	} {
		if err := do(); !fail.Is(err, fail.ClusterNotFound) {
			t.Errorf("%s without a cluster: got error %v, want %s", name, err, fail.ClusterNotFound)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s without a cluster left a lock (error %v)", name, err)
		}
	}
}

// TestSecondFirstStartWaits: of two starts that both find no cluster, one makes it, and the other waits and finds it running.
func TestSecondFirstStartWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	boots, waits := make(chan struct{}), make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		started, err := w.Start(t.Context(), w.options(), func(e cluster.Event) {
			if e.Kind == cluster.Began && e.Step == "boot" {
				close(boots)
				<-waits
			}
		})
		if err != nil || !started.Created {
			t.Errorf("the first start: got %+v and error %v, want a new cluster", started, err)
		}
	})
	<-boots
	o := w.options()
	asked := 0
	o.Again = func() (cluster.Wanted, error) {
		asked++
		if _, err := w.Load("dev"); err != nil || w.status() != allWell {
			t.Errorf("while the second start asks what is wanted: got error %v and status %q, want the cluster of the first", err, w.status())
		}
		return cluster.Wanted{}, nil
	}
	o.Wanted.CPUs = new(4) // as it would be for a new cluster
	var told []string
	started, err := w.Start(t.Context(), o, func(e cluster.Event) {
		if e.Step == cluster.StepLock {
			told = append(told, e.Text)
			close(waits)
		}
	})
	group.Wait()
	if err != nil || started.Created || len(started.Plan.Steps) > 0 || asked != 1 {
		t.Errorf("the second start: got %+v, error %v, asked %d times; want nothing to do, asked once", started, err, asked)
	}
	if len(told) != 1 || !strings.Contains(told[0], `Waiting for "skiff test" (process `) || !strings.HasSuffix(told[0], "which uses cluster dev") {
		t.Errorf("the second start said %q, want once whom it waits for", told)
	}
}

// TestFirstStartsOfTwoProfiles: they share the guest image, which one of them installs, and have addresses of their own.
func TestFirstStartsOfTwoProfiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	release, err := store.TryLock(w.Home.BaseLock(), store.Holder{Command: "skiff start -p third", PID: 7})
	w.must(err)
	var waiting, group sync.WaitGroup
	waiting.Add(2)
	addresses := make(chan string, 2)
	for _, profile := range []string{"dev", "other"} {
		group.Go(func() {
			started, err := w.Start(t.Context(), cluster.StartOptions{Profile: profile}, func(e cluster.Event) {
				if e.Step == "image" && e.Kind == cluster.Info && strings.HasPrefix(e.Text, `Waiting for "skiff start -p third" (process 7`) {
					waiting.Done()
				}
			})
			if err != nil {
				t.Errorf("start %s: %v", profile, err)
			}
			addresses <- started.Config.Address.String()
		})
	}
	waiting.Wait()
	release()
	group.Wait()
	if a, b := <-addresses, <-addresses; a == b {
		t.Errorf("both clusters are at %s", a)
	}
}
