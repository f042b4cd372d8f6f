// Command skiff-image builds the guest image and packs it for those who do not. It is for those who build skiff; users of skiff get
// the image with it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/skiff-k8s/skiff/cluster"
	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/drivers/qemu"
	"github.com/skiff-k8s/skiff/images"
	"github.com/skiff-k8s/skiff/images/build"
	"github.com/skiff-k8s/skiff/images/layout"
	"github.com/skiff-k8s/skiff/internal/host"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision/ssh"
)

const usage = `Usage: skiff-image build [--source DIR] [--print-dir]
       skiff-image pack --out DIR [--level fast|best] [IMAGE...]

build
Builds the guest image from this checkout, or finds that nothing has changed. What was made is kept in
~/.cache/skiff/build; the image appears in ~/.cache/skiff/images/<digest>, and the link "current" there points to it.
Packages of Debian that are older than 30 days are fetched anew; without a network the build uses those that are there.
Where guests are emulated, the boot of new machines is saved beside it, so that their first start is quicker.
Needs root for the owners of the files inside the image. An interrupted build continues when it is called again.

  --source DIR   the checkout (default: the one that holds the current folder)
  --print-dir    print only the image's folder, on standard output

pack
Packs image folders (default: ~/.cache/skiff/images/current) as an OCI image layout: what a release has, and what mirrors,
registries and bundles carry. Prints the parts and their sizes. The same folders give the same bytes. A layout that is in DIR
is replaced.

  --out DIR      the folder of the layout
  --level LEVEL  fast (default) takes seconds; best, for releases, takes minutes and the program zstd, and is a quarter smaller
`

// version and commit are set by the linker; see the Makefile.
var (
	version = "v0.0.0-dev" //nolint:gochecknoglobals // the linker can set nothing else
	commit  = "unknown"    //nolint:gochecknoglobals // as above
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("skiff-image", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage) }
	name := ""
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	var do func() error
	switch name {
	case "build":
		source, printDir := flags.String("source", "", ""), flags.Bool("print-dir", false, "")
		do = func() error { return runBuild(ctx, *source, *printDir, stdout, stderr) }
	case "pack":
		out, level := flags.String("out", "", ""), flags.String("level", "fast", "")
		do = func() error { return runPack(ctx, flags.Args(), *out, *level, stdout, stderr) }
	default:
		fmt.Fprint(stderr, usage)
		return 2
	}
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if err := do(); err != nil {
		fmt.Fprintln(stderr, "Error:", err)
		if ctx.Err() != nil {
			return 130
		}
		return 1
	}
	return 0
}

// runPack packs image folders.
func runPack(ctx context.Context, folders []string, out, level string, stdout, stderr io.Writer) error {
	options := layout.PackOptions{Progress: percent(stderr)}
	switch {
	case out == "":
		return errors.New("--out names the folder of the layout, and is missing")
	case level == "best":
		options.Compress = build.Smallest(19)
	case level != "fast":
		return fmt.Errorf("--level is %q, and must be fast or best", level)
	}
	if len(folders) == 0 {
		_, all, err := build.DefaultFolders()
		if err != nil {
			return err
		}
		folders = []string{filepath.Join(all, "current")}
	}
	begin := time.Now()
	packed, err := layout.Pack(ctx, folders, out, options)
	if err != nil {
		return err
	}
	for _, one := range packed {
		if err := describePacked(stdout, one); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(stdout, "packed in %s in %s\n", time.Since(begin).Round(100*time.Millisecond), out)
	return err
}

// percent tells of each further tenth of the work.
func percent(w io.Writer) func(done, total int64) {
	told := int64(0)
	return func(done, total int64) {
		const step = 10
		if at := done * 100 / max(total, 1) / step * step; at > told {
			told = at
			fmt.Fprintf(w, "        %d %%\n", at)
		}
	}
}

// describePacked prints the parts of an image, in bytes.
func describePacked(w io.Writer, p layout.Packed) error {
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintf(table, "PART\tBYTES\tCOMPRESSED\n")
	var size int64
	for _, part := range p.Parts {
		size += part.Size
		fmt.Fprintf(table, "%s\t%d\t%d\n", part.Name, part.Size, part.Packed)
	}
	fmt.Fprintf(table, "all, with the recipe\t%d\t%d\n", size, p.Bytes)
	if _, err := fmt.Fprintf(w, "Guest image %s for Kubernetes %s on %s\n", p.Image.Digest, p.Image.KubernetesVersion, p.Image.Architecture); err != nil {
		return err
	}
	return table.Flush()
}

func runBuild(ctx context.Context, source string, printDir bool, stdout, stderr io.Writer) error {
	if source == "" {
		var err error
		if source, err = findSource(); err != nil {
			return err
		}
	}
	cache, folder, err := build.DefaultFolders()
	if err != nil {
		return err
	}
	begin := time.Now()
	result, err := build.Build(ctx, build.Options{Version: version + " " + commit, Source: source, Cache: cache, Images: folder, Sink: func(e build.Event) { show(stderr, e) }})
	if err != nil {
		return err
	}
	if result.Old != nil {
		fmt.Fprintf(stderr, "Warning: %s\n", aged(result, time.Now()))
	}
	if err := saveBoots(ctx, stderr, result, filepath.Join(cache, "accelerator.json")); err != nil {
		if ctx.Err() != nil {
			return err
		}
		fmt.Fprintf(stderr, "Warning: new machines boot from their disks: %v\n", err) // the image is whole without
	}
	if printDir {
		fmt.Fprintln(stdout, result.Dir)
		return nil
	}
	return summarise(ctx, stdout, result, time.Since(begin))
}

// size is that of a machine.
type size struct{ cpus, memoryMiB int }

// sizes are those for which boots are saved: what a cluster gets here when nothing else is asked for, and what the documentation
// asks for.
func sizes(facts host.Facts) []size {
	usual, shown := size{config.MinCPUs, config.DefaultMemoryMiB(facts)}, size{2, 4096}
	if usual == shown {
		return []size{shown}
	}
	return []size{usual, shown}
}

// saveBoots saves the boots of new machines where they take long. It keeps in memory what accelerator works here.
func saveBoots(ctx context.Context, w io.Writer, r build.Result, memory string) error {
	driver := qemu.New(qemu.Options{Memory: memory, Version: version + " " + commit, Runner: func(target machine.SSH) machine.Runner { return ssh.New(target) }})
	for _, s := range sizes(host.Look()) {
		begin := time.Now()
		saved, err := driver.SaveBoot(ctx, cluster.Nameless(r.Dir, r.Manifest, s.cpus, s.memoryMiB))
		if err != nil {
			return err
		}
		if saved {
			fmt.Fprintf(w, "        boot of %d CPUs and %d MiB saved in %s\n", s.cpus, s.memoryMiB, time.Since(begin).Round(100*time.Millisecond))
		}
	}
	return nil
}

// findSource returns the folder with images/components that is the current one or above it.
func findSource() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "images", "components")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("this folder is in no checkout of skiff; name one with --source")
		}
		dir = filepath.Dir(dir)
	}
}

func show(w io.Writer, e build.Event) {
	switch e.Kind {
	case build.Started:
		fmt.Fprintf(w, "[%2d/%d] %s … (about %s when nothing is cached)\n", e.Index, e.Total, e.Step, e.Expect)
	case build.Finished:
		fmt.Fprintf(w, "        %s done in %s\n", e.Step, e.Took.Round(100*time.Millisecond))
	case build.Failed:
		fmt.Fprintf(w, "        %s failed after %s\n", e.Step, e.Took.Round(100*time.Millisecond))
	}
}

// aged says how old the packages of an image are, and why there are no newer ones: the last line of what a program has said of it.
func aged(r build.Result, now time.Time) string {
	lines := strings.Split(strings.TrimSpace(r.Old.Error()), "\n")
	return fmt.Sprintf("the Debian packages of the image are %d days old, and newer ones cannot be used: %s", int(now.Sub(r.Packages).Hours()/24), lines[len(lines)-1])
}

// summarise says what there is now. The compressed size takes half a minute to find out, and only a new image needs it.
func summarise(ctx context.Context, w io.Writer, r build.Result, took time.Duration) error {
	if !r.Packages.IsZero() {
		fmt.Fprintf(w, "Its Debian packages are those of %s\n", r.Packages.Format(time.DateOnly))
	}
	if !r.Fresh {
		fmt.Fprintf(w, "The guest image is up to date: %s\n", r.Dir)
		return nil
	}
	sizes, err := build.Measure(ctx, r.Dir)
	if err != nil {
		return err
	}
	disk := r.Manifest.Files[images.DiskName]
	fmt.Fprintf(w, "Guest image for Kubernetes %s made in %s\n", r.Manifest.KubernetesVersion, took.Round(time.Second))
	fmt.Fprintf(w, "  folder      %s\n", r.Dir)
	fmt.Fprintf(w, "  digest      %s\n", r.Manifest.Digest)
	fmt.Fprintf(w, "  disk        %d MB on this disk, %d GiB for the guest\n", sizes.Disk/1e6, disk.Size>>30)
	fmt.Fprintf(w, "  kernel      %d MB, initrd %d MB, kubectl %d MB\n",
		r.Manifest.Files[images.KernelName].Size/1e6, r.Manifest.Files[images.InitrdName].Size/1e6, r.Manifest.Files[images.KubectlName].Size/1e6)
	fmt.Fprintf(w, "  mirror      %d MB, %d images\n", sizes.Mirror/1e6, len(r.Manifest.Images))
	fmt.Fprintf(w, "  compressed  %d MB (zstd)\n", sizes.Compressed/1e6)
	return nil
}
