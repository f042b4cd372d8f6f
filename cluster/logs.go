package cluster

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
)

// LogSource is one log of a cluster.
type LogSource struct {
	Name string // "agent", "boot", a step's ID, or "guest"
	Path string // file on the host; empty for the guest's journal
}

// Logs lists the logs that there are of a cluster, also of one whose creation failed: files on the host in order of last
// change, then the guest's journal when the machine answers. Nothing at all gives fail.ClusterNotFound.
func (m *Manager) Logs(ctx context.Context, profile string) ([]LogSource, machine.Machine, error) {
	if err := config.ValidateProfile(profile); err != nil {
		return nil, nil, err
	}
	files := m.Home.Cluster(profile)
	entries, err := os.ReadDir(files.Logs())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	var sources []LogSource
	for _, entry := range entries {
		if name := entry.Name(); filepath.Ext(name) == ".log" {
			sources = append(sources, LogSource{Name: name[:len(name)-len(".log")], Path: filepath.Join(files.Logs(), name)})
		}
	}
	c, err := m.Load(profile)
	if err != nil {
		if len(sources) > 0 {
			return sources, nil, nil
		}
		return nil, nil, err
	}
	vm, err := m.part(c)
	if err != nil {
		return sources, nil, err
	}
	if consoler, ok := vm.(drivers.Consoler); ok {
		if _, err := os.Stat(consoler.ConsoleLog()); err == nil {
			sources = append(sources, LogSource{Name: "boot", Path: consoler.ConsoleLog()})
		}
	}
	if _, running, err := m.running(ctx, profile); err == nil {
		return append(sources, LogSource{Name: "guest"}), running, nil
	} else if !fail.Is(err, fail.ClusterNotRunning) && (len(sources) == 0 || ctx.Err() != nil) {
		return sources, nil, err
	}
	return sources, nil, nil // what lies on the host is there also when nobody can ask for the machine
}

// keepConsole copies the console's log to where it outlives the machine, as boot.log. It is a help and no more: what
// fails is left out.
func (m *Manager) keepConsole(vm machine.Machine, profile string) {
	consoler, ok := vm.(drivers.Consoler)
	if !ok {
		return
	}
	from, err := os.Open(consoler.ConsoleLog())
	if err != nil {
		return
	}
	defer func() { _ = from.Close() }()
	to, err := os.OpenFile(m.Home.Cluster(profile).StepLog("boot"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	defer func() { _ = to.Close() }()
	_, _ = io.Copy(to, from)
}
