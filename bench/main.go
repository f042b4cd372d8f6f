// Command bench measures skiff as its users meet it: whole commands, in a real virtual machine, in one run. It prints each
// figure beside its budget (site/content/design/budgets.md) and as a share of the cold start of the same run, because
// seconds drift with the machine and shares do not. It fails when a command fails, never because a figure is high.
//
//	go run ./bench -skiff bin/skiff -image DIR
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// figure is one line of the table.
type figure struct {
	what   string
	value  float64
	unit   string // "s", "ms", "MiB" or "MB"
	budget float64
}

// bench is one run against one cluster of its own.
type bench struct {
	skiff, home string
	figures     []figure
	phases      string // what the cold start printed, step by step
}

func main() {
	skiff := flag.String("skiff", "bin/skiff", "the binary to measure")
	image := flag.String("image", "", "folder of the guest image; empty: the one built last")
	manifest := flag.String("manifest", "examples/http-echo.yaml", "what to apply")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *skiff, *image, *manifest); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

func run(ctx context.Context, skiff, image, manifest string) (err error) {
	if skiff, err = filepath.Abs(skiff); err != nil {
		return err
	}
	home, err := os.MkdirTemp("", "skiff-bench-")
	if err != nil {
		return err
	}
	for name, value := range map[string]string{"SKIFF_HOME": home, "KUBECONFIG": filepath.Join(home, "kubeconfig"), "SKIFF_IMAGE": image, "SKIFF_WARM_SPARE": "false"} {
		if value == "" {
			continue
		}
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	b := &bench{skiff: skiff, home: home}
	defer func() {
		_, _, ended := b.command(context.WithoutCancel(ctx), "delete")
		err = errors.Join(err, ended, os.RemoveAll(home))
	}()
	if err := b.measure(ctx, manifest); err != nil {
		return err
	}
	b.print(os.Stdout)
	return nil
}

// measure walks through the life of a cluster.
func (b *bench) measure(ctx context.Context, manifest string) error {
	cold, phases, err := b.command(ctx, "start", "--memory", "4096", "--cpus", "2", "--offline", "-v")
	if err != nil {
		return err
	}
	b.phases = phases
	b.add("cold start to usable", cold.Seconds(), "s", 90)
	if err := b.memory(ctx); err != nil {
		return err
	}
	for _, quick := range []struct {
		budget float64
		args   []string
	}{{1000, []string{"start"}}, {100, []string{"ip"}}, {100, []string{"status"}}} {
		if err := b.median(ctx, quick.budget, quick.args...); err != nil {
			return err
		}
	}
	took, _, err := b.command(ctx, "addons", "enable", "ingress")
	if err != nil {
		return err
	}
	b.add("addons enable ingress", took.Seconds(), "s", 0)
	if err := b.meow(ctx, manifest); err != nil {
		return err
	}
	if err := b.rounds(ctx, []step{
		{"stop, memory kept", 5, []string{"stop"}},
		{"start, resumed", 3, []string{"start"}},
	}); err != nil {
		return err
	}
	if err := b.rounds(ctx, []step{
		{"snapshot save", 5, []string{"snapshot", "save", "bench"}},
		{"snapshot restore", 3, []string{"snapshot", "restore", "bench"}},
		{"snapshot delete", 0, []string{"snapshot", "delete", "bench"}},
	}); err != nil {
		return err
	}
	if took, _, err = b.command(ctx, "stop", "--shutdown"); err != nil {
		return err
	}
	b.add("stop --shutdown", took.Seconds(), "s", 0)
	if took, _, err = b.command(ctx, "start"); err != nil {
		return err
	}
	b.add("start, booted again", took.Seconds(), "s", 0)
	return nil
}

// step is a command of a round.
type step struct {
	what   string
	budget float64 // seconds
	args   []string
}

// rounds notes the median of each step over five rounds of all of them.
func (b *bench) rounds(ctx context.Context, steps []step) error {
	const count = 5
	times := make([][]time.Duration, len(steps))
	for range count {
		for i, step := range steps {
			took, _, err := b.command(ctx, step.args...)
			if err != nil {
				return err
			}
			times[i] = append(times[i], took)
		}
	}
	for i, step := range steps {
		slices.Sort(times[i])
		b.add(fmt.Sprintf("%s, median of %d", step.what, count), times[i][count/2].Seconds(), "s", step.budget)
	}
	return nil
}

// memory notes what the guest uses: all but free, buffers and cache, as free(1) counts it.
func (b *bench) memory(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, b.skiff, "ssh", "--", "free", "-m").Output()
	if err != nil {
		return fmt.Errorf("ask for memory: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[0] == "Mem:" {
			used, err := strconv.ParseFloat(fields[2], 64)
			b.add("guest memory in use, no addons", used, "MiB", 700)
			return err
		}
	}
	return fmt.Errorf("ask for memory: free printed %q", out)
}

// median notes the median of eleven runs of a quick command.
func (b *bench) median(ctx context.Context, budget float64, args ...string) error {
	times := make([]time.Duration, 11)
	for i := range times {
		var err error
		if times[i], _, err = b.command(ctx, args...); err != nil {
			return err
		}
	}
	slices.Sort(times)
	name := fmt.Sprintf("%s on a running cluster, median of %d", strings.Join(args, " "), len(times))
	b.add(name, float64(times[len(times)/2].Microseconds())/1000, "ms", budget)
	return nil
}

// meow notes the time from `apply` to the first 200 at /meow.
func (b *bench) meow(ctx context.Context, manifest string) error {
	address, err := exec.CommandContext(ctx, b.skiff, "ip").Output()
	if err != nil {
		return err
	}
	begin := time.Now()
	applied, _, err := b.command(ctx, "apply", "-f", manifest)
	if err != nil {
		return err
	}
	if err := answers(ctx, "https://"+strings.TrimSpace(string(address))+"/meow"); err != nil {
		return err
	}
	b.add("apply", applied.Seconds(), "s", 0)
	b.add("apply to first 200 at /meow", time.Since(begin).Seconds(), "s", 30)
	return nil
}

// answers returns once url gives status 200.
func answers(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the certificate is self-signed, as for the tutorial's reader
	}}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(response.Status)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", url, err)
		case <-tick.C:
		}
	}
}

// command runs skiff and returns how long it took and what it told on standard error.
func (b *bench) command(ctx context.Context, args ...string) (time.Duration, string, error) {
	cmd := exec.CommandContext(ctx, b.skiff, args...)
	var told bytes.Buffer
	cmd.Stderr = &told
	begin := time.Now()
	err := cmd.Run()
	took := time.Since(begin)
	if err != nil {
		err = fmt.Errorf("skiff %s: %w\n%s", strings.Join(args, " "), err, told.String())
	}
	return took, told.String(), err
}

func (b *bench) add(what string, value float64, unit string, budget float64) {
	b.figures = append(b.figures, figure{what, value, unit, budget})
	fmt.Fprintf(os.Stderr, "measured: %s: %.1f %s\n", what, value, unit)
}

// print writes the table. A share is of the cold start, which comes first.
func (b *bench) print(w io.Writer) {
	fmt.Fprintf(w, "\nsteps of the cold start:\n%s\n", b.phases)
	fmt.Fprintf(w, "%-50s %12s %12s %9s %9s\n", "what", "measured", "budget", "of budget", "of cold")
	cold := b.figures[0].value
	for _, f := range b.figures {
		budget, share, of := "-", "-", "-"
		if f.budget > 0 {
			budget, share = fmt.Sprintf("%.0f %s", f.budget, f.unit), fmt.Sprintf("%.2f", f.value/f.budget)
		}
		switch f.unit {
		case "s":
			of = fmt.Sprintf("%.3f", f.value/cold)
		case "ms":
			of = fmt.Sprintf("%.4f", f.value/1000/cold)
		}
		fmt.Fprintf(w, "%-50s %12s %12s %9s %9s\n", f.what, fmt.Sprintf("%.1f %s", f.value, f.unit), budget, share, of)
	}
}
