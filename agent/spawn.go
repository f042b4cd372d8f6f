package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/skiff-k8s/skiff/fail"
)

const (
	poll      = 200 * time.Millisecond // between attempts while another agent starts or ends
	tailBytes = 4 << 10                // of the log of an agent that died

	// answerLimit is how long another agent may take until its API answers. It is many times what an agent needs, also when the
	// host is too busy for it to answer a single question in time.
	answerLimit = 8 * time.Second
)

// Spawn starts the cluster's agent as a process of its own, "executable agent --config configFile", and returns once its API
// answers. It writes c to configFile first. The agent outlives the caller and its terminal; its output is appended to
// c.LogFile. When an agent answers already, its client is returned and nothing is started or written. One that was stopped by a
// signal continues. An agent of the same configFile that nobody can reach, because its sockets were removed or it does not answer
// for long, is ended and replaced.
//
// A start that fails gives what Run gave in the other process, such as fail.PortInUse, or fail.AgentFailed with the last
// lines of the log. When ctx ends first, the process is ended too.
func Spawn(ctx context.Context, executable, configFile string, c Config) (*Client, error) {
	client := Dial(c.APISocket)
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	replaced, woken := false, false
	for begun := time.Now(); ; {
		err := client.ping(ctx)
		silent := errors.Is(err, ErrSilent)
		switch {
		case err == nil:
			return client, nil
		case silent && !woken:
			woken = true
			if err := wake(ctx, configFile); err != nil {
				return nil, err
			}
			continue
		case !silent: // else there is one
			if err = spawn(ctx, executable, configFile, c); !errors.Is(err, ErrRunning) && !fail.Is(err, fail.PortInUse) {
				return client, err
			}
		}
		// Without its sockets, an agent still holds its ports; without its API's socket alone, the lock as well.
		late, inUse := time.Since(begun) > answerLimit, fail.Is(err, fail.PortInUse)
		if !replaced && (silent && late || (inUse || late) && client.Gone(ctx)) {
			replaced = true
			if err := end(ctx, configFile); err != nil {
				return nil, fail.New(fail.AgentFailed, "replace the agent of cluster "+c.Profile, "%w", err)
			}
			continue
		}
		if inUse {
			return client, err
		}
		// Another process was faster and its agent will answer, or an agent was asked to end and is about to.
		select {
		case <-ctx.Done():
			return nil, errors.Join(err, ctx.Err())
		case <-ticker.C:
		}
	}
}

// arguments are those of an agent's process.
func arguments(configFile string) []string { return []string{"agent", "--config", configFile} }

func spawn(ctx context.Context, executable, configFile string, c Config) error {
	if err := c.validate(); err != nil {
		return err
	}
	if err := c.Save(configFile); err != nil {
		return err
	}
	log, err := openLog(c.LogFile)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	begin, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	ours, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = ours.Close() }()

	command := exec.Command(executable, arguments(configFile)...) //nolint:noctx // it outlives the caller
	command.Dir = "/"                                             // so that it keeps no file system busy
	command.Stdout, command.Stderr = log, log
	command.ExtraFiles = []*os.File{theirs} // the first is descriptor 3
	command.Env = append(os.Environ(), readyVariable+"=3")
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = command.Start()
	_ = theirs.Close()
	if err != nil {
		return fail.New(fail.AgentFailed, "start the agent of cluster "+c.Profile, "%w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }() // also when it has outlived its start: no zombie stays

	stop := context.AfterFunc(ctx, func() { _ = command.Process.Kill() })
	defer stop()
	message, err := receive(ours)
	switch {
	case err == nil && message.Ready:
		return nil
	case err == nil:
		return message.failure()
	case ctx.Err() != nil:
		return fmt.Errorf("start the agent of cluster %s: %w (%w)", c.Profile, ctx.Err(), died(<-ended))
	}
	return fail.New(fail.AgentFailed, "start the agent of cluster "+c.Profile, "its process ended: %w", died(<-ended)).
		WithOutput(tail(log, begin)).WithHint("The whole log is %s.", c.LogFile)
}

func died(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

func openLog(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
}

// tail returns the end of what was written to log from begin on.
func tail(log *os.File, begin int64) string {
	info, err := log.Stat()
	if err != nil {
		return ""
	}
	begin = max(begin, info.Size()-tailBytes)
	text, err := io.ReadAll(io.NewSectionReader(log, begin, info.Size()-begin))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
