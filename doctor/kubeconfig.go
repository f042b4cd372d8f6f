package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/skiff-k8s/skiff/internal/host"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision/kubeconfig"
)

// kubeconfig looks whether the user's kubeconfig can be read and written, and for what clusters that are gone left in it.
func (h Host) kubeconfig(ctx context.Context) []Finding {
	entries, err := kubeconfig.Entries(h.Kubeconfig)
	if err != nil {
		return []Finding{cured(h.usable(), "%v.", err)}
	}
	var findings []Finding
	if err := kubeconfig.Check(h.Kubeconfig); err != nil {
		findings = append(findings, cured(h.usable(), "%v.", err))
	}
	locks, err := kubeconfig.StaleLocks(h.Kubeconfig, h.Now())
	if err != nil {
		findings = append(findings, unknown("%v.", err))
	}
	for _, lock := range locks {
		findings = append(findings, failure("rm "+machine.Quote(lock), "%s is left of a program that died while it changed the kubeconfig; nothing can change it while that is there.", lock).
			mended(func(context.Context) (string, error) { return removed("the lock ", lock) }))
	}
	ours := 0
	for _, entry := range entries {
		address, ok := kubeconfig.Address(entry.Server)
		if !ok {
			continue
		}
		ours++
		if stale := h.gone(ctx, entry.Name, address); stale {
			findings = append(findings, h.staleEntry(entry))
		}
	}
	findings = append(findings, h.openFiles(ours)...)
	if len(findings) == 0 {
		return []Finding{good("The kubeconfig can be changed. %s", describe(ours, "cluster of skiff's is", "clusters of skiff's are", "in it"))}
	}
	return findings
}

// usable makes the first file usable that is not: one that cannot be understood is put aside.
func (h Host) usable() cure {
	for _, path := range h.kubeconfigs() {
		at, info := host.Nearest(path)
		wanted := uint32(unix.R_OK | unix.W_OK)
		if info.IsDir() { // the file is to be made in it, or it stands in the file's place
			wanted |= unix.X_OK
		}
		_, err := os.Stat(path)
		if unix.Access(at, wanted) != nil || err != nil && !errors.Is(err, fs.ErrNotExist) {
			return h.access(path, "KUBECONFIG")
		}
		if _, err := kubeconfig.Entries(path); err != nil {
			return cure{command: "mv " + machine.Quote(path) + " " + machine.Quote(path+".broken")}
		}
		if dir := filepath.Dir(path); unix.Access(dir, unix.W_OK|unix.X_OK) != nil { // the lock is to be made in it
			return h.access(filepath.Join(dir, "config.lock"), "KUBECONFIG")
		}
	}
	return cure{command: "unset KUBECONFIG"}
}

// kubeconfigs are the files of the user's kubeconfig, whether they are there or not.
func (h Host) kubeconfigs() []string {
	paths := slices.DeleteFunc(filepath.SplitList(h.Kubeconfig), func(path string) bool { return path == "" })
	if len(paths) == 0 {
		paths = []string{filepath.Join(h.Env("HOME"), ".kube", "config")}
	}
	return paths
}

// gone reports whether the cluster of an entry is no more: no profile has its name, and nothing answers at its address.
// The latter spares what another SKIFF_HOME has running; what it has stopped gets its entry back at its next start.
func (h Host) gone(ctx context.Context, name string, address netip.AddrPort) bool {
	if !h.dead(name) {
		return false
	}
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", address.String())
	if err == nil {
		_ = conn.Close()
	}
	return err != nil
}

func (h Host) staleEntry(entry kubeconfig.Entry) Finding {
	text := fmt.Sprintf("Context %q leads to %s, where a cluster was that is gone", entry.Name, entry.Server)
	if entry.Current {
		text += "; it is the current context, so kubectl fails"
	}
	return warning("skiff delete -p "+machine.Quote(entry.Name), "%s.", text).mended(func(ctx context.Context) (string, error) {
		if address, ok := kubeconfig.Address(entry.Server); !ok || !h.gone(ctx, entry.Name, address) {
			return "", nil
		}
		return fmt.Sprintf("Removed context %q from the kubeconfig.", entry.Name), kubeconfig.Remove(ctx, h.Kubeconfig, entry.Name, nil)
	})
}

// others are the rights of all but the owner of a file.
const others = 0o077

// openFiles warns of files that hold a key of a cluster and that others may read. One that is another user's is his to close.
func (h Host) openFiles(ours int) []Finding {
	files, err := kubeconfig.Files(h.Kubeconfig)
	if err != nil || ours == 0 {
		return nil
	}
	var findings []Finding
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil || info.Mode().Perm()&others == 0 {
			continue
		}
		found := warning("chmod 600 "+machine.Quote(file), "%s holds keys and has mode %o: other users may read it.", file, info.Mode().Perm())
		if host.Mine(info) {
			found = found.mended(func(context.Context) (string, error) { return closed(file) })
		} else {
			found.Remedy = "sudo " + found.Remedy
		}
		findings = append(findings, found)
	}
	return findings
}

// closed keeps all others from a file of this user's.
func closed(file string) (string, error) {
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode().Perm()&others == 0 {
		return "", nil
	}
	return fmt.Sprintf("Closed %s to others (mode 600).", file), errors.Join(err, os.Chmod(file, 0o600))
}

// removed removes a file that may be gone already.
func removed(what, path string) (string, error) {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return fmt.Sprintf("Removed %s%s.", what, path), err
}
