package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/images"
	"github.com/skiff-k8s/skiff/machine"
)

const gib = 1 << 30

// Free space below which a cluster cannot, or only just, be made: its disk takes about a gibibyte for a start, and
// Kubernetes evicts pods when the disk runs full.
const (
	diskNone  = 1 * gib
	diskShort = 5 * gib
)

// another is the command that puts a cluster on another machine, for hosts that are too small, with what is known of it.
func (h Host) another() string {
	key := h.SSHKey
	for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
		path := filepath.Join(h.Env("HOME"), ".ssh", name)
		if _, err := os.Stat(path); err == nil {
			key = cmp.Or(key, path)
		}
	}
	return fmt.Sprintf("skiff start --driver ssh --ssh-ip-address %s --ssh-key %s", cmp.Or(h.SSHAddress, "ADDRESS"), machine.Quote(cmp.Or(key, "FILE")))
}

// fewer is the command that makes the smallest cluster.
func fewer() string { return fmt.Sprintf("skiff start --memory %d", config.MinMemoryMiB) }

// adopts reports whether the user asks for nothing but machines that exist already: the host's size is not theirs.
func (h Host) adopts() bool {
	return slices.ContainsFunc(h.reported(), func(one place) bool {
		_, adopts := one.Driver.(drivers.Adopter)
		return adopts && h.Only != ""
	})
}

func (h Host) cpus(context.Context) []Finding {
	if h.adopts() {
		return []Finding{good("The machine that is taken over has processors of its own; this host needs no more than it has.")}
	}
	if h.Facts.CPUs < config.MinCPUs {
		return []Finding{failure(h.another(), "This host has %d processor; Kubernetes needs %d. It can have its cluster on another machine.", h.Facts.CPUs, config.MinCPUs)}
	}
	return []Finding{good("This host has %d processors; a cluster needs %d.", h.Facts.CPUs, config.MinCPUs)}
}

func (h Host) memory(context.Context) []Finding {
	all, free, usual := h.Facts.MemoryMiB, h.Facts.AvailableMiB, config.DefaultMemoryMiB(h.Facts)
	switch {
	case h.adopts():
		return []Finding{good("The machine that is taken over has memory of its own; a cluster on it takes little of this host's.")}
	case all == 0:
		return []Finding{unknown("this system does not say how much memory it has; a cluster needs %d MiB.", config.MinMemoryMiB)}
	case all < config.MinMemoryMiB:
		return []Finding{failure(h.another(), "This host has %d MiB of memory; a cluster needs %d. It can have its cluster on another machine.", all, config.MinMemoryMiB)}
	case free < config.MinMemoryMiB:
		return []Finding{warning(h.freeMemory(), "%d of %d MiB of memory are free; a cluster needs %d.", free, all, config.MinMemoryMiB)}
	case free < usual:
		return []Finding{warning(fewer(),
			"%d of %d MiB of memory are free; a new cluster takes %d unless it is told otherwise.", free, all, usual)}
	}
	return []Finding{good("%d of %d MiB of memory are free; a new cluster takes %d.", free, all, usual)}
}

// freeMemory is the command that frees memory, as far as skiff has a hand in it.
func (h Host) freeMemory() string {
	if profiles, err := h.Home.Profiles(); err == nil && len(profiles) > 0 {
		return "skiff stop --all"
	}
	return ""
}

func (h Host) disk(context.Context) []Finding {
	dir := existing(h.Home.State)
	free, err := h.FreeBytes(dir)
	if err != nil {
		return []Finding{unknown("%v.", err)}
	}
	text := fmt.Sprintf("%.1f GiB are free on the disk that holds clusters (%s)", float64(free)/gib, dir)
	remedy, words := h.freeDisk()
	switch {
	case free < diskNone:
		return []Finding{failure(remedy, "%s; a new cluster needs about 1%s.", text, words)}
	case free < diskShort:
		return []Finding{warning(remedy, "%s; that will not do for many images%s.", text, words)}
	}
	return []Finding{good("%s.", text)}
}

// freeDisk is the command that frees space without a loss: the cache may be emptied at any time, and guest images may be
// removed that neither a cluster nor a warm spare lies over and that no new one will. Where skiff has nothing to spare, it
// shows what else takes the space.
func (h Host) freeDisk() (command, words string) {
	if _, err := os.Stat(h.Home.MirrorCache()); err == nil {
		return "rm -r " + machine.Quote(h.Home.MirrorCache()), ""
	}
	spares := h
	spares.Home = h.Home.Spares()
	built, err := images.ReadManifest(h.Built)
	for _, name := range subfolders(h.Home.Base()) {
		dir := filepath.Join(h.Home.Base(), name)
		if err == nil && dir != h.Home.BaseImage(built.Digest) && !halfInstalled(name) && len(h.users(name))+len(spares.users(name)) == 0 {
			return "rm -r " + machine.Quote(dir), ""
		}
	}
	return fmt.Sprintf("sudo du -xh -d 2 %s | sort -h | tail -n 20", machine.Quote(mountPoint(existing(h.Home.State)))), ". The command shows what takes the space"
}

// existing returns the nearest folder above path, or path itself, that is there.
func existing(path string) string {
	for {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}
