package doctor

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/images"
	"github.com/skiff-k8s/skiff/machine"
)

// How long a driver may take.
const (
	driverLimit = 20 * time.Second // for its own checks: drivers give up what does not answer after ten, and say then what mends it
	guestLimit  = 30 * time.Second // to run a guest
)

// accelerator is the name of the finding that says what guests run on.
const accelerator = "accelerator"

// Driver is what was found of one driver. The first fields are named as minikube names its own.
type Driver struct {
	Name             string    `json:"name"`
	Installed        bool      `json:"installed"` // what it works with is there
	Healthy          bool      `json:"healthy"`   // nothing fails: it makes machines
	Running          bool      `json:"running"`   // what it works with answers; the same as Healthy
	NeedsImprovement bool      `json:"needsImprovement"`
	Error            string    `json:"error"`  // what fails first; empty when nothing does
	Reason           string    `json:"reason"` // the first finding that does not pass, whether it fails or warns
	Fix              string    `json:"fix"`    // the command that mends that; may be empty
	Doc              string    `json:"doc"`    // page about the driver
	Needed           bool      `json:"needed"` // its failures are the host's: it was named, is used, or none else works
	Findings         []Finding `json:"findings"`

	used  bool // by a cluster
	named bool // "auto" never tries it
}

// Summarize turns the findings of a driver's Check into what is known of it.
func Summarize(name string, findings []drivers.Finding) Driver {
	d := Driver{Name: name, Installed: true, Healthy: true, Doc: "drivers/" + name, Findings: []Finding{}}
	for _, one := range findings {
		d.Findings = append(d.Findings, Finding{Finding: one})
		switch one.Level {
		case drivers.Failure:
			if d.Healthy {
				d.Error, d.Reason, d.Fix = one.Text, one.Text, one.Remedy
			}
			d.Healthy = false
			d.Installed = d.Installed && !one.Missing
		case drivers.Warning:
			if d.Healthy && !d.NeedsImprovement {
				d.Reason, d.Fix = one.Text, one.Remedy
			}
			d.NeedsImprovement = true
		case drivers.Good:
		}
	}
	d.Running = d.Healthy
	return d
}

// Quick is what the driver's own checks find, which run no guest. A driver that does not answer in time fails.
func Quick(ctx context.Context, driver drivers.Driver) Driver {
	return Summarize(driver.Name(), quick(ctx, driver))
}

func quick(ctx context.Context, driver drivers.Driver) []drivers.Finding {
	findings, ended := within(ctx, driverLimit, driver.Check)
	if !ended {
		return []drivers.Finding{
			{
				Name: driver.Name(), Level: drivers.Failure, Remedy: "skiff doctor --driver " + driver.Name(),
				Text: fmt.Sprintf("It took longer than %s to find out what is wrong; alone, or when this host is less busy, it may be faster.", driverLimit),
			},
		}
	}
	return findings
}

// examine looks at one driver: what it finds itself, and how fast its guests run.
func (h Host) examine(ctx context.Context, at place) Driver {
	findings := quick(ctx, at.Driver)
	if accelerated, ok := at.Driver.(drivers.Accelerated); ok && Summarize("", findings).Healthy {
		findings = h.accelerator(ctx, accelerated, slices.Clone(findings))
	}
	d := Summarize(at.Name(), findings)
	d.used, d.named = at.used, at.named
	return d
}

// accelerator replaces what the driver assumes of its accelerator by what a guest shows that is run now.
func (h Host) accelerator(ctx context.Context, driver drivers.Accelerated, findings []drivers.Finding) []drivers.Finding {
	var assumed *drivers.Finding
	for i := range findings {
		if findings[i].Name == accelerator {
			assumed = &findings[i]
		}
	}
	if assumed == nil {
		findings = append(findings, drivers.Finding{})
		assumed = &findings[len(findings)-1]
		assumed.Name = accelerator
	}
	image, ok := h.bootable()
	if !ok {
		if assumed.Level == drivers.Good || assumed.Level == "" {
			assumed.Level, assumed.Remedy = drivers.Warning, images.Remake
			assumed.Text = "Not known: without a guest image no guest can be run, and only that shows what guests run on."
		}
		return findings
	}
	type answer struct{ name, note, words string }
	said, ended := within(ctx, guestLimit, func(ctx context.Context) (a answer) {
		a.name, a.note, a.words = driver.Accelerator(ctx, image)
		return a
	})
	switch {
	case !ended:
		assumed.Level, assumed.Remedy = drivers.Warning, ""
		assumed.Text = "Not known: the guest that shows what guests run on did not end in time."
	case said.note != "":
		assumed.Level, assumed.Text = drivers.Warning, sentence(said.note)
		if said.words != "" {
			assumed.Text += " The test said: " + sentence(said.words)
		}
	default:
		assumed.Level, assumed.Text, assumed.Remedy = drivers.Good, fmt.Sprintf("A guest ran with %s.", said.name), ""
	}
	return findings
}

// bootable returns the files of a guest image that is here. An installed one comes first: what a driver remembers of it
// serves the next start.
func (h Host) bootable() (machine.Image, bool) {
	var folders []string
	if built, err := images.ReadManifest(h.Built); err == nil {
		folders = append(folders, h.Home.BaseImage(built.Digest))
	}
	installed, _ := filepath.Glob(filepath.Join(h.Home.Base(), "*", images.ManifestName))
	for _, path := range installed {
		folders = append(folders, filepath.Dir(path))
	}
	for _, folder := range append(folders, h.Built) {
		manifest, err := images.ReadManifest(folder)
		if err != nil {
			continue
		}
		return machine.Image{
			Disk:    filepath.Join(folder, images.DiskName),
			Kernel:  filepath.Join(folder, images.KernelName),
			Initrd:  filepath.Join(folder, images.InitrdName),
			Cmdline: manifest.Cmdline, Emulator: manifest.Emulator(folder),
		}, true
	}
	return machine.Image{}, false
}

// described are the clusters that there are.
func (h Host) described() []described {
	profiles, err := h.Home.Profiles()
	if err != nil {
		return nil // the check of the folders says so
	}
	list := make([]described, 0, len(profiles))
	for _, profile := range profiles {
		one := described{profile: profile}
		one.config, one.err = readCluster(h.Home.Cluster(profile).File())
		list = append(list, one)
	}
	return list
}

// described is a cluster as its file has it.
type described struct {
	profile string
	config  config.Cluster
	err     error
}
