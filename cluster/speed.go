package cluster

import (
	"context"

	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/tuning"
)

// emulation is how drivers name software emulation; see drivers.Accelerated.
const emulation = "tcg"

// accelerator is what guests of an image run on here, and why so when that is slow. Both are empty where the driver does not
// tell; whoever needs a driver that is not there meets the error.
func (m *Manager) accelerator(ctx context.Context, c config.Cluster, image machine.Image) (name, note, words string) {
	driver, err := m.driver(c)
	if err != nil {
		return "", "", ""
	}
	accelerated, ok := driver.(drivers.Accelerated)
	if !ok {
		return "", "", ""
	}
	return accelerated.Accelerator(ctx, image)
}

// emulated reports whether guests of an image run without hardware virtualisation here. A driver that does not tell is taken
// to be as fast as it gets.
func (m *Manager) emulated(ctx context.Context, c config.Cluster, image machine.Image) bool {
	name, _, _ := m.accelerator(ctx, c, image)
	return name == emulation
}

// tuning is what suits the machine of a cluster here.
func (m *Manager) tuning(ctx context.Context, c config.Cluster) tuning.Plan {
	spec, _ := m.spec(c) // one without all keys is good for asking
	if m.emulated(ctx, c, spec.Image) {
		return tuning.Emulation()
	}
	return tuning.Hardware()
}

// tellSpeed says so when guests run slowly here, and why.
func (s *start) tellSpeed(ctx context.Context, image machine.Image) {
	if _, note, words := s.accelerator(ctx, s.config, image); note != "" {
		emit(s.sink, Event{Profile: s.config.Profile, Step: "accelerator", Text: note}, Warning)
		if words != "" {
			emit(s.sink, Event{Profile: s.config.Profile, Step: "accelerator", Text: words}, Progress)
		}
	}
}
