// Command bench measures skiff as its users meet it: whole commands, in a real virtual machine, in one run. It prints each
// figure beside its budget (site/content/design/budgets.md) and as a share of the baseline of the same run, a cluster that is
// brought up by hand in the same machine, because seconds drift with the machine and shares do not. It fails when a command
// fails, never because a figure is high.
//
//	go run ./bench -skiff bin/skiff -image DIR -out DIR
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// bench is one run against clusters of its own, one after the other.
type bench struct {
	skiff, home string
	repeats     int // how often what takes long is measured; the median counts
	report
}

// options are the flags.
type options struct {
	skiff, image, manifest, out string
	repeats                     int
}

func main() {
	var o options
	flag.StringVar(&o.skiff, "skiff", "bin/skiff", "the binary to measure")
	flag.StringVar(&o.image, "image", "", "folder of the guest image; empty: the one built last")
	flag.StringVar(&o.manifest, "manifest", "examples/http-echo.yaml", "what to apply")
	flag.StringVar(&o.out, "out", "", "folder for the figures, as JSON and as a picture; empty: neither")
	flag.IntVar(&o.repeats, "repeats", 5, "how often what takes long is measured")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

func run(ctx context.Context, o options) (err error) {
	if o.skiff, err = filepath.Abs(o.skiff); err != nil {
		return err
	}
	home, err := os.MkdirTemp("", "skiff-bench-")
	if err != nil {
		return err
	}
	for name, value := range map[string]string{"SKIFF_HOME": home, "KUBECONFIG": filepath.Join(home, "kubeconfig"), "SKIFF_IMAGE": o.image, "SKIFF_WARM_SPARE": "false"} {
		if value == "" {
			continue
		}
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	b := &bench{skiff: o.skiff, home: home, repeats: o.repeats, report: report{progress: os.Stderr}}
	defer func() {
		ended := b.command(context.WithoutCancel(ctx), nil, "delete").err
		err = errors.Join(err, ended, os.RemoveAll(home))
	}()
	if err := b.measure(ctx, o.manifest); err != nil {
		return err
	}
	b.write(os.Stdout)
	if o.out == "" {
		return nil
	}
	return b.save(o.out)
}

// measure walks through the life of a cluster, and ends with clusters that are brought up by hand and from warm spares.
func (b *bench) measure(ctx context.Context, manifest string) error {
	size := []string{"--memory", "4096", "--cpus", "2", "--offline"}
	once := func(what string, args ...string) func(context.Context) error {
		return func(ctx context.Context) error { return b.once(ctx, what, args...) }
	}
	rounds := func(steps ...step) func(context.Context) error {
		return func(ctx context.Context) error { return b.rounds(ctx, steps) }
	}
	quick := func(budget float64, args ...string) func(context.Context) error {
		return func(ctx context.Context) error { return b.quick(ctx, budget, args...) }
	}
	for _, measure := range []func(context.Context) error{
		rounds(
			step{"", 0, []string{"delete"}},
			step{coldStart, 90, append([]string{"start", "-v"}, size...)},
		),
		b.disk, b.memory, b.idle,
		quick(1000, "start"), quick(100, "ip"), quick(100, "status"),
		once("addons enable ingress", "addons", "enable", "ingress"),
		func(ctx context.Context) error { return b.meow(ctx, manifest) },
		rounds(
			step{suspended, 5, []string{"stop", "-v"}},
			step{resumed, 3, []string{"start", "-v"}},
		),
		rounds(
			step{saved, 5, []string{"snapshot", "save", "bench", "-v"}},
			step{restored, 3, []string{"snapshot", "restore", "bench", "-v"}},
			step{"", 0, []string{"snapshot", "delete", "bench"}},
		),
		once("stop --shutdown", "stop", "--shutdown"),
		once(rebooted, "start", "-v"),
		b.load,
		b.baseline,
		rounds(
			step{"", 0, []string{"delete"}},
			step{"spare build", 0, append([]string{"spare", "build"}, size...)},
			step{fromSpare, 3, append([]string{"start", "-v"}, size...)},
		),
	} {
		if err := measure(ctx); err != nil {
			return err
		}
	}
	return nil
}

// result is what came of a command.
type result struct {
	took    time.Duration
	printed string // on standard output
	told    string // on standard error
	err     error
}

// command runs skiff, with its standard input from stdin unless that is nil.
func (b *bench) command(ctx context.Context, stdin io.Reader, args ...string) result {
	cmd := exec.CommandContext(ctx, b.skiff, args...)
	var printed, told bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &printed, &told
	begin := time.Now()
	err := cmd.Run()
	done := result{took: time.Since(begin), printed: printed.String(), told: told.String()}
	if err != nil {
		done.err = fmt.Errorf("skiff %s: %w\n%s", strings.Join(args, " "), err, done.told)
	}
	return done
}
