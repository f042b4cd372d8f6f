// Package clustertest has stand-ins for what package cluster works with: agents and a Kubernetes that are only files
// beside the cluster, so that several processes see the same, and a guest image of a few bytes. They fail, hang and end the
// process where they are told to. The machines come from drivers/fake.
package clustertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/skiff-k8s/skiff/fail"
)

// Fault is something that goes wrong at one point.
type Fault struct {
	// Point is where, such as "agents.start" or "kubernetes.up": the interface and the method, in lower case.
	Point string
	// How is "hang" (until ctx ends), "kill" (the process, as kill -9 does), "full" (no space left on the device) or the
	// fail.ID of an error.
	How string
	// Late means that the work was done before it goes wrong; else it goes wrong with half of it done.
	Late bool
}

// Faults are all that goes wrong. The zero value means nothing does.
type Faults []Fault

// ParseFaults reads faults as tests write them in a variable: "point=how" or "point=how:late", separated by commas.
func ParseFaults(text string) (Faults, error) {
	var faults Faults
	for word := range strings.SplitSeq(text, ",") {
		if word == "" {
			continue
		}
		point, how, ok := strings.Cut(word, "=")
		if !ok {
			return nil, fmt.Errorf("fault %q is not of the form point=how", word)
		}
		how, late := strings.CutSuffix(how, ":late")
		faults = append(faults, Fault{Point: point, How: how, Late: late})
	}
	return faults, nil
}

// do does the work of a point in two halves, and what is to go wrong there.
func (f Faults) do(ctx context.Context, point string, halves ...func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for i, half := range halves {
		if i > 0 {
			if err := f.happen(ctx, point, false); err != nil {
				return err
			}
		}
		if err := half(); err != nil {
			return err
		}
	}
	if len(halves) < 2 {
		if err := f.happen(ctx, point, false); err != nil {
			return err
		}
	}
	return f.happen(ctx, point, true)
}

// happen lets go wrong what is due.
func (f Faults) happen(ctx context.Context, point string, late bool) error {
	for _, fault := range f {
		if fault.Point != point || fault.Late != late {
			continue
		}
		switch fault.How {
		case "hang":
			<-ctx.Done()
			return ctx.Err()
		case "kill":
			if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
				return err
			}
			<-ctx.Done() // the signal is on its way
			return ctx.Err()
		case "full":
			return &os.PathError{Op: "write", Path: "/fake", Err: syscall.ENOSPC}
		default:
			return &fail.Error{ID: fail.ID(fault.How), Op: point, Err: errors.New("it was told to fail")}
		}
	}
	return nil
}
