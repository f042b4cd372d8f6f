package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/machine"
)

// controlGroups looks for limits on this process that its machines, which are its children, would share. Nothing else of
// the host's control groups matters: Kubernetes runs on the guest's kernel, which has version 2.
func (h Host) controlGroups(context.Context) []Finding {
	if h.adopts() {
		return []Finding{good("The machine that is taken over is in no control group of this host's.")}
	}
	groups, err := h.groups()
	if errors.Is(err, fs.ErrNotExist) {
		return []Finding{good("This system has no control groups, and guests have their own.")}
	}
	if err != nil {
		return []Finding{unknown("%v.", err)}
	}
	var findings []Finding
	memory, cpus := lowest(groups, group.memoryMiB), lowest(groups, group.cpus)
	usual := float64(config.DefaultMemoryMiB(h.Facts))
	switch text := fmt.Sprintf("The control group %s allows %.0f MiB of memory", memory.name, memory.value); {
	case memory.value < config.MinMemoryMiB:
		findings = append(findings, failure(cmp.Or(memory.lift("MemoryMax=infinity"), memory.unset(group.memoryFile)), "%s; the kernel would end a machine of %d MiB, the least that will do.", text, config.MinMemoryMiB))
	case memory.value < usual:
		findings = append(findings, warning(cmp.Or(memory.lift("MemoryMax=infinity"), fewer()), "%s; the kernel would end a machine of %.0f MiB, the usual size.", text, usual))
	}
	if cpus.value < config.MinCPUs {
		findings = append(findings, warning(cmp.Or(cpus.lift("CPUQuota="), cpus.unset(group.cpuFile)), "The control group %s allows %.1f processors; a cluster is slow with fewer than %d.", cpus.name, cpus.value, config.MinCPUs))
	}
	if len(findings) == 0 {
		findings = append(findings, good("No control group keeps machines from memory or processors."))
	}
	return findings
}

// group is one control group that this process is in: its folder with files of limits, and its name.
type group struct {
	folder, name string
	v2           bool
}

// groups returns the control groups of this process, innermost first (cgroups(7), "/proc/pid/cgroup").
func (h Host) groups() ([]group, error) {
	raw, err := os.ReadFile(h.root("proc", "self", "cgroup"))
	if err != nil {
		return nil, err
	}
	var groups []group
	for line := range strings.Lines(string(raw)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			return nil, fmt.Errorf("/proc/self/cgroup has the line %q", line)
		}
		mount, v2 := h.root("sys", "fs", "cgroup"), fields[0] == "0" && fields[1] == ""
		if !v2 && fields[1] != "memory" {
			continue
		}
		if !v2 {
			mount = filepath.Join(mount, "memory")
		}
		for name := path.Clean("/" + fields[2]); ; name = path.Dir(name) {
			groups = append(groups, group{filepath.Join(mount, filepath.FromSlash(name)), name, v2})
			if name == "/" {
				break
			}
		}
	}
	return groups, nil
}

// memoryFile is the file with the limit of memory, and what is written there for none.
func (g group) memoryFile() (name, none string) {
	if g.v2 {
		return "memory.max", "max"
	}
	return "memory.limit_in_bytes", "-1"
}

// cpuFile is the file with the limit of processors, and what is written there for none.
func (group) cpuFile() (name, none string) { return "cpu.max", "max" }

// memoryMiB is how much memory the group may use (Linux, Documentation/admin-guide/cgroup-v2.rst, "memory.max").
func (g group) memoryMiB() float64 {
	file, _ := g.memoryFile()
	bytes, err := strconv.ParseFloat(g.read(file), 64)
	if err != nil || bytes > 1<<60 { // "max", no such file, or what version 1 says instead of "max"
		return math.Inf(1)
	}
	return bytes / (1 << 20)
}

// cpus is how many processors the group may use (as above, "cpu.max": quota and period).
func (g group) cpus() float64 {
	file, _ := g.cpuFile()
	fields := strings.Fields(g.read(file))
	if !g.v2 || len(fields) != 2 {
		return math.Inf(1)
	}
	quota, err := strconv.ParseFloat(fields[0], 64)
	period, bad := strconv.ParseFloat(fields[1], 64)
	if err != nil || bad != nil || period <= 0 {
		return math.Inf(1)
	}
	return quota / period
}

// read returns the content of a file; empty when it cannot be read, as that of a controller that is not on.
func (g group) read(file string) string {
	raw, _ := os.ReadFile(filepath.Join(g.folder, file))
	return strings.TrimSpace(string(raw))
}

// limited is the lowest limit and the group that has it.
type limited struct {
	group
	value float64 // infinite when there is none
}

func lowest(groups []group, of func(group) float64) limited {
	least := limited{value: math.Inf(1)}
	for _, one := range groups {
		if value := of(one); value < least.value {
			least = limited{one, value}
		}
	}
	return least
}

// lift is the command that takes the limit away, where systemd made the group.
func (l limited) lift(assignment string) string {
	unit := path.Base(l.name)
	switch path.Ext(unit) {
	case ".slice", ".service", ".scope":
	default:
		return ""
	}
	manager := "sudo systemctl"
	if strings.Contains(path.Dir(l.name), "/user@") { // below it, the user's own manager makes the groups
		manager = "systemctl --user"
	}
	return fmt.Sprintf("%s set-property %s %s", manager, machine.Quote(unit), assignment)
}

// unset is the command that takes the limit away where something else made the group.
func (l limited) unset(file func(group) (name, none string)) string {
	name, none := file(l.group)
	return fmt.Sprintf("echo %s | sudo tee %s", none, machine.Quote(filepath.Join(l.folder, name)))
}

// root returns the path of a file of the operating system.
func (h Host) root(names ...string) string {
	root := h.Root
	if root == "" {
		root = "/"
	}
	return filepath.Join(append([]string{root}, names...)...)
}
