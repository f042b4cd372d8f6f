package build

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// command is a program of the host to be run. Its output is kept for the error, so that a quiet build can still say
// what went wrong.
type command struct {
	dir  string
	env  []string // added to the process' own
	args []string
}

// run runs the command to its end and returns its standard output. A cancelled ctx ends it and what it started.
func (c command) run(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, c.args[0], c.args[1:]...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), c.env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// Its own process group: the children of go and mmdebstrap must not outlive a Ctrl-C.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(c.args, " "), err, tail(stdout.String()+stderr.String(), 30))
	}
	return stdout.String(), nil
}

// tail returns the last n lines of text.
func tail(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// tools maps the programs that a build runs to the Debian packages that have them.
var tools = map[string]string{
	"apt-get": "apt", "busybox": "busybox-static", "dpkg-source": "dpkg-dev", "fallocate": "util-linux", "gcc": "gcc", "meson": "meson",
	"mke2fs": "e2fsprogs", "mmdebstrap": "mmdebstrap", "ninja": "ninja-build", "patch": "patch", "pkg-config": "pkg-config", "qemu-system-x86_64": "qemu-system-x86", "strip": "binutils",
	"tar": "tar", "zstd": "zstd",
}
