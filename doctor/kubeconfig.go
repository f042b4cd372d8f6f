package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision/kubeconfig"
)

// kubeconfig looks whether the user's kubeconfig can be read and written, and for what clusters that are gone left in it.
func (h Host) kubeconfig(ctx context.Context) []Finding {
	entries, err := kubeconfig.Entries(h.Kubeconfig)
	if err != nil {
		return []Finding{failure(h.usable(), "%v.", err)}
	}
	var findings []Finding
	if err := kubeconfig.Check(h.Kubeconfig); err != nil {
		findings = append(findings, failure(h.usable(), "%v.", err))
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

// usable is the command that makes the first file usable that is not: one that cannot be understood is put aside.
func (h Host) usable() string {
	files, _ := kubeconfig.Files(h.Kubeconfig)
	for _, path := range files {
		place := existing(path) // the file, or the folder that it is to be made in
		info, err := os.Stat(place)
		if err != nil {
			return "ls -ld " + machine.Quote(place) // it lies in a folder that is closed
		}
		if owner, ok := info.Sys().(*syscall.Stat_t); ok && int(owner.Uid) != os.Geteuid() {
			return fmt.Sprintf("sudo chown %d %s", os.Geteuid(), machine.Quote(place))
		}
		if unix.Access(place, unix.R_OK|unix.W_OK) != nil {
			return "chmod u+rwX " + machine.Quote(place)
		}
		if _, err := kubeconfig.Entries(path); err != nil {
			return "mv " + machine.Quote(path) + " " + machine.Quote(path+".broken")
		}
	}
	return ""
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

// openFiles warns of files that hold a key of a cluster and that others may read. They are the user's, so he decides.
func (h Host) openFiles(ours int) []Finding {
	files, err := kubeconfig.Files(h.Kubeconfig)
	if err != nil || ours == 0 {
		return nil
	}
	var findings []Finding
	for _, file := range files {
		if info, err := os.Stat(file); err == nil && info.Mode().Perm()&0o077 != 0 {
			findings = append(findings, warning("chmod 600 "+machine.Quote(file), "%s holds keys and has mode %o: other users may read it.", file, info.Mode().Perm()))
		}
	}
	return findings
}

// removed removes a file that may be gone already.
func removed(what, path string) (string, error) {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return fmt.Sprintf("Removed %s%s.", what, path), err
}
