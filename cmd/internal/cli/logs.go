package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/cmd/internal/ui"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
)

// logOptions is what `logs` was asked for.
type logOptions struct {
	lines  int
	follow bool
	step   string
	file   string
}

func (a *app) logs() *cobra.Command {
	var o logOptions
	cmd := &cobra.Command{
		Use: "logs", Short: "Print the logs of the guest, the agent and the steps of start",
		Long: `Print the last lines of every log of the cluster, each with its source in front: those of the steps of start, the
agent, the guest's console (boot), its journal (guest) and its pods.`,
		Example: `  skiff logs
  skiff logs -n 500 --step boot
  skiff logs -f --file cluster.log`,
		Args:        noArgs,
		Annotations: map[string]string{annotationFlows: "yes"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkNode(cmd); err != nil {
				return err
			}
			return a.runLogs(cmd.Context(), o)
		},
	}
	flags := cmd.Flags()
	flags.IntVarP(&o.lines, "lines", "n", 60, "lines of each log")
	flags.BoolVarP(&o.follow, "follow", "f", false, "print new lines as they come")
	flags.StringVar(&o.step, "step", "", "only this log")
	flags.StringVar(&o.file, "file", "", "write to this file")
	nodeFlag(flags, "")
	return cmd
}

func (a *app) runLogs(ctx context.Context, o logOptions) error {
	if o.lines < 0 {
		return fail.New(fail.FlagInvalid, "read --lines", "it is less than zero")
	}
	sources, vm, err := a.manager().Logs(ctx, a.profile())
	if err != nil {
		return err
	}
	if vm != nil {
		sources = append(sources, cluster.LogSource{Name: "pods"})
	}
	if o.step != "" {
		if sources, err = only(sources, o.step); err != nil {
			return err
		}
	}
	to := a.streams.Out
	if o.file != "" {
		file, err := os.OpenFile(o.file, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
		if err != nil {
			return fail.New(fail.FlagInvalid, "read --file", "%w", err)
		}
		defer func() { _ = file.Close() }()
		to = file
	}
	out := &ui.Output{To: to}
	err = show(ctx, out, sources, vm, o)
	if out.Err() != nil {
		return out.Err()
	}
	return err
}

// only returns the log of a step. The parts of bringing Kubernetes up, which errors name, share the log of that step.
func only(sources []cluster.LogSource, step string) ([]cluster.LogSource, error) {
	names := make([]string, 0, len(sources))
	for _, source := range sources {
		if source.Name == step {
			return []cluster.LogSource{source}, nil
		}
		names = append(names, source.Name)
	}
	const whole = "kubernetes"
	if slices.Contains([]string{"push", "kubeadm", "essentials", "mark"}, step) && slices.Contains(names, whole) {
		return only(sources, whole)
	}
	return nil, fail.New(fail.FlagInvalid, "read --step "+step, "there is no such log; there are: %s", strings.Join(names, ", "))
}

// show prints the last lines of all sources, one after the other, and then, when asked to, what is added to any of them.
func show(ctx context.Context, w io.Writer, sources []cluster.LogSource, vm machine.Machine, o logOptions) error {
	var lock sync.Mutex
	width := 0
	for _, source := range sources {
		width = max(width, len(source.Name))
	}
	var following sync.WaitGroup
	var problems []error
	for _, source := range sources {
		prefixed := &prefixer{w: w, lock: &lock, prefix: fmt.Sprintf("%-*s | ", width, source.Name)}
		if source.Path == "" {
			if o.follow {
				following.Go(func() { _ = fromGuest(ctx, prefixed, vm, source.Name, o) }) // it ends with the guest
				continue
			}
			problems = append(problems, fromGuest(ctx, prefixed, vm, source.Name, o))
			continue
		}
		at, err := tail(source.Path, o.lines, prefixed)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		if o.follow {
			following.Go(func() { grow(ctx, source.Path, at, prefixed) })
		}
	}
	following.Wait()
	if o.follow && ctx.Err() != nil {
		return &exitError{fail.CodeInterrupted}
	}
	return errors.Join(problems...)
}

// fromGuest prints the journal of the guest, or the logs of its pods.
func fromGuest(ctx context.Context, w *prefixer, vm machine.Machine, what string, o logOptions) error {
	args := journal(o)
	if what == "pods" {
		args = podLogs("/var/log/pods", o)
	}
	_, err := vm.Run(ctx, machine.Cmd{Args: args, Stdout: w, Stderr: w})
	w.flush()
	if err != nil {
		return fmt.Errorf("read the logs of the %s: %w", what, err)
	}
	return nil
}

func journal(o logOptions) []string {
	args := []string{"journalctl", "--no-pager", "--output=short-iso", "--lines=" + strconv.Itoa(o.lines)}
	if o.follow {
		args = append(args, "--follow")
	}
	return args
}

// podLogs prints the logs below a folder. A pod may go meanwhile, and its file: unless they are followed there is a tail for
// each, whose status find does not take over.
func podLogs(folder string, o logOptions) []string {
	args := []string{"find", folder, "-ignore_readdir_race", "-name", "*.log", "-exec", "tail", "-v", "-n", strconv.Itoa(o.lines)}
	if o.follow {
		return append(args, "-F", "{}", "+")
	}
	return append(args, "{}", ";")
}

// window is how much of a file's end is looked at for its last lines, in bytes.
const window = 1 << 20

// tail writes the last n lines of a file and returns where they end.
func tail(path string, n int, w *prefixer) (end int64, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	content, err := io.ReadAll(io.NewSectionReader(file, max(0, info.Size()-window), window))
	if err != nil {
		return 0, err
	}
	lines := bytes.SplitAfter(content, []byte("\n"))
	if last := len(lines) - 1; len(lines[last]) == 0 {
		lines = lines[:last]
	}
	for _, line := range lines[max(0, len(lines)-n):] {
		_, _ = w.Write(line)
	}
	w.flush()
	return info.Size(), nil
}

// lookAgain is how often a file that is followed is looked at.
const lookAgain = 300 * time.Millisecond

// grow writes what is added to a file after at, until ctx ends. A file that was begun anew is read from its start.
func grow(ctx context.Context, path string, at int64, w *prefixer) {
	ticker := time.NewTicker(lookAgain)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		file, err := os.Open(path)
		if err != nil {
			continue
		}
		if info, err := file.Stat(); err == nil && info.Size() < at {
			at = 0
		}
		n, _ := io.Copy(w, io.NewSectionReader(file, at, 1<<62))
		at += n
		_ = file.Close()
	}
}

// prefixer writes whole lines, each behind a prefix, and nothing of what would steer a terminal. Several may share a writer.
type prefixer struct {
	w      io.Writer
	lock   *sync.Mutex
	prefix string
	rest   []byte
}

func (p *prefixer) Write(content []byte) (int, error) {
	p.rest = append(p.rest, content...)
	for {
		line, rest, whole := bytes.Cut(p.rest, []byte("\n"))
		if !whole {
			return len(content), nil
		}
		p.rest = rest
		if err := p.print(line); err != nil {
			return 0, err
		}
	}
}

func (p *prefixer) print(line []byte) error {
	p.lock.Lock()
	defer p.lock.Unlock()
	_, err := fmt.Fprintf(p.w, "%s%s\n", p.prefix, ui.Clean(line))
	return err
}

// flush writes a last line that does not end.
func (p *prefixer) flush() {
	if len(p.rest) > 0 {
		_ = p.print(p.rest)
		p.rest = nil
	}
}
