// Command release makes the files of a release from programs that are built: tarballs, packages, the source archive, the formula
// for Homebrew, bills of materials, licences and the sums of all that. The same sources and programs give the same bytes.
// `make release` builds the programs and calls it.
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
	"regexp"
	"syscall"
	"time"
)

const usage = `Usage: release --version vX.Y.Z --commit HASH --epoch SECONDS --programs DIR --man DIR --out DIR

Makes the files of a release in the folder OUT, which is emptied before. It is run in the root of a clean checkout; make release
does that. It needs git, and lintian to look at the Debian packages.

  --version vX.Y.Z   the version
  --commit HASH      the commit that the programs were built from
  --epoch SECONDS    the time that all files are dated, in seconds since 1970
  --programs DIR     where skiff-OS-ARCH and skiff-linux-amd64-libvirt are
  --man DIR          where the manual pages are
  --out DIR          where the release goes
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stderr)
	stop()
	os.Exit(code)
}

// release is what one release is made of.
type release struct {
	version string // with its v
	commit  string
	date    time.Time

	programs string // folder
	man      string // folder
	out      string // folder
	log      io.Writer
}

func run(ctx context.Context, args []string, stderr io.Writer) int {
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage) }
	r := release{log: stderr}
	flags.StringVar(&r.version, "version", "", "")
	flags.StringVar(&r.commit, "commit", "", "")
	epoch := flags.Int64("epoch", -1, "")
	flags.StringVar(&r.programs, "programs", "", "")
	flags.StringVar(&r.man, "man", "", "")
	flags.StringVar(&r.out, "out", "", "")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil || flags.NArg() > 0 || r.commit == "" || *epoch < 0 || r.programs == "" || r.man == "" || r.out == "" {
		fmt.Fprint(stderr, usage)
		return 2
	}
	r.date = time.Unix(*epoch, 0).UTC()
	if !goodVersion(r.version) {
		fmt.Fprintf(stderr, "release: %q is not a version as in v0.1.0 or v0.1.0-rc.1; call it as: make release VERSION=v0.1.0\n", r.version)
		return 2
	}
	if err := r.make(ctx); err != nil {
		fmt.Fprintln(stderr, "release:", err)
		return 1
	}
	return 0
}

// goodVersion reports whether text is a version of a release: v, three numbers, and perhaps a word for one that comes before it.
func goodVersion(text string) bool {
	return regexp.MustCompile(`^v(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[a-z]+\.[0-9]+)?$`).MatchString(text)
}

// make makes everything.
func (r release) make(ctx context.Context) error {
	if err := os.RemoveAll(r.out); err != nil {
		return err
	}
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "skiff-release-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	r.say("the licences of what is inside")
	inside, err := licenses(ctx, r.log)
	if err != nil {
		return err
	}
	completions, err := r.completions(ctx, work)
	if err != nil {
		return err
	}
	for _, platform := range platforms() {
		r.say("the tarball for %s", platform)
		if err := r.tarball(platform, completions, inside); err != nil {
			return err
		}
		if err := r.bill(platform); err != nil {
			return err
		}
	}
	r.say("the source archive")
	source, err := r.source(ctx)
	if err != nil {
		return err
	}
	r.say("the formula")
	if err := r.formula(source); err != nil {
		return err
	}
	r.say("the packages")
	if err := r.packages(ctx, work, completions, inside); err != nil {
		return err
	}
	return r.sums()
}

func (r release) say(format string, args ...any) {
	fmt.Fprintf(r.log, "== Making "+format+"\n", args...)
}

// platform is a system that skiff runs on.
type platform struct{ os, arch string }

func (p platform) String() string { return p.os + "_" + p.arch }

// platforms are those of the Makefile.
func platforms() []platform {
	return []platform{{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "amd64"}, {"darwin", "arm64"}}
}

// program is the path of the program for a platform.
func (r release) program(p platform) string {
	return filepath.Join(r.programs, "skiff-"+p.os+"-"+p.arch)
}
