// Package store names every file that skiff keeps on the host, once, and has the ways to change them safely: locks that
// say who holds them, and writes that a reader sees whole or not at all. What the files mean is others' business.
package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/adrg/xdg"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/internal/host"
	"github.com/skiff-k8s/skiff/machine"
)

// Home is where everything of skiff lies. Nothing in it needs to exist.
type Home struct {
	Config string // settings
	State  string // base disks and clusters; not safe to delete by hand
	Cache  string // safe to delete at any time
	Run    string // sockets and pid files; short, so that unix sockets fit (108 bytes, unix(7))

	spares bool // clusters are the warm spares
}

// Spares returns the Home in which clusters are the warm spares: those that are made beforehand, for a profile that is not
// known yet. Their folders lie beside those of clusters, and on the same disk, so that one becomes the other in one step.
// All else is the same.
func (h Home) Spares() Home {
	h.spares = true
	return h
}

// Both returns the Home with the user's clusters and that with the warm spares.
func (h Home) Both() []Home {
	h.spares = false
	return []Home{h, h.Spares()}
}

// Locate returns the Home of this user: everything under SKIFF_HOME when env has it, else the XDG folders. It fails when
// SKIFF_HOME is not an absolute path.
//
// The folder of sockets follows from the state folder alone. XDG_RUNTIME_DIR and TMPDIR differ between the sessions of one
// user, and the first is removed at logout (XDG Base Directory Specification), while machines and agents outlive sessions.
func Locate(env func(string) string) (Home, error) {
	if dir := env("SKIFF_HOME"); dir != "" {
		if !filepath.IsAbs(dir) {
			return Home{}, fmt.Errorf("SKIFF_HOME is %q and must be an absolute path", dir)
		}
		return Home{
			Config: filepath.Join(dir, "config"),
			State:  filepath.Join(dir, "state"),
			Cache:  filepath.Join(dir, "cache"),
			Run:    shortRun(filepath.Join(dir, "run")),
		}, nil
	}
	return Home{
		Config: filepath.Join(xdg.ConfigHome, "skiff"),
		State:  filepath.Join(xdg.StateHome, "skiff"),
		Cache:  filepath.Join(xdg.CacheHome, "skiff"),
		Run:    shortRun(filepath.Join(xdg.StateHome, "skiff", "run")),
	}, nil
}

// maxRun leaves room for "/<24 bytes of profile>/<node>/<socket>" within the 108 bytes of a unix socket's path.
const maxRun = 50

// shortRun returns dir, or a private folder in host.ShortTemp that stands for it when sockets below dir would have names too
// long to bind. Others can write there too; see SecureRun.
func shortRun(dir string) string {
	if len(dir) <= maxRun {
		return dir
	}
	sum := sha256.Sum256([]byte(dir))
	return filepath.Join(host.ShortTemp, "skiff-"+strconv.Itoa(os.Getuid())+"-"+hex.EncodeToString(sum[:4]))
}

// CheckRun refuses a folder of sockets that another user may have made: who owns it receives what is meant for the agent,
// such as the administrator's kubeconfig. One that is not there is no error.
func (h Home) CheckRun() error {
	info, err := os.Lstat(h.Run)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	const others = 0o077
	var why string
	next := "chmod 700 " + machine.Quote(h.Run)
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		why, next = "it is a symbolic link", "rm "+machine.Quote(h.Run)
	case !info.IsDir():
		why, next = "it is not a folder", "rm "+machine.Quote(h.Run)
	case !host.Mine(info):
		why, next = "it belongs to another user", "export SKIFF_HOME="+machine.Quote(filepath.Join(host.ShortTemp, "skiff-home-"+strconv.Itoa(os.Getuid())))
	case info.Mode().Perm()&others != 0:
		why = fmt.Sprintf("its mode is %#o, and other users must not get in", info.Mode().Perm())
	default:
		return nil
	}
	return fail.New(fail.HomeUnusable, "use the folder of sockets "+h.Run, "%s", why).
		WithHint("skiff uses the folder only when it is your own, has mode 0700 and is not a link.").WithNext("%s", next)
}

// SecureRun makes the folder of sockets, mode 0700, unless it is there, and checks it. After that nobody else can replace it.
func (h Home) SecureRun() error {
	if err := Folder(filepath.Dir(h.Run)); err != nil {
		return err
	}
	if err := os.Mkdir(h.Run, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return NoSpace("make folder "+h.Run, err)
	}
	return h.CheckRun()
}

// Settings is the user's settings file.
func (h Home) Settings() string { return filepath.Join(h.Config, "config.yaml") }

// Base is the folder of installed guest images, one folder per digest.
func (h Home) Base() string { return filepath.Join(h.State, "base") }

// BaseImage is the folder of the installed guest image with that digest ("sha256:" and hex, or hex alone).
func (h Home) BaseImage(digest string) string {
	return filepath.Join(h.Base(), strings.TrimPrefix(digest, "sha256:"))
}

// BaseLock guards installation of guest images.
func (h Home) BaseLock() string { return filepath.Join(h.State, "base.lock") }

// Images is the folder of guest images that were built or loaded, one folder per digest.
func (h Home) Images() string { return filepath.Join(h.Cache, "images") }

// Built is the guest image there that new clusters get: the one that was built or loaded last.
func (h Home) Built() string { return filepath.Join(h.Images(), "current") }

// Downloads is the folder of an OCI image layout, with what was downloaded of guest images; package images/download writes it.
func (h Home) Downloads() string { return filepath.Join(h.Cache, "downloads") }

// DownloadsLock is held while something is downloaded there or removed.
func (h Home) DownloadsLock() string { return filepath.Join(h.State, "downloads.lock") }

// MirrorCache is the folder of blobs that the registry mirror fetched from upstream; shared by all clusters.
func (h Home) MirrorCache() string { return filepath.Join(h.Cache, "mirror") }

// AcceleratorMemory is where it is remembered what speeds up guests on this host.
func (h Home) AcceleratorMemory() string { return filepath.Join(h.Cache, "accelerator.json") }

// Clusters is the folder of all clusters.
func (h Home) Clusters() string {
	if h.spares {
		return filepath.Join(h.State, "spares")
	}
	return filepath.Join(h.State, "clusters")
}

// SpareRuns is the folder with the folders of sockets of warm spares. No profile has that name.
func (h Home) SpareRuns() string { return filepath.Join(h.Run, "_spares") }

// SpareLock is held by who prepares a warm spare: one at a time is enough for any computer.
func (h Home) SpareLock() string { return filepath.Join(h.State, "spares.lock") }

// SpareLog is what the last preparation in the background printed.
func (h Home) SpareLog() string { return filepath.Join(h.State, "spares.log") }

// AddressLock guards the choice of a loopback address for a new cluster.
func (h Home) AddressLock() string { return filepath.Join(h.State, "addresses.lock") }

// Cluster returns the files of one cluster. The profile must be valid; see package config.
func (h Home) Cluster(profile string) Cluster {
	run := h.Run
	if h.spares {
		run = h.SpareRuns()
	}
	return Cluster{
		Profile: profile,
		Dir:     filepath.Join(h.Clusters(), profile),
		Run:     filepath.Join(run, runName(profile)),
	}
}

// runName keeps the folder's name short enough for sockets, and readable for all usual profiles.
func runName(profile string) string {
	if len(profile) <= 24 {
		return profile
	}
	sum := sha256.Sum256([]byte(profile))
	return profile[:15] + "-" + hex.EncodeToString(sum[:4])
}

// Profiles returns the names of the folders below Clusters that describe a cluster, sorted. No folder is no error.
func (h Home) Profiles() ([]string, error) {
	entries, err := os.ReadDir(h.Clusters())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		if _, err := os.Lstat(h.Cluster(entry.Name()).File()); err == nil {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

// Cluster names the files of one cluster.
type Cluster struct {
	Profile string
	Dir     string // state, 0700
	Run     string // sockets, 0700
}

// File describes the cluster; a cluster exists when it does.
func (c Cluster) File() string { return filepath.Join(c.Dir, "cluster.yaml") }

// Spare is there in the folder of a warm spare that is ready to be taken. Without it a spare is half made, or half taken.
func (c Cluster) Spare() string { return filepath.Join(c.Dir, "spare.json") }

// Lock is held by every command that changes the cluster. It lies beside the cluster's folder, so that deleting the
// cluster does not take the lock away from under a waiting command.
func (c Cluster) Lock() string { return c.Dir + ".lock" }

// Events is the log of everything that start reported, one CloudEvent a line.
func (c Cluster) Events() string { return filepath.Join(c.Logs(), "events.jsonl") }

// PKI is the folder of the cluster's keys and certificates.
func (c Cluster) PKI() string { return filepath.Join(c.Dir, "pki") }

// Kubeconfig is the administrator's kubeconfig for this cluster alone, for skiff's own use.
func (c Cluster) Kubeconfig() string { return filepath.Join(c.Dir, "pki", "kubeconfig") }

// Logs is the folder of logs. It outlives a creation that failed.
func (c Cluster) Logs() string { return filepath.Join(c.Dir, "logs") }

// StepLog is what the named step of start printed last.
func (c Cluster) StepLog(step string) string { return filepath.Join(c.Logs(), step+".log") }

// AgentLog is the agent's log.
func (c Cluster) AgentLog() string { return filepath.Join(c.Logs(), "agent.log") }

// AgentConfig is the file that the agent was started with.
func (c Cluster) AgentConfig() string { return filepath.Join(c.Dir, "agent.json") }

// Loaded is the file with the names of the container images that were loaded from archives, one a line.
func (c Cluster) Loaded() string { return filepath.Join(c.Dir, "loaded") }

// AgentSocket is the agent's own API.
func (c Cluster) AgentSocket() string { return filepath.Join(c.Run, "agent.sock") }

// Dashboard is the socket of the cluster's dashboard, while one is open; DashboardLock is held as long, and DashboardPage is what
// a browser is started with. They lie beside the folder of sockets, so that deleting the cluster does not take them away.
func (c Cluster) Dashboard() string { return c.Run + ".dash" }

// DashboardLock is held by who serves the cluster's dashboard.
func (c Cluster) DashboardLock() string { return c.Run + ".dash.lock" }

// DashboardPage leads a browser to the cluster's dashboard.
func (c Cluster) DashboardPage() string { return c.Run + ".dash.html" }

// NetworkSocket is where the virtual network waits for the machine.
func (c Cluster) NetworkSocket() string { return filepath.Join(c.Run, "net.sock") }

// Node returns the files of one node.
func (c Cluster) Node(name string) Node {
	return Node{Dir: filepath.Join(c.Dir, "nodes", name), Run: filepath.Join(c.Run, name)}
}

// Node names the files of one node that skiff itself writes; the driver adds its own to Dir and Run.
type Node struct {
	Dir string
	Run string
}

// HostKey is the private SSH host key of the guest, OpenSSH PEM.
func (n Node) HostKey() string { return filepath.Join(n.Dir, "host_ed25519") }

// UserKey is the private SSH key that the guest lets in, OpenSSH PEM.
func (n Node) UserKey() string { return filepath.Join(n.Dir, "id_ed25519") }
