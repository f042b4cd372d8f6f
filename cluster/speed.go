package cluster

import (
	"context"

	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/machine"
)

// emulation is how drivers name software emulation; see drivers.Accelerated.
const emulation = "tcg"

// emulated reports whether guests of an image run without hardware virtualisation here. A driver that does not tell is taken
// to be as fast as it gets.
func (m *Manager) emulated(ctx context.Context, c config.Cluster, image machine.Image) bool {
	driver, err := m.driver(c)
	if err != nil {
		return false // whoever needs the driver meets the error
	}
	accelerated, ok := driver.(drivers.Accelerated)
	if !ok {
		return false
	}
	name, _ := accelerated.Accelerator(ctx, image)
	return name == emulation
}

// tellSpeed says so when guests run slowly here, and why.
func (s *start) tellSpeed(ctx context.Context, image machine.Image) {
	driver, err := s.driver(s.config)
	if err != nil {
		return // whoever needs the driver meets the error
	}
	accelerated, ok := driver.(drivers.Accelerated)
	if !ok {
		return
	}
	if _, note := accelerated.Accelerator(ctx, image); note != "" {
		emit(s.sink, Event{Profile: s.config.Profile, Step: "accelerator", Text: note}, Warning)
	}
}
