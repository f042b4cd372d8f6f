package virtualbox

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/skiff-k8s/skiff/machine"
)

// notFound is what VBoxManage says of a machine that it does not know (VirtualBox SDK Reference, "VBOX_E_OBJECT_NOT_FOUND").
// It exits with 1 whatever is wrong, and gives the reason in words and with this name alone.
const notFound = "VBOX_E_OBJECT_NOT_FOUND"

// parseInfo reads lines such as VMState="running" and cpus=2 of `showvminfo --machinereadable`.
func parseInfo(out []byte) map[string]string {
	values := map[string]string{}
	for line := range strings.Lines(string(out)) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok {
			continue
		}
		if plain, err := strconv.Unquote(value); err == nil {
			value = plain
		}
		values[strings.Trim(key, `"`)] = value
	}
	return values
}

// errCrashed is a machine that VirtualBox could not go on with; it is ended as one that runs.
var errCrashed = errors.New("VirtualBox could not continue the guest (guru meditation)")

// parseState translates the value of VMState (VirtualBox SDK Reference, "MachineState"; VBoxManage writes the names in
// lower case, and "poweroff" for PoweredOff).
func parseState(state string) (machine.State, error) {
	switch state {
	case "running", "starting", "stopping", "livesnapshotting", "restoring":
		return machine.Running, nil
	case "paused", "saving":
		return machine.Paused, nil
	case "poweroff", "aborted", "aborted-saved", "saved":
		return machine.Stopped, nil
	case "gurumeditation":
		return machine.Broken, errCrashed
	}
	return machine.Broken, fmt.Errorf("VirtualBox reports that the machine is in state %q", state)
}

// listed is a line of `list vms`: the name in quotes, and the machine's UUID in braces.
var listed = regexp.MustCompile(`^"(.*)" \{([0-9a-f-]{36})\}$`) //nolint:gochecknoglobals // compiled once, never changed

// parseList returns the UUIDs of machines whose names are like skiff's, by name. A machine that cannot be read is called
// <inaccessible>.
func parseList(out []byte) map[string]string {
	ids := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if match := listed.FindStringSubmatch(strings.TrimSpace(line)); match != nil && strings.HasPrefix(match[1], "skiff-") {
			ids[match[1]] = match[2]
		}
	}
	return ids
}

// parseNotes reads lines such as "Key: skiff/name, Value: skiff" of `getextradata enumerate`.
func parseNotes(out []byte) map[string]string {
	values := map[string]string{}
	for line := range strings.Lines(string(out)) {
		rest, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n"), "Key: ")
		key, value, both := strings.Cut(rest, ", Value: ")
		if ok && both {
			values[key] = value
		}
	}
	return values
}

// versionText is how VBoxManage --version names its version: 7.0.20r163906, or 7.0.20_Debianr163906.
var versionText = regexp.MustCompile(`(?m)^(\d+\.\d+\.\d+)\S*$`) //nolint:gochecknoglobals // compiled once, never changed
