package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// step is a command of a round.
type step struct {
	what   string  // empty: it makes room for the next, and is not measured
	budget float64 // seconds
	args   []string
}

// rounds notes the median of each step over rounds of all of them.
func (b *bench) rounds(ctx context.Context, steps []step) error {
	times := make([]timings, len(steps))
	for range b.repeats {
		for i, step := range steps {
			done := b.command(ctx, nil, step.args...)
			if done.err != nil {
				return done.err
			}
			if err := times[i].add(done.took, done.told); err != nil {
				return err
			}
		}
	}
	for i, step := range steps {
		if step.what != "" {
			b.addTimings(step.what, times[i], step.budget)
		}
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
	free := b.command(ctx, nil, "ssh", "--", "free", "-m")
	if free.err != nil {
		return free.err
	}
	for line := range strings.Lines(free.printed) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[0] == "Mem:" {
			used, err := strconv.ParseFloat(fields[2], 64)
			b.add("guest memory in use, no addons", used, "MiB", 700)
			return err
		}
	}
	return fmt.Errorf("ask for memory: free printed %q", free.printed)
}

// once notes how long a command takes that is given once.
func (b *bench) once(ctx context.Context, what string, args ...string) error {
	done := b.command(ctx, nil, args...)
	if done.err != nil {
		return done.err
	}
	var times timings
	if err := times.add(done.took, done.told); err != nil {
		return err
	}
	b.addTimings(what, times, 0)
	return nil
}

// quick notes the median of eleven runs of a command that takes no time worth the name, in milliseconds.
func (b *bench) quick(ctx context.Context, budget float64, args ...string) error {
	times := make([]float64, 11)
	for i := range times {
		done := b.command(ctx, nil, args...)
		if done.err != nil {
			return done.err
		}
		times[i] = float64(done.took.Microseconds()) / 1000
	}
	b.add(strings.Join(args, " ")+" on a running cluster", median(times), "ms", budget)
	return nil
}

// meow notes the time from `apply` to the first 200 at /meow.
func (b *bench) meow(ctx context.Context, manifest string) error {
	address := b.command(ctx, nil, "ip")
	if address.err != nil {
		return address.err
	}
	begin := time.Now()
	applied := b.command(ctx, nil, "apply", "-f", manifest)
	if applied.err != nil {
		return applied.err
	}
	if err := answers(ctx, "https://"+strings.TrimSpace(address.printed)+"/meow"); err != nil {
		return err
	}
	b.add("apply", applied.took.Seconds(), "s", 0)
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

// load notes how fast an archive of an image gets to the node.
func (b *bench) load(ctx context.Context) error {
	const size = 64 << 20
	image, err := random.Image(size, 1)
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
	done := b.command(ctx, nil, "image", "load", archive)
	b.add("image load, 64 MiB that cannot be compressed", size/1e6/done.took.Seconds(), "MB/s", 0)
	return done.err
}
