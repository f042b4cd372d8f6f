package cluster

import (
	"context"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/machine"
)

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
