package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/internal/host"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/store"
)

// private is the mode of folders that hold keys and sockets.
const private = 0o700

// folders looks whether skiff's folders can be written to, are this user's, and are closed to others where they hold keys
// or sockets. A folder that is not there yet is looked for above.
func (h Host) folders(context.Context) []Finding {
	var findings []Finding
	look := func(dir string, secret bool) {
		if f, wrong := h.folder(dir, secret); wrong {
			findings = append(findings, f)
		}
	}
	for _, dir := range []string{h.Home.Config, h.Home.Cache, h.Home.State, h.Home.Base()} {
		look(dir, false)
	}
	for _, parent := range []string{h.Home.Clusters(), h.Home.Run} {
		look(parent, true)
		for _, name := range subfolders(parent) {
			look(filepath.Join(parent, name), true)
		}
	}
	if len(findings) == 0 {
		return []Finding{good("skiff's folders are this user's, and those with keys are closed to others.")}
	}
	return slices.CompactFunc(findings, func(a, b Finding) bool { return a.Text == b.Text })
}

// folder says what is wrong with one folder.
func (h Host) folder(dir string, secret bool) (f Finding, wrong bool) {
	const all = unix.R_OK | unix.W_OK | unix.X_OK
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		above := existing(dir)
		if err := unix.Access(above, unix.W_OK|unix.X_OK); err != nil {
			return cured(h.making(dir, above), "Folder %s cannot be made: %s is not writable (%v).", dir, above, err), true
		}
		return Finding{}, false
	}
	if err != nil {
		return cured(h.access(dir, "SKIFF_HOME"), "Folder %s cannot be looked at: %v.", dir, err), true
	}
	if !info.IsDir() {
		return failure("rm "+machine.Quote(dir), "%s is not a folder.", dir), true
	}
	if !host.Mine(info) {
		return failure(fmt.Sprintf("sudo chown -R %d %s", os.Geteuid(), machine.Quote(dir)),
			"Folder %s belongs to another user (%d), as after skiff was run through sudo.", dir, host.Owner(info)), true
	}
	if err := unix.Access(dir, all); err != nil {
		return cured(h.access(dir, "SKIFF_HOME"), "Folder %s cannot be read and written: %v.", dir, err), true
	}
	if mode := info.Mode().Perm(); secret && mode != private {
		return warning("chmod 700 "+machine.Quote(dir), "Folder %s has mode %o; with keys and sockets in it, it must be open to nobody else.", dir, mode).
			mended(func(context.Context) (string, error) {
				return fmt.Sprintf("Closed folder %s to others (mode 700).", dir), os.Chmod(dir, private)
			}), true
	}
	return Finding{}, false
}

// making is the cure for a folder that cannot be made below another one, which is there. In a folder of somebody else's root
// makes it, and all else there stays as it is.
func (h Host) making(dir, above string) cure {
	info, err := os.Stat(above)
	if err != nil {
		return h.access(dir, "SKIFF_HOME")
	}
	if !host.Mine(info) && !errors.Is(unix.Access(above, unix.W_OK), syscall.EROFS) {
		return cure{command: fmt.Sprintf("sudo install -d -m 700 -o %d %s", os.Geteuid(), machine.Quote(dir))}
	}
	return h.access(dir, "SKIFF_HOME")
}

// subfolders returns the names of the folders in dir; none when there is no dir.
func subfolders(dir string) []string {
	entries, _ := os.ReadDir(dir)
	var names []string
	for _, entry := range entries {
		if entry.IsDir() {
			names = append(names, entry.Name())
		}
	}
	return names
}

// clusters reads the files that describe clusters.
func (h Host) clusters(context.Context) []Finding {
	profiles, err := h.Home.Profiles()
	if err != nil {
		return []Finding{unknown("%v.", err)}
	}
	var findings []Finding
	for _, one := range h.described() {
		if one.err != nil {
			findings = append(findings, h.unread(one))
		}
	}
	if len(findings) == 0 {
		return []Finding{good("%s", describe(len(profiles), "cluster is", "clusters are", "described on this host"))}
	}
	return findings
}

// unread is what to do about a cluster whose file cannot be read. Nobody is told to delete one whose file is whole.
func (h Host) unread(one described) Finding {
	path := h.Home.Cluster(one.profile).File()
	if newer := store.RefuseOther("read it", h.Version, one.err); fail.Is(newer, fail.StateNewer) {
		return warning("skiff version", "%s cannot be read: %v. That version of skiff, or a newer one, uses the cluster.", path, reason(newer))
	}
	if _, whole := errors.AsType[*store.FieldError](one.err); whole {
		return failure("cat "+machine.Quote(path), "%s cannot be read: %v. Correct the file; nothing else of the cluster is wrong.", path, reason(one.err))
	}
	return failure("skiff delete -p "+machine.Quote(one.profile), "%s cannot be read: %v.", path, one.err)
}

// describe counts things in words.
func describe(n int, one, many, rest string) string {
	switch n {
	case 0:
		return "No " + one + " " + rest + "."
	case 1:
		return "One " + one + " " + rest + "."
	}
	return fmt.Sprintf("%d %s %s.", n, many, rest)
}

// readCluster reads the file of a cluster.
func readCluster(path string) (config.Cluster, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return config.Cluster{}, err
	}
	return config.Parse(content)
}

// lock takes a lock of skiff's for a moment, so that no command is in the middle of something.
func (h Host) lock(path string) (release func(), err error) {
	release, err = store.TryLock(path, store.Holder{Command: "skiff doctor --fix", PID: os.Getpid(), Since: h.Now()})
	if held, ok := errors.AsType[*store.HeldError](err); ok {
		return nil, fmt.Errorf("%w: %w", errBusy, held)
	}
	return release, err
}

// reason is an error without the phrase of what failed, where it has one.
func reason(err error) error {
	if known, ok := errors.AsType[*fail.Error](err); ok && known.Err != nil {
		return known.Err
	}
	return err
}

// sentence makes a sentence of a phrase.
func sentence(phrase string) string {
	if first := phrase[0]; first >= 'a' && first <= 'z' {
		phrase = string(first-'a'+'A') + phrase[1:]
	}
	return phrase + "."
}
