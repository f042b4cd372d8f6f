package cluster

import (
	"context"

	"github.com/skiff-k8s/skiff/addons"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/images"
	"path/filepath"
)

// AddonStatus is one addon of the catalog, as it is in a cluster.
type AddonStatus struct {
	Name        string
	Description string
	Profile     string
	Enabled     bool
}

// Addons lists the catalog with what is enabled in a cluster. Of a cluster that does not run it tells what its file says;
// without a cluster nothing is enabled.
func (m *Manager) Addons(ctx context.Context, profile string) ([]AddonStatus, error) {
	catalog, err := addons.Catalog()
	if err != nil {
		return nil, err
	}
	c, err := m.Load(profile)
	if err != nil && !fail.Is(err, fail.ClusterNotFound) {
		return nil, err
	}
	on := map[string]bool{}
	for _, name := range c.Addons {
		on[name] = true
	}
	list := make([]AddonStatus, len(catalog))
	for i, addon := range catalog {
		list[i] = AddonStatus{Name: addon.Name, Description: addon.Description, Profile: profile, Enabled: on[addon.Name]}
	}
	return list, nil
}

// EnableAddon applies an addon to a running cluster, returns once it is Available, and remembers it. Twice is as once.
func (m *Manager) EnableAddon(ctx context.Context, profile, name string, sink Sink) error {
	if _, err := addons.Find(name); err != nil {
		return err
	}
	return m.change(ctx, profile, name, true, sink, func(target Target, report Report) error {
		return m.Kubernetes.Enable(ctx, target, name, report)
	})
}

// DisableAddon removes an addon from a running cluster. One that is not there is no error.
func (m *Manager) DisableAddon(ctx context.Context, profile, name string, sink Sink) error {
	if _, err := addons.Find(name); err != nil {
		return err
	}
	return m.change(ctx, profile, name, false, sink, func(target Target, _ Report) error {
		return m.Kubernetes.Disable(ctx, target, name)
	})
}

// change does one thing to an addon of a running cluster, under the cluster's lock, and writes down what then holds.
func (m *Manager) change(ctx context.Context, profile, name string, on bool, sink Sink, do func(Target, Report) error) error {
	c, release, err := m.hold(profile)
	if err != nil {
		return err
	}
	defer release()
	vm, err := m.runningOf(ctx, c)
	if err != nil {
		return err
	}
	verb := map[bool]string{true: "Enable", false: "Disable"}[on]
	step := Step{ID: "addon-" + name, Text: verb + " addon " + name, Why: "it was asked for"}
	step.Do = func(ctx context.Context, report Report) error {
		target := m.target(c)
		target.Stalled = stalls(profile, step.ID, sink)
		return guestFull(ctx, vm, c, do(target, report))
	}
	plan := Plan{Profile: profile, Steps: []Step{step}}
	if err := Apply(ctx, plan, func(error) bool { return true }, sink); err != nil {
		return err
	}
	c.Addons = enabledAddons(c.Addons, name, on)
	return m.save(c)
}

// tool is the host's kubectl, with "convert" built in, of the guest image with that digest.
func (m *Manager) tool(digest string) string {
	return filepath.Join(m.Home.BaseImage(digest), images.KubectlName)
}

// Converter returns the tool that raises manifests: the cluster's when there is one, else that of the built image. It
// needs no running cluster.
func (m *Manager) Converter(profile string) (tool string, err error) {
	if c, err := m.Load(profile); err == nil {
		if _, err := images.ReadManifest(m.Home.BaseImage(c.Image)); err == nil {
			return m.tool(c.Image), nil
		}
	}
	if _, err := images.ReadManifest(m.Built); err != nil {
		return "", err
	}
	return filepath.Join(m.Built, images.KubectlName), nil
}
