// Package tuning holds the settings of a machine that depend on what executes its instructions: one Plan for hardware, one for
// software emulation. Drivers and package provision each take their part of it. It is a leaf on the standard library.
// The reasons are in site/content/design/tuning.md.
package tuning

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Plan is a set of such settings. It is a value: it can be compared field by field and printed. A zero field leaves Linux, Go or
// Kubernetes its own default.
type Plan struct {
	Name string // for people
	// Kernel are words of the kernel's command line. Those that begin with "skiff.sched." are read by the guest image's initrd,
	// which writes what follows into the file of that name below /sys/kernel/debug/sched.
	Kernel []string
	// GoProcessors is GOMAXPROCS of etcd, the controller-manager, the scheduler and the kubelet.
	GoProcessors int
	// Readiness is how often the kubelet asks etcd, the API server and the scheduler whether they are ready.
	Readiness time.Duration
	// Progress is how often etcd tells the API server's watches that nothing has happened.
	Progress time.Duration
	// Timeouts are kubeadm's (kubeadm.k8s.io/v1beta4, Timeouts).
	Timeouts map[string]time.Duration
}

// Hardware is the plan for a machine whose instructions a processor executes: a virtual machine with hardware virtualisation, and
// all that is no virtual machine of skiff's.
func Hardware() Plan {
	return Plan{Name: "hardware"}
}

// Emulation is the plan for a virtual machine that QEMU emulates.
func Emulation() Plan {
	return Plan{
		Name: "software emulation",
		Kernel: []string{
			// They are for processors that execute the kernel's own instructions. QEMU translates those, and each mitigation costs.
			"mitigations=off",
			// The emulated processor's own clock is as good as the host's, which the kernel cannot know; the other clocks, and timers
			// finer than the kernel's tick, cost a way through QEMU's one lock at each use. On hardware the processors' clocks may
			// differ, and the kernel must look for that.
			"tsc=reliable", "highres=off",
			// Waiting for all processors to pass by takes an emulated machine long.
			"rcupdate.rcu_expedited=1",
			// Longer turns for programs: each change of program empties the processor's caches of translations, and an emulated one
			// looks for a long time until they are full again.
			"skiff.sched.min_granularity_ns=4000000", "skiff.sched.wakeup_granularity_ns=6000000",
		},
		// A Go program that waits most of the time else wakes a second thread for each thing it does: between them the threads of a
		// cluster's components take a tenth of an emulated machine.
		GoProcessors: 1,
		// kubeadm's static pods are asked every second, each time over a new TLS connection.
		Readiness: 10 * time.Second,
		// kubeadm has 5s. Each time the API server is told of every one of its watches that nothing has happened; what needs to know
		// it asks etcd by itself.
		Progress: time.Minute,
		// A busy machine is slow; whoever runs kubeadm has a limit of its own.
		Timeouts: map[string]time.Duration{
			"controlPlaneComponentHealthCheck": 10 * time.Minute,
			"kubeletHealthCheck":               10 * time.Minute,
			"kubernetesAPICall":                3 * time.Minute,
			"etcdAPICall":                      5 * time.Minute,
		},
	}
}

// Cmdline returns the kernel's command line for an image that has this one: the words of Emulation, which images of older versions
// of skiff have, are taken out, and the plan's own added.
func (p Plan) Cmdline(image string) string {
	emulated := Emulation().Kernel
	words := slices.DeleteFunc(strings.Fields(image), func(word string) bool { return slices.Contains(emulated, word) })
	return strings.Join(append(words, p.Kernel...), " ")
}

// String returns the plan for people, a setting on each line.
func (p Plan) String() string {
	var out strings.Builder
	fmt.Fprintf(&out, "tuning for %s\n", p.Name)
	line := func(what string, value any, set bool) {
		if !set {
			value = "default"
		}
		fmt.Fprintf(&out, "  %s: %v\n", what, value)
	}
	line("kernel", strings.Join(p.Kernel, " "), len(p.Kernel) > 0)
	line("GOMAXPROCS", p.GoProcessors, p.GoProcessors > 0)
	line("readiness probes", p.Readiness, p.Readiness > 0)
	line("progress of watches", p.Progress, p.Progress > 0)
	for _, name := range slices.Sorted(maps.Keys(p.Timeouts)) {
		line("kubeadm "+name, p.Timeouts[name], true)
	}
	if len(p.Timeouts) == 0 {
		line("kubeadm timeouts", nil, false)
	}
	return out.String()
}
