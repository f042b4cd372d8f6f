// Package doctor looks at everything on this host that skiff depends on, says what is wrong with it and which command
// mends that, and does what can be done without root. It looks at parts, not at clusters as a whole: how a cluster is,
// package cluster tells.
package doctor

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/skiff-k8s/skiff/agent"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/internal/host"
	"github.com/skiff-k8s/skiff/store"
)

// Host is what the checks look at. All of it is handed in, so that tests can show the doctor any host.
type Host struct {
	Version    string // of skiff
	Home       store.Home
	Built      string // folder of the guest image for new clusters
	Facts      host.Facts
	Env        func(name string) string
	Kubeconfig string           // the user's KUBECONFIG; empty for ~/.kube/config
	Drivers    []drivers.Driver // in the order in which "auto" tries them
	Named      []drivers.Driver // never tried by "auto": they count when a cluster uses them
	Settings   drivers.Settings // what the user has set for new clusters
	SSHAddress string           // of the machine to take over, as the user has set it; may be empty
	SSHKey     string           // file of the key to it, as the user has set it; may be empty
	Only       string           // the one driver that the user named, which alone is reported and counts; empty: all of them
	Agents     Agents
	Root       string // folder that holds proc, sys and etc; empty: "/"
	Now        func() time.Time
	// Synchronized reports whether something keeps the clock right, as host.Synchronized does.
	Synchronized func() (synchronized, known bool)
	FreeBytes    func(dir string) (int64, error)
	Listen       Listen
}

// Agents are the processes behind clusters, as cluster.Agents has them.
type Agents interface {
	// Status asks the agent behind socket. An error means that none answers.
	Status(ctx context.Context, socket string) (agent.Status, error)
	// Stop ends the agent that was started with configFile; nil when none runs.
	Stop(ctx context.Context, socket, configFile string) error
}

// Check is one thing to look at. Checks are independent of each other, and change nothing.
type Check struct {
	Name  string // short and stable, such as "clock"
	Limit time.Duration
	// Run returns what it found: one Finding that passes, or one for each thing that is wrong. What it cannot tell is a
	// warning that says so. Name need not be set.
	Run func(ctx context.Context) []Finding
}

// Finding is what a check found. A warning may be lived with; a failure keeps skiff from working.
type Finding struct {
	drivers.Finding
	Fix bool `json:"fix"` // Fix mends it, so the remedy need not be run by hand

	// mend puts it right and says what it did. It does nothing when nothing is wrong any more.
	mend func(ctx context.Context) (did string, err error)
}

// limit is how long a check may take that only looks at a few files.
const limit = 10 * time.Second

// Checks returns the checks of the host itself; drivers have their own.
func (h Host) Checks() []Check {
	return []Check{
		{"cpus", limit, h.cpus},
		{"memory", limit, h.memory},
		{"disk", limit, h.disk},
		{"control-groups", limit, h.controlGroups},
		{"clock", limit, h.clock},
		{"loopback", limit, h.loopback},
		{"ports", limit, h.ports},
		{"routes", limit, h.routes},
		{"dns", limit, h.dns},
		{"proxy", limit, h.proxy},
		{"folders", limit, h.folders},
		{"image", 2 * time.Minute, h.images}, // it reads all of them
		{"clusters", limit, h.clusters},
		{"kubeconfig", limit, h.kubeconfig},
		{"leftovers", 2 * time.Minute, h.leftovers}, // drivers give up after ten seconds, and may have several places
	}
}

// Examine looks at everything at once and returns the report. It changes nothing on the host, but that what drivers remember
// of accelerators is found out anew. A cancelled ctx ends it with an error.
func (h Host) Examine(ctx context.Context) (Report, error) {
	if _, ok := h.bootable(); ok {
		_ = os.Remove(h.Home.AcceleratorMemory())
	}
	return h.look(ctx)
}

func (h Host) look(ctx context.Context) (Report, error) {
	checks, places := h.Checks(), h.reported()
	report := Report{Drivers: make([]Driver, len(places)), Checks: []Finding{}}
	found := make([][]Finding, len(checks))
	var group sync.WaitGroup
	for i, check := range checks {
		group.Go(func() { found[i] = check.Do(ctx) })
	}
	for i, one := range places {
		group.Go(func() { report.Drivers[i] = h.examine(ctx, one) })
	}
	group.Wait()
	if err := ctx.Err(); err != nil {
		return Report{}, fmt.Errorf("look at this host: %w", context.Cause(ctx))
	}
	for _, findings := range found {
		report.Checks = append(report.Checks, findings...)
	}
	report.Drivers = join(report.Drivers)
	report.conclude(h.Only != "")
	return report, nil
}

// Do runs the check within its limit and gives its findings its name.
func (c Check) Do(ctx context.Context) []Finding {
	findings, ended := within(ctx, c.Limit, c.Run)
	if !ended {
		findings = []Finding{unknown("it took longer than %s to find out.", c.Limit)}
	}
	for i := range findings {
		findings[i].Name = c.Name
		findings[i].Fix = findings[i].mend != nil
	}
	return findings
}

// within runs look and reports whether it ended within its limit. One that does not heed the limit is left to itself.
func within[T any](ctx context.Context, limit time.Duration, look func(context.Context) T) (found T, ended bool) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	done := make(chan T, 1)
	go func() { done <- look(ctx) }()
	select {
	case found = <-done:
		return found, ctx.Err() == nil // what was found as the time was over is a guess
	case <-ctx.Done():
		return found, false
	}
}

func good(text string, args ...any) Finding { return finding(drivers.Good, "", text, args...) }

func warning(remedy, text string, args ...any) Finding {
	return finding(drivers.Warning, remedy, text, args...)
}

func failure(remedy, text string, args ...any) Finding {
	return finding(drivers.Failure, remedy, text, args...)
}

// unknown is for what a check could not find out: that is no pass.
func unknown(text string, args ...any) Finding {
	return finding(drivers.Warning, "", "Not known: "+text, args...)
}

func finding(level drivers.Level, remedy, text string, args ...any) Finding {
	return Finding{Finding: drivers.Finding{Level: level, Text: fmt.Sprintf(text, args...), Remedy: remedy}}
}

// mended returns f with a way to mend it.
func (f Finding) mended(mend func(context.Context) (string, error)) Finding {
	f.mend = mend
	return f
}
