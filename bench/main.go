// Command bench measures skiff as its users meet it: whole commands, in a real virtual machine, in one run. It prints each
// figure beside its budget (site/content/design/budgets.md) and as a share of the baseline of the same run, a cluster that is
// brought up by hand in the same machine, because seconds drift with the machine and shares do not. It fails when a command
// fails, never because a figure is high.
//
//	go run ./bench -skiff bin/skiff -image DIR -json bench.json
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

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// bench is one run against clusters of its own, one after the other.
type bench struct {
	skiff, home string
	repeats     int // how often what takes long is measured; the median counts
	figures     []figure
	progress    io.Writer
	phases      string // what the last cold start printed, step by step
}

func main() {
	skiff := flag.String("skiff", "bin/skiff", "the binary to measure")
	image := flag.String("image", "", "folder of the guest image; empty: the one built last")
	manifest := flag.String("manifest", "examples/http-echo.yaml", "what to apply")
	repeats := flag.Int("repeats", 5, "how often what takes long is measured")
	file := flag.String("json", "", "file for the figures as JSON; empty: none")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *skiff, *image, *manifest, *file, *repeats); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

func run(ctx context.Context, skiff, image, manifest, file string, repeats int) (err error) {
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
	b := &bench{skiff: skiff, home: home, repeats: repeats, progress: os.Stderr}
	defer func() {
		_, _, ended := b.command(context.WithoutCancel(ctx), "delete")
		err = errors.Join(err, ended, os.RemoveAll(home))
	}()
	if err := b.measure(ctx, manifest); err != nil {
		return err
	}
	b.print(os.Stdout)
	return b.save(file)
}

// measure walks through the life of a cluster, and ends with a cluster that is brought up by hand.
func (b *bench) measure(ctx context.Context, manifest string) error {
	if err := b.cold(ctx); err != nil {
		return err
	}
	for _, measure := range []func(context.Context) error{b.disk, b.memory, b.idle} {
		if err := measure(ctx); err != nil {
			return err
		}
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
	if err := b.load(ctx); err != nil {
		return err
	}
	if err := b.baseline(ctx); err != nil {
		return err
	}
	return b.spares(ctx)
}

// spares notes how long a start takes that finds a warm spare.
func (b *bench) spares(ctx context.Context) error {
	size := []string{"--memory", "4096", "--cpus", "2", "--offline"}
	return b.rounds(ctx, []step{
		{"delete", 0, []string{"delete"}},
		{"spare build", 0, append([]string{"spare", "build"}, size...)},
		{"start from a warm spare", 3, append([]string{"start"}, size...)},
	})
}

// load notes how fast an archive of an image gets to the node.
func (b *bench) load(ctx context.Context) error {
	const bytes = 64 << 20
	image, err := random.Image(bytes, 1)
	if err != nil {
		return err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", "amd64" // as the guest
	if image, err = mutate.ConfigFile(image, config); err != nil {
		return err
	}
	tag, err := name.NewTag("localhost/bench:random")
	if err != nil {
		return err
	}
	archive := filepath.Join(b.home, "image.tar")
	if err := tarball.WriteToFile(archive, tag, image); err != nil {
		return err
	}
	took, _, err := b.command(ctx, "image", "load", archive)
	b.add("image load, 64 MiB that cannot be compressed", bytes/1e6/took.Seconds(), "MB/s", 0)
	return err
}

// cold notes how long a new cluster takes. The last one stays.
func (b *bench) cold(ctx context.Context) error {
	var times []time.Duration
	for range b.repeats {
		if _, _, err := b.command(ctx, "delete"); err != nil {
			return err
		}
		took, told, err := b.command(ctx, "start", "--memory", "4096", "--cpus", "2", "--offline", "-v")
		if err != nil {
			return err
		}
		times, b.phases = append(times, took), told
	}
	b.addMedian(coldStart, times, 90)
	return nil
}

// step is a command of a round.
type step struct {
	what   string
	budget float64 // seconds
	args   []string
}

// rounds notes the median of each step over rounds of all of them.
func (b *bench) rounds(ctx context.Context, steps []step) error {
	times := make([][]time.Duration, len(steps))
	for range b.repeats {
		for i, step := range steps {
			took, _, err := b.command(ctx, step.args...)
			if err != nil {
				return err
			}
			times[i] = append(times[i], took)
		}
	}
	for i, step := range steps {
		b.addMedian(step.what, times[i], step.budget)
	}
	return nil
}

// disk notes what a cluster takes on the host before it is used, beside the image that all share.
func (b *bench) disk(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "du", "--summarize", "--block-size=1000", filepath.Join(b.home, "state", "clusters")).Output()
	if err != nil {
		return fmt.Errorf("ask for the disk in use: %w", err)
	}
	size, _, _ := strings.Cut(string(out), "\t")
	kB, err := strconv.ParseFloat(size, 64)
	b.add("disk in use by a new cluster", kB/1000, "MB", 100)
	return err
}

// idle notes what a cluster that does nothing takes of one of the host's processors.
func (b *bench) idle(ctx context.Context) error {
	const span = 2 * time.Minute
	before, err := processorTime()
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(span):
	}
	after, err := processorTime()
	b.add("idle, of one processor", 100*(after-before).Seconds()/span.Seconds(), "%", 0)
	return err
}

// processorTime is what all processes of the host have taken so far, in user mode and in the kernel (proc(5), /proc/stat). The
// benchmark has the host for itself.
func processorTime() (time.Duration, error) {
	content, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(content), "\n")
	fields := strings.Fields(first)
	const tick = 10 * time.Millisecond // USER_HZ, 100 on all Linux
	var sum time.Duration
	for _, i := range []int{1, 2, 3} { // user, nice, system
		if i >= len(fields) {
			return 0, fmt.Errorf("/proc/stat begins with %q", first)
		}
		count, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(count) * tick
	}
	return sum, nil
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
	return b.commandWith(ctx, nil, args...)
}

func (b *bench) commandWith(ctx context.Context, stdin io.Reader, args ...string) (time.Duration, string, error) {
	cmd := exec.CommandContext(ctx, b.skiff, args...)
	var told bytes.Buffer
	cmd.Stdin, cmd.Stderr = stdin, &told
	begin := time.Now()
	err := cmd.Run()
	took := time.Since(begin)
	if err != nil {
		err = fmt.Errorf("skiff %s: %w\n%s", strings.Join(args, " "), err, told.String())
	}
	return took, told.String(), err
}
