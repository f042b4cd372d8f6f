// Package spare decides about warm spares: clusters that are made beforehand, saved at the moment when they were ready, and
// taken by the next start that asks for such a one. It says which spare serves whom, when one has gone stale, and whether
// this is a good moment to prepare one. It does nothing itself: package cluster makes, takes and removes them.
package spare

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/internal/host"
	"github.com/skiff-k8s/skiff/store"
)

const (
	// age is how old a spare may get that was prepared by itself: who has not needed it for a week gets the space back.
	age = 7 * 24 * time.Hour
	// ageAsked is the same for one that a user asked for, as for an image of a CI machine. Its certificates last longer.
	ageAsked = 90 * 24 * time.Hour
)

// Note is what is written down of a spare when it is ready.
type Note struct {
	Skiff   string    `json:"skiff"` // version that made it
	Created time.Time `json:"created"`
	Asked   bool      `json:"asked"` // by a user, and not prepared by itself
}

// Parse reads a note that Marshal wrote.
func Parse(content []byte) (Note, error) {
	var n Note
	err := store.ReadJSON(content, &n)
	if err == nil && (n.Skiff == "" || n.Created.IsZero()) {
		err = fmt.Errorf("the note %q of a warm spare is not whole", content)
	}
	return n, err
}

// Marshal returns the note as it is written down.
func (n Note) Marshal() ([]byte, error) {
	content, err := json.MarshalIndent(n, "", "  ")
	return append(content, '\n'), err
}

// Now is what a spare may have fallen behind.
type Now struct {
	Skiff string
	Image string // digest of the guest image that new clusters get; empty when there is none
	Time  time.Time
}

// Stale says why a spare is not to be taken any more; empty when it is. What of it depends on the hypervisor, the machine
// itself knows (drivers.Movable).
func (n Note) Stale(c config.Cluster, now Now) string {
	limit := age
	if n.Asked {
		limit = ageAsked
	}
	switch {
	case n.Skiff != now.Skiff:
		return fmt.Sprintf("skiff is %s and was %s", now.Skiff, n.Skiff)
	case now.Image != "" && c.Image != now.Image:
		return "there is a newer guest image"
	case now.Time.Sub(n.Created) > limit:
		return fmt.Sprintf("it is older than %d days", limit/(24*time.Hour))
	}
	return ""
}

// Serves reports whether a spare can stand in for a cluster that is wanted. Addons that the spare lacks can be enabled later;
// what else differs would need another machine or other certificates.
func Serves(spare, wanted config.Cluster) bool {
	for _, addon := range spare.Addons {
		if !slices.Contains(wanted.Addons, addon) {
			return false
		}
	}
	return spare.Driver == wanted.Driver && spare.LibvirtURI == wanted.LibvirtURI && spare.Network == wanted.Network &&
		spare.SSH == nil && wanted.SSH == nil &&
		spare.CPUs == wanted.CPUs && spare.MemoryMiB == wanted.MemoryMiB && spare.DiskBytes == wanted.DiskBytes &&
		spare.KubernetesVersion == wanted.KubernetesVersion && spare.Image == wanted.Image && spare.CertExpiration == wanted.CertExpiration &&
		slices.Equal(spare.APIServerNames, wanted.APIServerNames) && slices.Equal(spare.APIServerIPs, wanted.APIServerIPs) &&
		slices.Equal(spare.ExtraConfig, wanted.ExtraConfig) && slices.Equal(spare.FeatureGates, wanted.FeatureGates)
}

// When says when spares are prepared in the background.
type When string

// The values of the setting warm-spare.
const (
	Auto   When = "auto"  // where guests run with hardware virtualisation
	Always When = "true"  // also under emulation
	Never  When = "false" // those that are there are taken nevertheless
)

// ParseWhen reads the setting.
func ParseWhen(text string) (When, error) {
	if when := When(text); slices.Contains([]When{Auto, Always, Never}, when) {
		return when, nil
	}
	return "", fmt.Errorf("%q is none of auto, true and false", text)
}

const (
	// diskFloor is what a preparation leaves free on the disk, in bytes.
	diskFloor = 10 << 30
	// diskOwn is what a spare takes beside its memory: the layer of its disk.
	diskOwn = 2 << 30
)

// Moment is all that decides whether a spare is prepared in the background now.
type Moment struct {
	When      When
	Able      bool // the driver's machines can be moved with their memory
	Emulated  bool // guests run without hardware virtualisation
	There     bool // a spare that serves is there already, or one is being prepared
	MemoryMiB int  // of the machine
	Facts     host.Facts
	FreeBytes int64 // on the disk that holds spares
}

// Refusal says why no spare is prepared now, as a part of a sentence; empty when one is. Nobody waits for a spare, so it
// must not take from anybody: not the battery, nor memory or disk that others will want.
func (m Moment) Refusal() string {
	left := m.Facts.AvailableMiB - m.MemoryMiB
	free := m.FreeBytes - int64(m.MemoryMiB)<<20 - diskOwn
	switch {
	case m.When == Never:
		return "warm-spare is false"
	case !m.Able:
		return "the driver's machines cannot be kept with their memory and moved"
	case m.There:
		return "there is one already, or one is being prepared"
	case m.Emulated && m.When != Always:
		return "under software emulation it would slow this computer down for minutes (`skiff config set warm-spare true` prepares one nevertheless)"
	case m.Facts.OnBattery:
		return "this computer runs on its battery"
	case m.Facts.AvailableMiB == 0:
		return "this computer does not say how much memory is free"
	case left < config.ReservedMiB(m.Facts):
		return fmt.Sprintf("%d MiB of memory are free, and %d must stay beside the machine's %d", m.Facts.AvailableMiB, config.ReservedMiB(m.Facts), m.MemoryMiB)
	case free < diskFloor:
		return fmt.Sprintf("%d GiB of the disk are free, and %d must stay", m.FreeBytes>>30, diskFloor>>30)
	}
	return ""
}
