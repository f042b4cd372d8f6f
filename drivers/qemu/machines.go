package qemu

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/internal/processes"
	"github.com/skiff-k8s/skiff/machine"
)

// guestName marks QEMU processes that are machines of skiff; see args.
const guestName = "guest=skiff "

// Machines returns the machines of which a QEMU of this user runs: others are only files, and QEMU knows nothing of them.
// It goes by the arguments of processes alone, so that a machine is found also after its files were removed.
func (d *Driver) Machines(ctx context.Context) ([]drivers.Found, error) {
	all, err := processes.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for machines: %w", err)
	}
	var found []drivers.Found
	for id, words := range all {
		spec, ok := specOf(words)
		if !ok {
			continue
		}
		if state, runs := d.stateOf(ctx, id, spec); runs {
			found = append(found, drivers.Found{Cluster: spec.Cluster, Name: spec.Name, Dir: spec.Dir, State: state})
		}
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("look for machines: %w", err)
		}
	}
	return found, nil
}

// stateOf asks the process with that number; one that has ended meanwhile is no machine.
func (d *Driver) stateOf(ctx context.Context, id int, spec machine.Spec) (state machine.State, runs bool) {
	m := &Machine{driver: d, spec: spec, files: filesOf(spec)}
	p, err := open(id, m.files.pid())
	if err != nil || p == nil {
		return machine.Broken, false
	}
	defer p.release()
	state, err = m.ask(ctx, p)
	if err != nil {
		return machine.Broken, p.alive()
	}
	return state, true
}

// specOf reads from a process's arguments which machine it is; only names and folders are filled in. Arguments of other
// programs give false.
func specOf(words []string) (machine.Spec, bool) {
	name, marked := strings.CutPrefix(option(words, "-name"), guestName)
	cluster, node, two := strings.Cut(unescape(name), " ")
	pid := option(words, "-pidfile")
	monitor, socket := strings.CutPrefix(option(words, "-qmp"), "unix:")
	monitor = unescape(strings.TrimSuffix(monitor, listens))
	spec := machine.Spec{Cluster: cluster, Name: node, Dir: filepath.Dir(pid), RunDir: filepath.Dir(monitor)}
	f := filesOf(spec)
	return spec, marked && two && socket && node != "" && !strings.Contains(node, " ") && f.pid() == pid && f.monitor() == monitor
}

// option returns the value of an option: all words up to the next option, as not every system tells words from blanks
// within them.
func option(words []string, name string) string {
	for i, word := range words {
		if word != name {
			continue
		}
		var value []string
		for _, next := range words[i+1:] {
			if strings.HasPrefix(next, "-") {
				break
			}
			value = append(value, next)
		}
		return strings.Join(value, " ")
	}
	return ""
}

// unescape takes escape back.
func unescape(value string) string { return strings.ReplaceAll(value, ",,", ",") }
