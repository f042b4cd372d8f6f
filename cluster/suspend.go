package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/images"
	"github.com/skiff-k8s/skiff/machine"
)

const (
	// resumeLimit bounds the time from where a resumed machine executes until it takes commands. That takes a second or two
	// under emulation on an idle host. Giving up costs the memory, and the boot that follows takes longer on the same host: so
	// it gets as long as a boot.
	resumeLimit = bootLimit
	// renewLimit bounds what sets a machine right: with certificates that have ended the whole control plane starts again.
	renewLimit = 2 * bootLimit
	// awakeLimit bounds the time from there until the cluster is usable.
	awakeLimit = 3 * time.Minute
	// quiesceLimit bounds how long a guest may take to write what it has not written yet, and to stand still.
	quiesceLimit = 10 * time.Second
)

// quiesce lets the guest write to its disk what it still has in its memory alone, so that nothing is lost should the saved
// memory turn out to be of no use, and makes Kubernetes stand still until release is called, or until the memory goes on
// somewhere. One that is paused is not woken for it, and stands still anyway. Both are a courtesy: a guest that cannot is saved as
// it is, and unquiet says why.
func (m *Manager) quiesce(ctx context.Context, vm machine.Machine, c Target) (release func(), unquiet string) {
	nothing := func() {}
	if state, err := vm.State(ctx); err != nil || state != machine.Running {
		return nothing, ""
	}
	if _, err := m.Agents.Status(ctx, c.Files.AgentSocket()); err != nil {
		return nothing, errNoAgent.Error() // there is no way in
	}
	limited, cancel := context.WithTimeout(ctx, quiesceLimit)
	defer cancel()
	release, err := m.Kubernetes.Quiesce(limited, vm, c)
	if err == nil {
		return release, ""
	}
	_, _ = vm.Run(limited, machine.Cmd{Args: []string{"sync"}})
	return nothing, oneLine(err)
}

// flush has the guest of a machine that runs write to its disk what it has not written yet, until end is called. So quiesce finds
// little to do, and the connection made already, which takes an emulated guest longer than all else of it.
func (m *Manager) flush(ctx context.Context, vm machine.Machine, state machine.State) (end func()) {
	ctx, cancel := context.WithTimeout(ctx, quiesceLimit)
	var task sync.WaitGroup
	if state == machine.Running {
		task.Go(func() { _, _ = vm.Run(ctx, machine.Cmd{Args: []string{"sync"}}) })
	}
	return func() {
		cancel()
		task.Wait()
	}
}

// suspendQuiet keeps the memory of a machine on which Kubernetes stands still, and ends it. When that fails, all goes on.
func (m *Manager) suspendQuiet(ctx context.Context, vm machine.Machine, suspender drivers.Suspender, c Target) error {
	release, _ := m.quiesce(ctx, vm, c)
	err := suspender.Suspend(ctx)
	if err != nil {
		release()
	}
	return err
}

// suspendMachine keeps the machine's memory and ends it. When that fails, the machine is as before.
func (m *Manager) suspendMachine(ctx context.Context, vm machine.Machine, suspender drivers.Suspender, c Target, sink Sink) error {
	profile := c.Config.Profile
	step := Event{Profile: profile, Step: "suspend", Index: 1, Steps: 1, Text: "Suspend machine " + profile}
	return inStep(step, sink, func() error {
		return wrap(fail.MachineFailed, m.suspendQuiet(ctx, vm, suspender, c), "suspend cluster %s", profile)
	})
}

// suspend is the step that takes a machine out of a network that has ended, to put it into a new one.
func (s *start) suspend(why string) Step {
	return Step{
		ID: "suspend", Text: "Suspend machine " + s.config.Profile, Why: why,
		Do: func(ctx context.Context, _ Report) error {
			vm, suspender, err := s.suspender()
			if err != nil {
				return err
			}
			err = suspender.Suspend(ctx)
			if err != nil && ctx.Err() == nil {
				s.warn("suspend", "the memory of cluster %s cannot be kept (%s), so it boots again", s.config.Profile, oneLine(err))
				err = vm.Stop(ctx)
			}
			return wrap(fail.MachineFailed, err, "stop cluster %s", s.config.Profile)
		},
	}
}

// suspender returns the machine, which must be able to keep its memory.
func (s *start) suspender() (machine.Machine, drivers.Suspender, error) {
	vm, err := s.reached()
	if err != nil {
		return nil, nil, err
	}
	suspender, ok := vm.(drivers.Suspender)
	if !ok {
		return nil, nil, errors.New("its driver cannot keep memory")
	}
	return vm, suspender, nil
}

// resume is the step by which a machine goes on where it was suspended or paused.
func (s *start) resume(moved bool) Step {
	took := s.spare != nil
	return Step{
		ID: "resume", Text: "Resume machine " + s.config.Profile, Why: s.whyResumes(moved),
		Do: func(ctx context.Context, report Report) error {
			if took && s.spare == nil { // as the step that was to take it has said
				return s.bootAgain(ctx, report)
			}
			vm, spec, err := s.machine(s.config)
			if err != nil {
				return err
			}
			if s.vm == nil { // the handle of a step before may keep what makes this one quicker
				s.vm = vm
			}
			if err := s.save(s.config); err != nil {
				return err
			}
			s.tellSpeed(ctx, spec.Image)
			if moved {
				if kept, err := suspended(ctx, s.vm); err != nil {
					return err
				} else if !kept { // as the step before has said
					return s.bootAgain(ctx, report)
				}
			}
			err = s.wake(ctx, report)
			if err == nil || ctx.Err() != nil || s.refused(err) {
				return err
			}
			if errors.Is(err, errCutOff) { // the memory is as good as it was
				return s.ended(err)
			}
			return s.cold(ctx, report, err)
		},
		Undo: func(ctx context.Context) error { return s.undoResume(ctx, moved) },
	}
}

func (s *start) undoResume(ctx context.Context, moved bool) error {
	if s.stored == nil || s.vm == nil {
		return nil // taking a spare is rolled back as a whole
	}
	if s.seen.machine == machine.Paused && !moved {
		return s.pauseAgain(ctx)
	}
	if suspender, ok := s.vm.(drivers.Suspender); ok {
		emit(s.sink, Event{Profile: s.config.Profile, Step: "resume", Text: "Suspend machine " + s.config.Profile + ", as it was before"}, Info)
		if suspender.Suspend(ctx) == nil {
			return nil
		}
	}
	return s.stopAgain(ctx)
}

func (s *start) whyResumes(moved bool) string {
	switch {
	case moved:
		return "it was suspended"
	case s.seen.machine == machine.Paused:
		return "it is paused"
	case s.spare != nil:
		return "its memory was kept when the spare was ready"
	}
	return "its memory was kept when it was stopped"
}

// refused reports whether err is about this host, and the machine's memory is as good as it was: a clock that is wrong, keys that
// are damaged here and on the machine, or a skiff that is older than the memory. The memory is saved again then, for the start that
// follows the repair. Of a warm spare nobody misses anything, so one with damaged keys is replaced.
func (s *start) refused(err error) bool {
	return fail.Is(err, fail.ClockWrong) || fail.Is(err, fail.StateNewer) || s.spare == nil && fail.Is(err, fail.StateCorrupt)
}

// pauseAgain pauses a machine that was paused before. It must not run on: its clock may not have been set. Nor does its agent wake
// it any more, as after Pause: callers would wait for a machine that the agent takes for awake.
func (s *start) pauseAgain(ctx context.Context) error {
	pauser, ok := s.vm.(drivers.Pauser)
	if !ok {
		return nil
	}
	emit(s.sink, Event{Profile: s.config.Profile, Step: "resume", Text: "Pause machine " + s.config.Profile + ", as it was before"}, Info)
	if err := s.tell(ctx, s.config, 0); err != nil {
		return err
	}
	return pauser.Pause(ctx)
}

// wake lets the machine go on, and sets right what it missed, its clock before all else.
func (s *start) wake(ctx context.Context, report Report) error {
	if err := images.Verify(ctx, s.Home.BaseImage(s.config.Image)); err != nil {
		return err
	}
	state, err := s.vm.State(ctx)
	if err != nil {
		return err
	}
	heard := consoleOf(s.vm)
	suspender, ok := s.vm.(drivers.Suspender)
	restored := ok && state == machine.Stopped
	if restored {
		err = suspender.Resume(ctx)
	} else {
		err = s.vm.Start(ctx)
	}
	if err != nil {
		return err
	}
	if restored && s.says(ctx, heard) {
		s.resumed, s.heard = true, heard
		return nil
	}
	report("waiting for it to answer over SSH", 0, 0)
	err = s.whileRuns(ctx, func(ctx context.Context) error {
		return rouse(ctx, s.Kubernetes, s.vm, s.target(s.config), report)
	})
	if err != nil {
		return err
	}
	s.resumed = true
	return nil
}

// says waits for the machine to say on its console that it is awake, and reports whether nothing else is to be done then.
func (s *start) says(ctx context.Context, heard *console) bool {
	if heard == nil || s.AwakeGrace == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, s.AwakeGrace)
	defer cancel()
	current := false
	err := heard.until(ctx, func(line string) (awake bool) {
		awake, current = s.Kubernetes.Awake(s.target(s.config), line)
		return awake
	})
	return err == nil && current
}

// rouse sets a machine right that goes on from an earlier time.
func rouse(ctx context.Context, kubernetes Kubernetes, vm machine.Runner, c Target, report Report) error {
	ctx, cancel := context.WithTimeout(ctx, renewLimit)
	defer cancel()
	answering, stop := context.WithTimeout(ctx, resumeLimit)
	defer stop()
	if err := machine.Wait(answering, vm); err != nil {
		return fmt.Errorf("it did not answer: %w", err)
	}
	return kubernetes.Wake(ctx, vm, c, report)
}

// awake waits until a resumed cluster is usable. One that does not come back in good time boots instead.
func (s *start) awake(ctx context.Context, vm machine.Machine, report Report) error {
	limited, cancel := context.WithTimeout(ctx, awakeLimit)
	defer cancel()
	err := s.whileRuns(limited, func(ctx context.Context) error {
		if s.heard != nil {
			return s.Kubernetes.WaitAgain(ctx, s.target(s.config), s.heard.until, report)
		}
		return s.Kubernetes.Wait(ctx, vm, s.target(s.config), report)
	})
	if err == nil || ctx.Err() != nil || s.refused(err) {
		return err
	}
	if errors.Is(err, errCutOff) { // the memory is as good as it was
		return s.ended(err)
	}
	took := s.spare != nil
	if err := s.cold(ctx, report, err); err != nil {
		return err
	}
	if took { // what was told of the keys of the spare is wrong now
		for _, step := range []Step{s.services(), s.context()} {
			if err := step.Do(ctx, report); err != nil {
				return err
			}
		}
	}
	return s.usable(ctx, report)
}

// cold throws away the memory that is of no use, says so, and boots the machine from its disk.
func (s *start) cold(ctx context.Context, report Report, cause error) error {
	s.resumed = false
	s.early.end()
	s.early = nil
	if s.spare != nil { // its disk is no better than its memory, and has nothing that anybody would miss
		return s.anew(ctx, report, cause)
	}
	s.warn("resume", "cluster %s cannot resume from its saved memory (%s), so it boots from its disk", s.config.Profile, oneLine(cause))
	report("powering it off", 0, 0)
	if err := s.vm.Stop(ctx); err != nil {
		return wrap(fail.MachineFailed, err, "stop cluster %s", s.config.Profile)
	}
	return s.bootAgain(ctx, report)
}

// bootAgain boots a machine that was to be resumed.
func (s *start) bootAgain(ctx context.Context, report Report) error {
	if err := s.boot(true, false).Do(ctx, report); err != nil {
		return err
	}
	if s.large() {
		if err := s.grow().Do(ctx, report); err != nil {
			return err
		}
	}
	return s.kubernetes().Do(ctx, report)
}

// suspended reports whether a machine is stopped with its memory kept, which not all machines can be.
func suspended(ctx context.Context, vm machine.Machine) (bool, error) {
	suspender, able := vm.(drivers.Suspender)
	if !able {
		return false, nil
	}
	return suspender.Suspended(ctx)
}

// oneLine is an error as a part of a sentence: several that were joined stand on lines of their own.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

func (s *start) warn(step, format string, args ...any) {
	emit(s.sink, Event{Profile: s.config.Profile, Step: step, Text: fmt.Sprintf(format, args...)}, Warning)
}
