package qemu

import (
	"fmt"
	"os"
	"strings"
)

// arguments returns the arguments that a process was started with; none when it has ended and was not yet waited for.
func arguments(id int) ([]string, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", id))
	return strings.Split(string(raw), "\x00"), err
}
