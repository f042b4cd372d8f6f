package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/skiff-k8s/skiff/agent"
	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/store"
)

// mendAll is the remedy for what no other command puts right.
const mendAll = "skiff doctor --fix"

// leftovers looks for what clusters left behind that are gone: machines, agents, sockets and locks.
func (h Host) leftovers(ctx context.Context) []Finding {
	profiles, err := h.Home.Profiles()
	if err != nil {
		return []Finding{unknown("%v.", err)}
	}
	used := map[string]bool{h.Home.SpareRuns(): true} // what is left there, the next command removes
	for _, profile := range profiles {
		used[h.Home.Cluster(profile).Run] = true
	}
	findings, mute := h.deadMachines(ctx, used)
	findings = append(findings, h.deadRuns(ctx, used, mute)...)
	findings = append(findings, h.deadLocks()...)
	if len(findings) == 0 {
		return []Finding{good("Nothing is left of clusters that are gone.")}
	}
	return findings
}

// deadMachines asks the drivers for machines whose cluster has no description any more. Those of another state folder are
// left alone, and so are their sockets: under another HOME the folder of sockets may still be the same one. mute are the
// drivers that may have machines and did not say so.
func (h Host) deadMachines(ctx context.Context, used map[string]bool) (findings []Finding, mute []string) {
	seen := map[string]bool{} // one place may have two names
	for _, driver := range h.everywhere() {
		machines, err := driver.Machines(ctx)
		if err != nil {
			state := Quick(ctx, driver)
			if state.Installed {
				mute = append(mute, driver.Name())
			}
			if !driver.used && !state.Healthy {
				continue // it does not work here and no cluster misses it, as its own findings say
			}
			findings = append(findings, unknown("whether the driver %s has machines of clusters that are gone: %v.", driver.Name(), err))
			continue
		}
		for _, found := range machines {
			key := driver.Name() + " " + found.Dir
			switch ours := h.ours(found); {
			case seen[key]:
			case ours && h.dead(found.Cluster):
				findings = append(findings, h.deadMachine(driver, found))
			case !ours:
				used[h.Home.Cluster(found.Cluster).Run] = true
			}
			seen[key] = true
		}
	}
	return findings, mute
}

// everywhere are the places of all drivers, also those that nothing here is set to and those that the report leaves out.
func (h Host) everywhere() []place {
	all := h.places()
	for _, driver := range append(slices.Clip(h.Drivers), h.Named...) {
		if scattered, ok := driver.(drivers.Scattered); ok {
			for _, other := range scattered.Places() {
				all = append(all, place{Driver: other})
			}
		}
	}
	return all
}

// ours reports whether the machine's folder is one of this Home.
func (h Host) ours(found drivers.Found) bool {
	return config.ValidateProfile(found.Cluster) == nil && filepath.Clean(found.Dir) == h.Home.Cluster(found.Cluster).Node(found.Name).Dir
}

func (h Host) deadMachine(driver drivers.Driver, found drivers.Found) Finding {
	return warning(mendAll, "Machine %s of cluster %s, which is gone, is still there (%s, %s).", found.Name, found.Cluster, driver.Name(), found.State).
		mended(func(ctx context.Context) (string, error) {
			files := h.Home.Cluster(found.Cluster)
			release, err := h.lock(files.Lock())
			if err != nil {
				return "", err
			}
			defer release()
			if !h.dead(found.Cluster) {
				return "", nil
			}
			node := files.Node(found.Name)
			spec := machine.Spec{Cluster: found.Cluster, Name: found.Name, Dir: node.Dir, RunDir: node.Run}
			if err := driver.Machine(spec).Delete(ctx); err != nil {
				return "", err
			}
			_ = os.Remove(files.Lock())
			return fmt.Sprintf("Deleted machine %s of cluster %s, which is gone.", found.Name, found.Cluster), os.RemoveAll(node.Dir)
		})
}

// deadRuns looks at the folders of sockets that belong to no cluster, and at the agents behind them. Agents of another state
// folder are left alone. So are sockets without an agent as long as a driver is mute: they may be a machine's of its.
func (h Host) deadRuns(ctx context.Context, used map[string]bool, mute []string) []Finding {
	var findings []Finding
	for _, name := range subfolders(h.Home.Run) {
		dir := filepath.Join(h.Home.Run, name)
		if used[dir] {
			continue
		}
		text := fmt.Sprintf("Sockets of a cluster that is gone are in %s", dir)
		status, err := h.Agents.Status(ctx, store.Cluster{Run: dir}.AgentSocket())
		if err == nil && !h.serves(status) {
			continue
		}
		if err == nil {
			text = fmt.Sprintf("The agent of cluster %s, which is gone, still runs (process %d)", status.Profile, status.PID)
		} else if len(mute) > 0 {
			findings = append(findings, unknown("whether a machine uses the sockets in %s: the driver %s does not say which it has.", dir, mute[0]))
			continue
		}
		findings = append(findings, warning(mendAll, "%s.", text).mended(func(ctx context.Context) (string, error) {
			return h.removeRun(ctx, dir)
		}))
	}
	return findings
}

// serves reports whether the agent is of a cluster of this Home.
func (h Host) serves(status agent.Status) bool {
	return config.ValidateProfile(status.Profile) == nil && filepath.Clean(status.LogFile) == h.Home.Cluster(status.Profile).AgentLog()
}

// removeRun ends the agent in a folder of sockets that belongs to no cluster, if one runs, and removes the folder.
func (h Host) removeRun(ctx context.Context, dir string) (string, error) {
	profiles, err := h.Home.Profiles()
	if err != nil {
		return "", err
	}
	for _, profile := range profiles {
		if h.Home.Cluster(profile).Run == dir {
			return "", nil // a cluster was made meanwhile
		}
	}
	did := "Removed the sockets in " + dir + "."
	socket := store.Cluster{Run: dir}.AgentSocket()
	if status, err := h.Agents.Status(ctx, socket); err == nil {
		if !h.serves(status) {
			return "", nil
		}
		if err := h.Agents.Stop(ctx, socket, h.Home.Cluster(status.Profile).AgentConfig()); err != nil {
			return "", err
		}
		did = fmt.Sprintf("Ended the agent of cluster %s (process %d), and removed the sockets in %s.", status.Profile, status.PID, dir)
	}
	return did, os.RemoveAll(dir)
}

// deadLocks looks for the locks of clusters of which nothing else is left. They lock nothing, but they add up.
func (h Host) deadLocks() []Finding {
	paths, _ := filepath.Glob(filepath.Join(h.Home.Clusters(), "*.lock"))
	var findings []Finding
	for _, path := range paths {
		if !h.deadLock(path) {
			continue
		}
		findings = append(findings, warning("rm "+machine.Quote(path), "%s is the lock of a cluster that is gone.", path).
			mended(func(context.Context) (string, error) {
				release, err := h.lock(path)
				if err != nil {
					return "", err
				}
				defer release()
				if !h.deadLock(path) {
					return "", nil
				}
				return removed("the lock ", path)
			}))
	}
	return findings
}

// deadLock reports whether nothing but the lock is left of a cluster.
func (h Host) deadLock(path string) bool {
	_, err := os.Lstat(strings.TrimSuffix(path, ".lock"))
	return errors.Is(err, fs.ErrNotExist)
}

// dead reports whether no cluster of that name is described.
func (h Host) dead(profile string) bool {
	_, err := os.Lstat(h.Home.Cluster(profile).File())
	return errors.Is(err, fs.ErrNotExist)
}
