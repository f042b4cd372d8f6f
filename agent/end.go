package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/skiff-k8s/skiff/internal/processes"
)

// patience is how long an agent may take to end when it is asked with a signal. It is more than an agent may take to answer: a
// host that is too busy for one is too busy for the other.
const patience = 10 * time.Second

// Stop ends the agent that was started with configFile and serves socket, and returns once its process has ended; nil when none
// runs. One that does not answer is asked with a signal, and killed when it does not end then.
func Stop(ctx context.Context, socket, configFile string) error {
	if err := Dial(socket).Shutdown(ctx); err != nil && ctx.Err() != nil {
		return err
	}
	return end(ctx, configFile) // one that answered has ended
}

// end ends the agent that was started with configFile and returns once its process has ended; nil when none runs.
func end(ctx context.Context, configFile string) error {
	return processesOf(ctx, configFile, func(id int) error {
		if err := endProcess(ctx, id, configFile); err != nil {
			return fmt.Errorf("end the agent, process %d: %w", id, err)
		}
		return nil
	})
}

// wake resumes the agent that was started with configFile, should its process have been stopped by a signal.
func wake(ctx context.Context, configFile string) error {
	return processesOf(ctx, configFile, func(id int) error {
		if err := syscall.Kill(id, syscall.SIGCONT); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("wake the agent, process %d: %w", id, err)
		}
		return nil
	})
}

// processesOf calls do for the process of the agent that was started with configFile. It finds it by its arguments, so it works
// when the agent's sockets are gone: the process still holds the cluster's address.
func processesOf(ctx context.Context, configFile string, do func(id int) error) error {
	all, err := processes.List(ctx)
	if err != nil {
		return fmt.Errorf("look for the agent: %w", err)
	}
	for id, words := range all {
		if !serves(words, configFile) {
			continue
		}
		if err := do(id); err != nil {
			return err
		}
	}
	return nil
}

// Runs reports whether the agent that was started with configFile runs, also one that nobody can reach because its sockets are gone
// or it does not answer.
func Runs(ctx context.Context, configFile string) (bool, error) {
	runs := false
	err := processesOf(ctx, configFile, func(int) error { runs = true; return nil })
	return runs, err
}

// serves reports whether arguments are those that Spawn gives to an agent. Not every system tells words from blanks within
// them, so the whole line is compared.
func serves(words []string, configFile string) bool {
	line := strings.TrimRight(strings.Join(words, " "), " ")
	return strings.HasSuffix(line, " "+strings.Join(arguments(configFile), " "))
}

// endProcess asks the process to end, and kills it when it does not.
func endProcess(ctx context.Context, id int, configFile string) error {
	process, err := os.FindProcess(id)
	if err != nil {
		return err
	}
	defer func() { _ = process.Release() }()
	// The handle comes first: from here on it means one process, and alive asks whether that is the agent.
	alive := func() bool {
		words, err := processes.Arguments(id)
		return err == nil && serves(words, configFile) || processes.Ending(id)
	}
	for _, signal := range []os.Signal{syscall.SIGTERM, os.Kill} {
		if !alive() {
			return nil
		}
		// One that was stopped gets the first when it is resumed.
		for _, signal := range []os.Signal{signal, syscall.SIGCONT} {
			if err := process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
				return err
			}
		}
		if ended(ctx, alive) {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return errors.New("it does not end")
}

// ended reports whether the process has ended within patience: only a parent can wait for it without asking.
func ended(ctx context.Context, alive func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ticker := time.NewTicker(poll / 10)
	defer ticker.Stop()
	for alive() {
		select {
		case <-ctx.Done():
			return false
		case <-ticker.C:
		}
	}
	return true
}
