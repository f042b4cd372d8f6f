// Command skiff-man writes the manual pages of skiff, one for each command. It is for those who build packages.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra/doc"

	"github.com/skiff-k8s/skiff/cmd/internal/cli"
)

const usage = `Usage: skiff-man --version VERSION --epoch SECONDS DIR

Writes the manual pages of all commands, skiff.1 and others, into DIR, which is created. The same arguments give the same bytes.

  --version VERSION   the version of skiff that they name
  --epoch SECONDS     the time that they are dated, in seconds since 1970 as in SOURCE_DATE_EPOCH
`

func main() { os.Exit(run(os.Args[1:], os.Stderr)) }

func run(args []string, stderr io.Writer) int {
	flags := flag.NewFlagSet("skiff-man", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage) }
	version := flags.String("version", "", "")
	epoch := flags.Int64("epoch", -1, "")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil || flags.NArg() != 1 || *version == "" || *epoch < 0 {
		fmt.Fprint(stderr, usage)
		return 2
	}
	if err := write(flags.Arg(0), *version, time.Unix(*epoch, 0).UTC()); err != nil {
		fmt.Fprintln(stderr, "skiff-man:", err)
		return 1
	}
	return 0
}

// write makes the pages in dir. Pages of commands that are gone are removed.
func write(dir, version string, date time.Time) error {
	old, err := filepath.Glob(filepath.Join(dir, "skiff*.1"))
	if err != nil {
		return err
	}
	for _, page := range old {
		if err := os.Remove(page); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root := cli.Commands(version)
	root.DisableAutoGenTag = true // it names the tool that made the page, and nothing that a reader wants
	header := &doc.GenManHeader{Section: "1", Date: &date, Source: "skiff " + version, Manual: "skiff manual"}
	if err := doc.GenManTree(root, header, dir); err != nil {
		return fmt.Errorf("write the pages into %s: %w", dir, err)
	}
	return nil
}
