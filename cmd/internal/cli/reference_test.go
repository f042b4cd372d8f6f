package cli

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/skiff-k8s/skiff/internal/golden"
)

// TestReference compares the pages of the commands with the commands; with -update it writes them.
func TestReference(t *testing.T) {
	t.Parallel()
	root := testApp(t).root()
	dir := filepath.Join("..", "..", "..", "site", "content", "reference", "commands")
	var index bytes.Buffer
	index.WriteString("---\ntitle: Commands\n---\n" + made + "\nFlags of every command:\n\n")
	writeFlags(&index, root.PersistentFlags())
	index.WriteString("\nEvery flag of `skiff start` can be set in the environment too: `--disk-size` is `SKIFF_DISK_SIZE`.\n\n| command | |\n|---|---|\n")
	for _, cmd := range root.Commands() {
		if !cmd.IsAvailableCommand() || cmd.Name() == "completion" || cmd.Name() == "help" {
			continue
		}
		fmt.Fprintf(&index, "| [skiff %s](%s.md) | %s |\n", cmd.Name(), cmd.Name(), cmd.Short)
		var page bytes.Buffer
		fmt.Fprintf(&page, "---\ntitle: skiff %s\n---\n%s", cmd.Name(), made)
		writeCommand(&page, cmd, "##")
		golden.Compare(t, filepath.Join(dir, cmd.Name()+".md"), page.Bytes())
	}
	golden.Compare(t, filepath.Join(dir, "_index.md"), index.Bytes())
}

const made = "<!-- Made from cmd/internal/cli by \"make generate\"; change it there. -->\n"

// writeCommand writes one command and those below it.
func writeCommand(page *bytes.Buffer, cmd *cobra.Command, heading string) {
	text := cmd.Long
	if text == "" {
		text = cmd.Short + "."
	}
	fmt.Fprintf(page, "\n%s\n\n    %s\n", text, cmd.UseLine())
	if cmd.Example != "" {
		fmt.Fprintf(page, "\n```sh\n%s\n```\n", unindent(cmd.Example))
	}
	if own := cmd.LocalNonPersistentFlags(); own.HasAvailableFlags() {
		page.WriteString("\n")
		writeFlags(page, own)
	}
	for _, below := range cmd.Commands() {
		fmt.Fprintf(page, "\n%s %s\n", heading, below.CommandPath())
		writeCommand(page, below, heading+"#")
	}
}

func unindent(text string) string {
	return strings.ReplaceAll(strings.TrimPrefix(text, "  "), "\n  ", "\n")
}

func writeFlags(page *bytes.Buffer, flags *pflag.FlagSet) {
	page.WriteString("| flag | default | |\n|---|---|---|\n")
	flags.VisitAll(func(flag *pflag.Flag) {
		if flag.Hidden || flag.Name == "help" {
			return
		}
		name := "`--" + flag.Name + "`"
		if flag.Shorthand != "" {
			name = "`-" + flag.Shorthand + "`, " + name
		}
		value := flag.DefValue
		if value == "[]" || value == "" {
			value = "–"
		} else {
			value = "`" + value + "`"
		}
		fmt.Fprintf(page, "| %s | %s | %s |\n", name, value, flag.Usage)
	})
}

// TestHelp: what --help says of every command.
func TestHelp(t *testing.T) {
	t.Parallel()
	for _, cmd := range all(testApp(t).root()) {
		if cmd.Parent() != nil && cmd.Parent().Name() == "completion" {
			continue // those are cobra's own words
		}
		t.Run(cmd.CommandPath(), func(t *testing.T) {
			t.Parallel()
			var out, err bytes.Buffer
			args := append(strings.Fields(cmd.CommandPath())[1:], "--help")
			if code := Main(t.Context(), args, Streams{Out: &out, Err: &err}, testDeps(t)); code != 0 {
				t.Errorf("%q: got exit code %d, want 0\n%s", args, code, err.String())
			}
			name := strings.ReplaceAll(cmd.CommandPath(), " ", "-") + ".golden"
			golden.Compare(t, filepath.Join("testdata", "help", name), out.Bytes())
		})
	}
}

// TestShape holds every command to the same habits.
func TestShape(t *testing.T) {
	t.Parallel()
	for _, cmd := range all(testApp(t).root()) {
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: the short text is %q, want one without a full stop", cmd.CommandPath(), cmd.Short)
		}
		if len(cmd.Short) > 80 {
			t.Errorf("%s: the short text has %d characters, want at most 80", cmd.CommandPath(), len(cmd.Short))
		}
		if !cmd.HasSubCommands() && cmd.Args == nil && !cmd.DisableFlagParsing {
			t.Errorf("%s: it does not say how many arguments it takes", cmd.CommandPath())
		}
	}
}

// all returns the commands that help shows.
func all(cmd *cobra.Command) []*cobra.Command {
	list := []*cobra.Command{cmd}
	for _, below := range cmd.Commands() {
		if below.IsAvailableCommand() {
			list = append(list, all(below)...)
		}
	}
	return list
}
