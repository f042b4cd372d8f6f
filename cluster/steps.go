package cluster

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/images"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision/kubeconfig"
	"github.com/skiff-k8s/skiff/provision/ssh"
	"github.com/skiff-k8s/skiff/store"
)

// bootLimit bounds the time from power-on to an SSH answer: 11 s under emulation on an idle host, and hosts are not
// always idle.
const bootLimit = 3 * time.Minute

// plan decides what is to be done, from what was seen alone.
func (s *start) plan() Plan {
	plan := Plan{Profile: s.config.Profile}
	add := plan.add
	alive := s.seen.machine == machine.Running || s.seen.machine == machine.Paused
	resized := s.stored != nil && (s.stored.CPUs != s.config.CPUs || s.stored.MemoryMiB != s.config.MemoryMiB)
	larger := s.stored != nil && s.stored.DiskBytes < s.config.DiskBytes
	orphaned := alive && s.seen.agent == nil && s.config.SSH == nil // a machine that exists has a network of its own
	const lost = "its agent has ended, and with it its network"
	takes := s.spare != nil
	moves := orphaned && !resized && s.seen.suspends && s.config.Provisioned // from its old network to a new one
	resumes := takes || !resized && !s.seen.mute && (s.seen.suspended || moves || s.seen.machine == machine.Paused && !orphaned)
	boots := !resumes && (!alive || resized || orphaned)
	rekeyed := s.rekeyed()
	works := !boots && !resumes && s.config.Provisioned && s.seen.usable == nil

	add(!s.seen.image, s.image())
	add(s.readdressed(), s.readdress())
	if takes {
		plan.Steps = append(plan.Steps, s.take())
	}
	add(!takes && (s.stored == nil || s.seen.machine == machine.Absent), s.create())
	add(s.seen.mute, s.powerOff("its control socket is gone")) // before the agent, through which the guest is asked
	add(alive && resized, s.powerOff("its size changes"))
	add(moves, s.suspend(lost))
	add(orphaned && !resized && !moves, s.powerOff(lost))
	add(rekeyed, s.rekey())
	add(s.seen.agent == nil || rekeyed, s.agent())
	add(resumes, s.resume(moves))
	add(boots, s.boot(alive, s.seen.suspended))
	add(boots && s.large() || larger && !resumes, s.grow())
	add(!works && (!resumes || !s.config.Provisioned), s.kubernetes())
	watched := !boots && !rekeyed && s.seen.agent != nil && s.seen.agent.Watching
	add(!watched, s.services())
	plan.Steps = append(plan.Steps, s.tells(rekeyed)...)
	add(s.wantsContext() || s.readdressed(), s.context())
	lacking := slices.DeleteFunc(slices.Clone(s.config.Addons), func(addon string) bool { return s.seen.enabled[addon] })
	add((!works || !watched) && !s.options.NoWait, s.wait(lacking...))
	add(larger && resumes, s.grow())
	for _, addon := range lacking {
		add(true, s.addon(addon))
	}
	return plan
}

// tells are the steps by which an agent that runs learns of what has changed; one that is started for new keys knows it.
func (s *start) tells(rekeyed bool) (steps []Step) {
	if s.seen.agent == nil || rekeyed {
		return nil
	}
	if s.seen.agent.AutoPause != s.config.AutoPause.Duration() {
		steps = append(steps, s.autoPause())
	}
	if s.toldAccess().String() != s.config.HostAccess.String() {
		steps = append(steps, s.hostAccess())
	}
	if !slices.Equal(s.seen.agent.InsecureRegistries, s.config.InsecureRegistries) {
		steps = append(steps, s.insecureRegistries())
	}
	return steps
}

// why picks the reason: first for a new cluster, else then.
func (s *start) why(first, then string) string {
	if s.stored == nil {
		return first
	}
	return then
}

func (s *start) image() Step {
	return Step{
		ID: "image", Text: "Install the guest image (Kubernetes " + s.config.KubernetesVersion + ")",
		Why: s.why("no cluster on this host has used it yet", "it is gone, or not whole any more"),
		Do: func(ctx context.Context, report Report) error {
			// Another cluster's first start may be installing the very same.
			release, err := store.Lock(ctx, s.Home.BaseLock(), s.holder(), func(other store.Holder) {
				emit(s.sink, Event{Profile: s.config.Profile, Step: "image", Text: fmt.Sprintf("Waiting for %s, which uses the guest images", other)}, Info)
			})
			if err != nil {
				return store.NoSpace("install the guest image", err)
			}
			defer release()
			if err := images.Sweep(s.Home.BaseImage(s.config.Image)); err != nil {
				return err
			}
			return images.Install(ctx, s.Built, s.Home.BaseImage(s.config.Image), func(done, total int64) { report("", done, total) })
		},
	}
}

func (s *start) create() Step {
	return Step{
		ID:   "create",
		Text: wordsOf(s.config).create,
		Why:  s.why("there is no cluster "+s.config.Profile, "the cluster has no machine"),
		Do: func(ctx context.Context, _ Report) error {
			driver, err := s.driver(s.config)
			if err != nil {
				return err
			}
			if err := s.claim(); err != nil {
				return err
			}
			if err := s.keys(); err != nil {
				return err
			}
			spec, err := s.spec(s.config)
			if err != nil {
				return err
			}
			if s.vm, err = driver.Create(ctx, spec); err == nil {
				s.config.NetworkAddress, err = joined(ctx, s.vm)
			}
			return wrap(fail.MachineFailed, err, "create the machine of cluster %s", s.config.Profile)
		},
		Undo: func(ctx context.Context) error {
			if s.stored != nil {
				return nil // what was there before this run is not this run's to remove
			}
			return s.remove(ctx, s.config, true)
		},
	}
}

// keys makes the node's folders and its SSH keys, unless they are there.
func (s *start) keys() error {
	own := s.files.Node(node)
	for _, dir := range []string{own.Dir, own.Run, s.files.Logs(), s.files.PKI()} {
		if err := store.Folder(dir); err != nil {
			return err
		}
	}
	if key, err := readKey(own.HostKey()); err != nil || key != nil {
		return err
	}
	identity, err := ssh.GenerateIdentity("skiff")
	if err != nil {
		return err
	}
	if err := store.Write(own.UserKey(), identity.UserKey, 0o600); err != nil {
		return err
	}
	return store.Write(own.HostKey(), identity.HostKey, 0o600)
}

func (s *start) powerOff(why string) Step {
	return Step{
		ID: "poweroff", Text: wordsOf(s.config).off, Why: why,
		Do: func(ctx context.Context, _ Report) error {
			vm, _, err := s.machine(s.config)
			if err != nil {
				return err
			}
			return wrap(fail.MachineFailed, vm.Stop(ctx), "stop cluster %s", s.config.Profile)
		},
	}
}

func (s *start) agent() Step {
	return Step{
		ID: "agent", Text: "Start the agent (network and published ports)", Why: s.why("the cluster is new", "none answers"),
		Do: func(ctx context.Context, _ Report) error {
			if err := s.keys(); err != nil { // the folder of sockets does not outlive a reboot of the host
				return err
			}
			ctx, cancel := context.WithTimeout(ctx, agentStart)
			defer cancel()
			err := s.Agents.Start(ctx, s.files.AgentConfig(), s.agentConfig(s.config))
			if fail.Is(err, fail.PortInUse) && s.claimAgain(ctx) {
				err = s.Agents.Start(ctx, s.files.AgentConfig(), s.agentConfig(s.config))
			}
			return wrap(fail.AgentFailed, err, "start cluster %s: start its agent", s.config.Profile)
		},
		Undo: func(ctx context.Context) error {
			return s.Agents.Stop(ctx, s.files.AgentSocket(), s.files.AgentConfig())
		},
	}
}

func (s *start) boot(ran, suspended bool) Step {
	why := s.why("it is new", "it does not run")
	switch {
	case ran:
		why = "it was powered off"
	case suspended:
		why = "its size changes, so that its saved memory does not fit any more"
	}
	return Step{
		ID: "boot", Text: wordsOf(s.config).boot, Why: why,
		Do: func(ctx context.Context, report Report) error {
			if err := images.Verify(ctx, s.Home.BaseImage(s.config.Image)); err != nil {
				return err
			}
			if err := s.save(s.config); err != nil {
				return err
			}
			vm, spec, err := s.machine(s.config)
			if err != nil {
				return err
			}
			s.vm = vm
			s.tellSpeed(ctx, spec.Image)
			if err := power(ctx, vm, report); err != nil {
				return wrap(fail.MachineFailed, err, "boot cluster %s", s.config.Profile)
			}
			report("making keys while it boots", 0, 0)
			if err := s.Kubernetes.Prepare(ctx, s.target(s.config)); err != nil {
				return err
			}
			report("waiting for it to answer over SSH", 0, 0)
			return s.answer(ctx, spec)
		},
		Undo: func(ctx context.Context) error {
			if s.stored == nil || s.vm == nil {
				return nil // creation is rolled back as a whole
			}
			return s.stopAgain(ctx)
		},
	}
}

// stopAgain powers off a machine that was off before. A guest that boots takes its time, so the user is told, and may have it
// end at once: whoever starts it next is not to meet one that is on its way down.
func (s *start) stopAgain(ctx context.Context) error {
	text := wordsOf(s.config).off + ", as it was before"
	if s.Hurry != nil && s.config.SSH == nil {
		asked, release := s.Hurry()
		defer release()
		ctx = machine.WithHurry(ctx, asked)
		text += "; another Ctrl-C does not wait for its guest"
	}
	emit(s.sink, Event{Profile: s.config.Profile, Step: "boot", Text: text}, Info)
	return s.vm.Stop(ctx)
}

// power starts the machine, and lets it tell how far it is where it can.
func power(ctx context.Context, vm machine.Machine, report Report) error {
	if slow, ok := vm.(drivers.Reporting); ok {
		return slow.StartReporting(ctx, report)
	}
	return vm.Start(ctx)
}

// answer waits until commands run on the machine.
func (s *start) answer(ctx context.Context, spec machine.Spec) error {
	waiting, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	err := s.whileRuns(waiting, func(ctx context.Context) error { return machine.Wait(ctx, s.vm) })
	if isEnd(err) {
		return s.ended(err)
	}
	if err != nil && ctx.Err() == nil {
		return fail.New(fail.BootTimeout, "boot cluster "+s.config.Profile, "%s did not answer: %w", spec.SSH.Address, err).
			WithNext("skiff logs -p %s --step boot", s.config.Profile)
	}
	return err
}

func (s *start) kubernetes() Step {
	return Step{
		ID: "kubernetes", Text: "Bring up Kubernetes " + s.config.KubernetesVersion,
		Why: s.why("the cluster is new", s.reason()),
		Do: func(ctx context.Context, report Report) error {
			vm, err := s.reached()
			if err != nil {
				return err
			}
			if err := s.Kubernetes.Prepare(ctx, s.target(s.config)); err != nil {
				return err
			}
			err = s.whileRuns(ctx, func(ctx context.Context) error { return s.Kubernetes.Up(ctx, vm, s.target(s.config), report) })
			if err != nil {
				return s.ended(guestFull(ctx, vm, s.config, err))
			}
			s.config.Provisioned = true
			return s.save(s.config)
		},
	}
}

// reason says why Kubernetes needs a hand.
func (s *start) reason() string {
	if s.seen.machine != machine.Running {
		return errNotRunning.Error()
	}
	if s.seen.usable != nil {
		return s.seen.usable.Error()
	}
	return "the machine boots"
}

// reached returns the machine's handle, also when this run did not boot it.
func (s *start) reached() (machine.Machine, error) {
	if s.vm != nil {
		return s.vm, nil
	}
	vm, _, err := s.machine(s.config)
	s.vm = vm
	return vm, err
}

func (s *start) services() Step {
	return Step{
		ID: "services", Text: "Publish Services on " + publishedOn(s.config), Why: "the agent does not watch them yet",
		Do: func(ctx context.Context, _ Report) error {
			own, err := os.ReadFile(s.files.Kubeconfig())
			if err != nil {
				return err
			}
			return wrap(fail.AgentFailed, s.Agents.Watch(ctx, s.files.AgentSocket(), own), "start cluster %s: publish its Services", s.config.Profile)
		},
	}
}

func publishedOn(c config.Cluster) string {
	if !c.Address.IsValid() {
		return "the cluster's address"
	}
	return c.Address.String()
}

// wantsContext reports whether the user's kubeconfig needs a change.
func (s *start) wantsContext() bool {
	return !s.seen.kubeconfig.Configured || !s.options.KeepContext && !s.seen.kubeconfig.Current
}

func (s *start) context() Step {
	why := s.why("the cluster is new", "it is not there, or not the current one")
	if s.readdressed() {
		why = "the cluster's address changes"
	}
	return Step{
		ID: "kubeconfig", Text: fmt.Sprintf("Add context %q to the kubeconfig", s.config.Profile),
		Why: why,
		Do: func(ctx context.Context, _ Report) error {
			own, err := os.ReadFile(s.files.Kubeconfig())
			if err != nil {
				return err
			}
			err = kubeconfig.Merge(ctx, s.Kubeconfig, s.config.Profile, own, !s.options.KeepContext)
			return foreign(err, s.config.Profile, s.stored != nil)
		},
		Undo: func(ctx context.Context) error {
			if s.stored != nil {
				return nil
			}
			return s.dropContext(ctx, s.config.Profile)
		},
	}
}

// wait has early a look at addons whose steps come later.
func (s *start) wait(addons ...string) Step {
	return Step{
		ID: "wait", Text: "Wait until the cluster is usable", Why: "start returns when node and DNS answer",
		Do: func(ctx context.Context, report Report) error {
			vm, err := s.reached()
			if err != nil {
				return err
			}
			if s.resumed {
				s.early = s.enableEarly(ctx, addons)
			}
			waiting := ctx
			if s.options.WaitTimeout > 0 {
				var cancel context.CancelFunc
				waiting, cancel = context.WithTimeout(ctx, s.options.WaitTimeout)
				defer cancel()
			}
			if s.resumed {
				err = s.awake(waiting, vm, report)
			} else {
				err = s.usable(waiting, report)
			}
			if err != nil {
				return guestFull(ctx, vm, s.config, err)
			}
			return s.published(waiting)
		},
	}
}

// usable waits until the cluster is.
func (s *start) usable(ctx context.Context, report Report) error {
	return s.ended(s.whileRuns(ctx, func(ctx context.Context) error {
		return s.Kubernetes.Wait(ctx, s.vm, s.target(s.config), report)
	}))
}

// publishLimit is how long start waits for the ports of Services when all else is there. The agent asks again by itself, with
// growing pauses, so a cluster whose ports come later is no failure.
const publishLimit = 5 * time.Second

// published waits for the ports of Services: who reads that the cluster is ready asks something of them next.
func (s *start) published(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, publishLimit)
	defer cancel()
	err := s.Agents.Published(limited, s.files.AgentSocket())
	if limited.Err() != nil && ctx.Err() == nil {
		return nil
	}
	return wrap(fail.AgentFailed, err, "start cluster %s: publish its Services", s.config.Profile)
}

func (s *start) addon(name string) Step {
	return Step{
		ID: "addon-" + name, Text: "Enable addon " + name, Why: "it was asked for",
		Do: func(ctx context.Context, report Report) error {
			vm, err := s.reached()
			if err != nil {
				return err
			}
			switch done := s.early.of(name); {
			case done != nil:
				report("waiting for its pods", 0, 0)
				err = <-done
			case s.resumed:
				err = s.Kubernetes.EnableAgain(ctx, s.target(s.config), name, report)
			default:
				err = s.Kubernetes.Enable(ctx, s.target(s.config), name, report)
			}
			if err != nil {
				return guestFull(ctx, vm, s.config, err)
			}
			return s.save(s.config) // an existing cluster learns here that it has the addon
		},
	}
}

// enabledAddons returns names with name added or left out.
func enabledAddons(names []string, name string, on bool) []string {
	names = slices.DeleteFunc(slices.Clone(names), func(have string) bool { return have == name })
	if on {
		names = append(names, name)
	}
	return names
}

// wrap gives err an ID, unless it has one already; nil stays nil.
func wrap(id fail.ID, err error, op string, args ...any) error {
	if err == nil || fail.Known(err) {
		return err
	}
	text := fmt.Sprintf(op, args...)
	if full := store.NoSpace(text, err); fail.Known(full) {
		return full
	}
	return fail.New(id, text, "%w", err)
}
