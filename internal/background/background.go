// Package background starts programs that nobody waits for: in a session of their own, so that they outlive the caller and
// its terminal, and at the lowest priority.
package background

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// Start starts a program. What it prints is in the file log, which is emptied before. The environment is the caller's.
//
// It is started through nice(1) (POSIX), as a process can only lower the priority of all its threads before it has any. What
// the program starts has the same priority.
func Start(log, program string, args ...string) error {
	nice, err := exec.LookPath("nice")
	if err != nil {
		return fmt.Errorf("start %s in the background: %w", program, err)
	}
	if err := os.MkdirAll(filepath.Dir(log), 0o700); err != nil {
		return err
	}
	output, err := os.OpenFile(log, os.O_CREATE|os.O_TRUNC|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = output.Close() }()
	command := exec.Command(nice, append([]string{"-n", "19", program}, args...)...) //nolint:noctx // it outlives the caller
	command.Dir = "/"                                                                // so that it keeps no file system busy
	command.Stdout, command.Stderr = output, output
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := command.Start(); err != nil {
		return fmt.Errorf("start %s in the background: %w", program, err)
	}
	return command.Process.Release()
}
