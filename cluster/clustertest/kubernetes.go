package clustertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/machine"
)

// Kubernetes is a Kubernetes that is only a file in the cluster's folder. Its machine must run for it to be usable.
type Kubernetes struct {
	Faults Faults
	// Says is "current" or "stale" where a machine that was resumed says on its console that it is awake, with such certificates.
	Says string
	// Stalls is what a wait without progress says, in Up and in Wait.
	Stalls string
}

var _ cluster.Kubernetes = Kubernetes{}

// state is what the file holds.
type state struct {
	Up     bool     `json:"up"`
	Tuning string   `json:"tuning,omitempty"` // its plan's name
	Addons []string `json:"addons,omitempty"`
}

func file(c cluster.Target) string { return filepath.Join(c.Files.Dir, "fake-kubernetes.json") }

func read(c cluster.Target) (state, error) {
	var s state
	content, err := os.ReadFile(file(c))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(content, &s)
	}
	return s, err
}

func (s state) write(c cluster.Target) error {
	content, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return os.WriteFile(file(c), content, 0o600)
}

// Prepare implements cluster.Kubernetes: it writes the cluster's own kubeconfig.
func (k Kubernetes) Prepare(ctx context.Context, c cluster.Target) error {
	return k.Faults.do(ctx, "kubernetes.prepare", func() error {
		if err := os.MkdirAll(c.Files.PKI(), 0o700); err != nil {
			return err
		}
		return os.WriteFile(c.Files.Kubeconfig(), Kubeconfig(c.Config.Profile, c.Config.Address.String()), 0o600)
	})
}

// Kubeconfig is a kubeconfig for the cluster of that name at that address, with a token in place of keys.
func Kubeconfig(name, address string) []byte {
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: %[1]s
clusters:
- name: %[1]s
  cluster: {server: "https://%[2]s:6443"}
contexts:
- name: %[1]s
  context: {cluster: %[1]s, user: %[1]s}
users:
- name: %[1]s
  user: {token: fake}
`, name, address)
}

// Up implements cluster.Kubernetes.
func (k Kubernetes) Up(ctx context.Context, m machine.Runner, c cluster.Target, report cluster.Report) error {
	report("kubeadm init", 0, 0)
	k.stall(c)
	return k.Faults.do(ctx, "kubernetes.up",
		func() error {
			_, err := m.Run(ctx, machine.Cmd{Args: []string{"kubeadm", "init"}})
			return err
		},
		func() error { return change(c, func(s *state) { s.Up, s.Tuning = true, c.Tuning(ctx).Name }) })
}

func (k Kubernetes) stall(c cluster.Target) {
	if k.Stalls != "" && c.Stalled != nil {
		c.Stalled(k.Stalls)
	}
}

func change(c cluster.Target, how func(*state)) error {
	s, err := read(c)
	if err != nil {
		return err
	}
	how(&s)
	return s.write(c)
}

// Wake implements cluster.Kubernetes.
func (k Kubernetes) Wake(ctx context.Context, m machine.Runner, _ cluster.Target, _ cluster.Report) error {
	return k.Faults.do(ctx, "kubernetes.wake", func() error {
		_, err := m.Run(ctx, machine.Cmd{Args: []string{"wake"}})
		return err
	})
}

// Quiesce implements cluster.Kubernetes.
func (k Kubernetes) Quiesce(ctx context.Context, m machine.Runner, _ cluster.Target) (release func(), err error) {
	err = k.Faults.do(ctx, "kubernetes.quiesce", func() error {
		_, err := m.Run(ctx, machine.Cmd{Args: []string{"quiesce"}})
		return err
	})
	return func() { _, _ = m.Run(context.WithoutCancel(ctx), machine.Cmd{Args: []string{"release"}}) }, err
}

// Awake implements cluster.Kubernetes: the machines of package fake write what they are.
func (k Kubernetes) Awake(_ cluster.Target, line string) (awake, current bool) {
	return k.Says != "" && strings.HasSuffix(line, string(machine.Running)), k.Says == "current"
}

// WaitAgain implements cluster.Kubernetes.
func (k Kubernetes) WaitAgain(ctx context.Context, c cluster.Target, next cluster.Heard, report cluster.Report) error {
	if next == nil {
		return errors.New("nobody listens to the machine")
	}
	return k.Wait(ctx, nil, c, report)
}

// Wait implements cluster.Kubernetes.
func (k Kubernetes) Wait(ctx context.Context, _ machine.Runner, c cluster.Target, report cluster.Report) error {
	report("cluster DNS", 0, 0)
	k.stall(c)
	return k.Faults.do(ctx, "kubernetes.wait", func() error { return k.Usable(ctx, c) })
}

// Usable implements cluster.Kubernetes.
func (k Kubernetes) Usable(ctx context.Context, c cluster.Target) error {
	return k.Faults.do(ctx, "kubernetes.usable", func() error {
		s, err := read(c)
		if err == nil && !s.Up {
			err = errors.New("the API server does not answer")
		}
		return err
	})
}

// Enable implements cluster.Kubernetes.
func (k Kubernetes) Enable(ctx context.Context, c cluster.Target, addon string, _ cluster.Report) error {
	return k.Faults.do(ctx, "kubernetes.enable",
		func() error { return nil },
		func() error {
			return change(c, func(s *state) {
				if !slices.Contains(s.Addons, addon) {
					s.Addons = append(s.Addons, addon)
				}
			})
		})
}

// EnableAgain implements cluster.Kubernetes.
func (k Kubernetes) EnableAgain(ctx context.Context, c cluster.Target, addon string, report cluster.Report) error {
	there := false
	err := k.Faults.do(ctx, "kubernetes.enableAgain", func() error {
		s, err := read(c)
		there = slices.Contains(s.Addons, addon)
		return err
	})
	if err != nil || there {
		return err
	}
	return k.Enable(ctx, c, addon, report)
}

// Disable implements cluster.Kubernetes.
func (k Kubernetes) Disable(ctx context.Context, c cluster.Target, addon string) error {
	return k.Faults.do(ctx, "kubernetes.disable", func() error {
		return change(c, func(s *state) {
			s.Addons = slices.DeleteFunc(s.Addons, func(have string) bool { return have == addon })
		})
	})
}

// Enabled implements cluster.Kubernetes.
func (k Kubernetes) Enabled(ctx context.Context, c cluster.Target) (map[string]bool, error) {
	enabled := map[string]bool{}
	err := k.Faults.do(ctx, "kubernetes.enabled", func() error {
		s, err := read(c)
		for _, addon := range s.Addons {
			enabled[addon] = true
		}
		return err
	})
	return enabled, err
}
