// Package symptom reads in the logs of a machine why Kubernetes does not come up on it: what the kubelet, containerd and the
// containers of the control plane say, and whether that can get better by itself. It runs nothing: Script is for the machine,
// and a Diagnosis reads what it prints.
package symptom

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Script prints what Read reads: which processes there are, the journals of containerd and the kubelet, as far as they are about
// failures, and the last lines of the control plane's containers. $1 is how many seconds it looks back. Until the API server
// answers, the kubelet says ten times in a second that its node is not registered, and what matters would be lost among that.
const Script = `echo "@@ now $(date +%s)"
for file in /proc/[0-9]*/comm; do
	read -r name 2>/dev/null <"$file" || continue
	case $name in containerd|kubelet|etcd|kube-apiserver) echo "@@ process $name" ;; esac
done
for unit in containerd kubelet; do
	echo "@@ unit $unit"
	journalctl -q --no-pager -o cat -u "$unit" --since "$1 seconds ago" 2>/dev/null |
		grep -E '^[EF][0-9]{4} |level=(error|fatal|panic)|\.service: |^(Error|panic|containerd): ' |
		grep -vF 'node is not registered yet' | tail -n 200
done
for name in etcd kube-apiserver kube-controller-manager kube-scheduler kube-proxy coredns; do
	for file in $(ls -t /var/log/pods/kube-system_"$name"-*/"$name"/*.log 2>/dev/null | head -n 2); do
		echo "@@ container $name $file"
		tail -n 30 "$file"
	done
done
true`

// Reason is why Kubernetes does not come up.
type Reason struct {
	Text  string // a main clause without a full stop, such as "the kubelet says: …"; empty: nothing is known to be wrong
	Hint  string // what to do about it, a sentence; may be empty
	Final bool   // it does not get better by itself
}

// Diagnosis puts together what one look after the other shows. Nothing is final at the first look: what went wrong before may
// be over.
type Diagnosis struct {
	Offline bool // the machine pulls no container images

	rows  []row // the causes that are well known
	looks int
	times map[string]int  // how often each symptom was seen, by its key
	ended map[string]bool // the runs of containers that were counted
}

// How often the same must be seen before it is taken for final.
const (
	often = 3 // ends of a process: the first may have come too early
	twice = 2 // errors that no later attempt can mend
)

// symptom is one thing that goes wrong.
type symptom struct {
	text string
	hint string
	need int // how often it must be seen to be final; 0: it never is
	rank int // the lower, the nearer to the cause
}

// key is equal for symptoms that differ only in what is different each time.
func (s symptom) key() string { return changing.ReplaceAllString(s.text, "…") }

// Read returns the reason that the output of Script gives, which looked back as far as the look before, or to the beginning.
func (d *Diagnosis) Read(output string, back time.Duration) Reason {
	if d.times == nil {
		d.rows, d.times, d.ended = table(), map[string]int{}, map[string]bool{}
	}
	d.looks++
	l := parse(output)
	found := d.symptoms(l, back)
	here := map[string]int{}
	for _, one := range found {
		d.times[one.key()]++
		here[one.key()]++
	}
	best := -1
	for i, one := range found {
		if one.rank == other && here[one.key()] < often {
			continue // it may be over
		}
		if best < 0 || one.rank <= found[best].rank {
			best = i
		}
	}
	if best < 0 {
		return Reason{Text: l.lacking()}
	}
	one := found[best]
	final := d.looks > 1 && one.need > 0 && d.times[one.key()] >= one.need
	return Reason{Text: short(one.text), Hint: one.hint, Final: final}
}

// The ranks: what containerd cannot do the kubelet cannot do either, and so on.
const (
	certain = iota
	runtimeEnds
	kubeletEnds
	containerEnds
	podFails
	other
	follows // from another
)

// symptoms lists what goes wrong, in the order of the logs.
func (d *Diagnosis) symptoms(l logs, back time.Duration) []symptom {
	var found []symptom
	add := func(s symptom) { found = append(found, s.known(d.rows, d.Offline)) }
	for _, text := range ends(l.units["containerd"]) {
		add(symptom{text: "containerd ends again and again: " + text, need: lasting(text), rank: runtimeEnds})
	}
	for _, text := range ends(l.units["kubelet"]) {
		one := symptom{text: "the kubelet ends again and again: " + text, need: lasting(text), rank: kubeletEnds}
		if strings.Contains(text, "containerd.sock") {
			one.need, one.rank = 0, follows
		}
		add(one)
	}
	for _, run := range l.containers {
		text := run.fatal(l.now.Add(-back))
		if text == "" || d.ended[run.file] || follow(text) {
			continue
		}
		d.ended[run.file] = true
		add(symptom{text: run.name + " ends again and again: " + text, need: lasting(text), rank: containerEnds})
	}
	for _, raw := range l.units["kubelet"] {
		said := parseLine(raw)
		if said.level != errorLevel || said.text == "" || said.pod != "" && !system(said.pod) || follow(said.text) {
			continue
		}
		one := symptom{text: "the kubelet says: " + said.text, rank: podFails}
		if said.pod == "" { // it may be what it ended with, which was counted
			one.rank = other
			found = append(found, one)
			continue
		}
		add(one)
	}
	return found
}

// system reports whether a pod, as "namespace/name", is one that a cluster cannot do without. All others may fail as they like,
// nobody waits for them.
func system(pod string) bool {
	name, ok := strings.CutPrefix(pod, "kube-system/")
	return ok && slices.ContainsFunc([]string{"etcd-", "kube-apiserver-", "kube-controller-manager-", "kube-scheduler-", "kube-proxy-", "coredns-"}, func(prefix string) bool {
		return strings.HasPrefix(name, prefix)
	})
}

// lasting is how often a process must end with these words for the last time. What it did not reach in time it may reach later.
func lasting(text string) int {
	if strings.Contains(text, "bind: ") {
		return often
	}
	for _, word := range []string{
		"connection refused", "connection reset", "deadline exceeded", "timeout", "timed out", "try again", "EOF", "no route to host", "network is unreachable", "no such host",
	} {
		if strings.Contains(text, word) {
			return 0
		}
	}
	return often
}

// follow reports whether an error only follows from an API server that does not answer, or is said by every kubelet that starts.
func follow(text string) bool {
	if strings.Contains(text, ":6443") && !strings.Contains(text, "bind: ") {
		return true
	}
	return slices.ContainsFunc([]string{
		"mirror pod", `node "`, `nodes "`, "node lease", "CSINode", "Housekeeping took", "Failed to create existing container", "Server rejected event",
		"may not have completed yet", "has yet to be successful", "checkpoint", "viction manager",
		"no relationship found between node", "ContainerStatus from runtime service failed", "garbage collection failed once", "have not yet been read", "Unable to write event",
	}, func(word string) bool { return strings.Contains(text, word) })
}

// ends returns what a service said last at each time that it ended with an error.
func ends(lines []string) []string {
	var texts []string
	last := line{}
	for _, raw := range lines {
		said := parseLine(raw)
		switch {
		case said.ended:
			if last.text != "" {
				texts = append(texts, last.text)
			}
			last = line{}
		case said.level >= errorLevel && said.text != "" && (said.level == fatalLevel || last.level != fatalLevel):
			last = said
		}
	}
	return texts
}

// logs is what the script printed.
type logs struct {
	now        time.Time // of the machine
	processes  map[string]bool
	units      map[string][]string
	containers []run
}

// run is one run of a container, with its last lines.
type run struct {
	name, file string
	lines      []string
}

func parse(output string) logs {
	l := logs{processes: map[string]bool{}, units: map[string][]string{}}
	unit, container := "", false
	for raw := range strings.Lines(output) {
		raw = strings.TrimRight(raw, "\r\n")
		if words := strings.Fields(raw); len(words) > 2 && words[0] == "@@" {
			unit, container = "", false
			switch words[1] {
			case "now":
				seconds, _ := strconv.ParseInt(words[2], 10, 64)
				l.now = time.Unix(seconds, 0)
			case "process":
				l.processes[words[2]] = true
			case "unit":
				unit = words[2]
			case "container":
				container = true
				l.containers = append(l.containers, run{name: words[2], file: words[len(words)-1]})
			}
			continue
		}
		switch {
		case unit != "":
			l.units[unit] = append(l.units[unit], raw)
		case container:
			last := &l.containers[len(l.containers)-1]
			last.lines = append(last.lines, raw)
		}
	}
	return l
}

// lacking says which process is not there; empty when all are.
func (l logs) lacking() string {
	switch {
	case !l.processes["containerd"]:
		return "containerd does not run"
	case !l.processes["kubelet"]:
		return "the kubelet does not run"
	case !l.processes["etcd"]:
		return "etcd has not been started yet"
	case !l.processes["kube-apiserver"]:
		return "etcd runs, and kube-apiserver has not been started yet"
	}
	return ""
}

// fatal returns with which words a run ended; empty when it has not, or did before since. Each line has its time before it
// (kubernetes, pkg/kubelet/kuberuntime/logs, timeFormatIn).
func (r run) fatal(since time.Time) string {
	text := ""
	for _, raw := range r.lines {
		when, rest, _ := strings.Cut(raw, " ")
		at, err := time.Parse(time.RFC3339Nano, when)
		words := strings.SplitN(rest, " ", 3)
		if err != nil || at.Before(since) || len(words) < 3 {
			continue
		}
		if said := parseLine(words[2]); said.level == fatalLevel {
			text = said.text
		}
	}
	return text
}
