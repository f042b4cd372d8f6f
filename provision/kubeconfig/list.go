package kubeconfig

import (
	"errors"
	"io/fs"
	"os"
	"time"
)

// Entry is a cluster of the user's kubeconfig in the form that Merge gives it: context, cluster and user of one name.
type Entry struct {
	Name    string
	Server  string // URL of the API server
	Current bool   // its context is the current one
}

// Entries returns what the user's kubeconfig has in the form of Merge, in the order of the contexts, whoever put it
// there. A file that cannot be read or parsed gives fail.KubeconfigUnreadable.
func Entries(list string) ([]Entry, error) {
	files, err := load(list)
	if err != nil {
		return nil, err
	}
	current := effectiveCurrent(files)
	var entries []Entry
	for _, f := range files {
		contexts := get(f.root, "contexts")
		if absent(contexts) {
			continue
		}
		for _, item := range contexts.Content {
			name, context := text(get(item, "name")), get(item, "context")
			cluster := having(files, kinds()[0], name)
			if name == "" || cluster == nil || text(get(context, "cluster")) != name || text(get(context, "user")) != name {
				continue
			}
			server := text(get(get(cluster.item(kinds()[0], name), "cluster"), "server"))
			entries = append(entries, Entry{Name: name, Server: server, Current: current == name})
		}
	}
	return entries, nil
}

// Files returns the files that the user's kubeconfig consists of and that exist.
func Files(list string) ([]string, error) {
	paths, err := paths(list)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, path := range paths {
		if _, err := os.Stat(path); err == nil {
			found = append(found, path)
		}
	}
	return found, nil
}

// StaleLocks returns the locks on the user's kubeconfig that a program left behind which died: those who hold one need
// milliseconds, and these are older than any of them would wait. While one is there, no kubectl and no skiff can change
// the file.
func StaleLocks(list string, now time.Time) ([]string, error) {
	paths, err := paths(list)
	if err != nil {
		return nil, err
	}
	var stale []string
	for _, path := range paths {
		info, err := os.Lstat(lockName(path))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if now.Sub(info.ModTime()) > 2*lockPatience {
			stale = append(stale, lockName(path))
		}
	}
	return stale, nil
}
