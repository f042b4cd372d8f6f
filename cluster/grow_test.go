package cluster_test

import (
	"slices"
	"testing"

	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/drivers/fake"
	"github.com/skiff-k8s/skiff/fail"
)

// grown counts how often the file system of the cluster's machine was told to grow.
func (w *world) grown() (times int) {
	w.t.Helper()
	commands, err := w.vm().(*fake.Machine).Runner().Commands()
	w.must(err)
	for _, command := range commands {
		if slices.Equal(command, []string{"resize2fs", "/dev/vda"}) {
			times++
		}
	}
	return times
}

// TestDiskGrows: disk and file system have the size that was asked for, whatever the cluster does when it is asked for.
func TestDiskGrows(t *testing.T) {
	t.Parallel()
	const large = 60 << 30
	for name, before := range map[string]func(w *world){
		"new":     func(*world) {},
		"running": func(w *world) { w.starts(w.options()) },
		"stopped": func(w *world) {
			w.starts(w.options())
			w.stops()
		},
		"powered off": func(w *world) {
			w.starts(w.options())
			w.powersOff()
		},
		"paused": func(w *world) {
			w.starts(w.options())
			w.pauses()
		},
		"memory of no use": func(w *world) {
			w.starts(w.options())
			w.stops()
			w.driver = failing(fake.Resume)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			before(w)
			o := w.options()
			o.Wanted.DiskBytes = new(int64(large))
			if got := w.starts(o).Config.DiskBytes; got != large {
				t.Errorf("the cluster has a disk of %d bytes, want %d", got, int64(large))
			}
			times := w.grown()
			if times == 0 {
				t.Error("the file system did not grow")
			}
			w.starts(o)
			if again := w.grown(); again != times {
				t.Error("the file system of a cluster that runs was told to grow again")
			}
		})
	}
}

// TestDiskGrowsAgain: a growth that failed is done by the next start that asks for it.
func TestDiskGrowsAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starts(w.options())
	w.driver = failing(fake.Grow)
	o := w.options()
	o.Wanted.DiskBytes = new(int64(60 << 30))
	w.fails(o, fail.MachineFailed)
	if c, err := w.Load("dev"); err != nil || c.DiskBytes != config.MinDiskBytes {
		t.Errorf("after the failure: got %d bytes (%v), want what was there", c.DiskBytes, err)
	}
	w.driver = fake.Options{}
	w.starts(o)
	if w.grown() != 1 {
		t.Error("the file system did not grow")
	}
}

// TestDiskCannotGrow: a driver that cannot do it says so before anything is changed.
func TestDiskCannotGrow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.driver.Plain = true
	w.starts(w.options())
	o := w.options()
	o.Wanted.DiskBytes = new(int64(60 << 30))
	w.fails(o, fail.DriverCannot)
}
