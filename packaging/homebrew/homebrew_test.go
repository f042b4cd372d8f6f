// Package homebrew_test holds the formula to Homebrew's rules, as far as they can be read off its text, and lets the stand-in for
// Homebrew read it. `make formula` installs and tests it as well.
package homebrew_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// stanzas is the order that Homebrew wants.
func stanzas() []string {
	return strings.Fields(`desc homepage url mirror version sha256 license revision head livecheck bottle depends_on uses_from_macos on_macos on_linux
		on_arm on_intel resource patch allow_network_access! deny_network_access! def post_install_steps caveats service test`)
}

// problems are the rules that a formula breaks.
func problems(text string) []string {
	var list []string
	say := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	desc := ""
	if found := regexp.MustCompile(`(?m)^  desc "(.*)"$`).FindStringSubmatch(text); found != nil {
		desc = found[1]
	}
	switch {
	case desc == "":
		say("there is no desc")
	case len(desc) > 80:
		say("desc has %d characters, and at most 80 are allowed", len(desc))
	case !regexp.MustCompile(`^[A-Z]`).MatchString(desc):
		say("desc begins without a capital letter")
	case regexp.MustCompile(`(?i)^(a|an|the|skiff)\b`).MatchString(desc):
		say("desc begins with an article or with the formula's name")
	case strings.HasSuffix(desc, "."):
		say("desc ends with a full stop")
	case regexp.MustCompile(`(?i)command line|commandline`).MatchString(desc):
		say("desc writes command-line without its hyphen")
	case regexp.MustCompile(`[^\x20-\x7e]`).MatchString(desc):
		say("desc has characters other than plain ones")
	}
	last := -1
	for _, found := range regexp.MustCompile(`(?m)^  ([a-z_]+!?)(?: |$)`).FindAllStringSubmatch(text, -1) {
		if found[1] == "end" {
			continue
		}
		at := slices.Index(stanzas(), found[1])
		if at < 0 {
			say("%s is no stanza", found[1])
		} else if at < last {
			say("%s comes after %s", found[1], stanzas()[last])
		}
		last = max(last, at)
	}
	for _, rule := range []struct {
		pattern string
		want    int // how often; -1: at least once
		why     string
	}{
		{`post_install`, 0, "post_install is not allowed in official taps"},
		{`(?m)^  service do`, 0, "a service of Homebrew ends the cluster when `skiff start` returns"},
		{`(?m)^  bottle do`, 0, "a new formula has no bottles"},
		{`generate_completions_from_executable\(`, 1, "completions are made in one call"},
		{`shell_parameter_format: :cobra`, 1, "the completions are cobra's"},
		{`shells:`, 0, "the shells are the default ones"},
		{`\b(bash|zsh|fish|pwsh)_completion\b`, 0, "completions are not written by hand"},
		{`share/"skiff"`, 0, "that is pkgshare"},
		{`=> :(optional|recommended)`, 0, "dependencies are not optional"},
		{`\b(curl|wget|git clone)\b`, 0, "an install fetches nothing that has no checksum"},
		{`(?m)^  test do\n\s*(true\s*\n\s*)?end`, 0, "the test is empty"},
		{`assert_match|assert_equal`, -1, "the test asserts something"},
		{`(?m)^  livecheck do\n    url :stable\n    strategy :github_latest\n  end`, 1, "livecheck asks for the latest release"},
		{`url "https://github\.com/[^"]*/v(\d[^/"]*)/skiff-v\d[^"]*\.tar\.gz"`, 1, "the source archive of a release is what is built"},
	} {
		got := len(regexp.MustCompile(rule.pattern).FindAllString(text, -1))
		if rule.want >= 0 && got != rule.want || rule.want < 0 && got == 0 {
			say("%s: found %d times: %s", rule.why, got, rule.pattern)
		}
	}
	return list
}

func formula(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("skiff.rb")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestRules: the formula breaks none.
func TestRules(t *testing.T) {
	t.Parallel()
	for _, problem := range problems(formula(t)) {
		t.Error(problem)
	}
}

// mistakes are changes of the formula that break a rule, and what the rule says.
func mistakes() []struct{ old, new, want string } {
	return []struct{ old, new, want string }{
		{`desc "Complete`, `desc "A complete`, "article"},
		{`desc "Complete`, `desc "complete`, "capital"},
		{`machine"` + "\n", `machine."` + "\n", "full stop"},
		{`desc "Complete`, `desc "` + strings.Repeat("Very ", 12) + `complete`, "80"},
		{"  test do", "  service do\n    run [bin/\"skiff\", \"start\"]\n  end\n\n  test do", "service"},
		{"  test do", "  def post_install\n  end\n\n  test do", "post_install"},
		{"  deny_network", "  license \"Apache-2.0\"\n  deny_network", "license comes after"},
		{"shell_parameter_format: :cobra", "shells: [:bash]", "default ones"},
		{`man1.install`, "system \"curl\", \"-O\", \"https://example.com/x\"\n    man1.install", "fetches nothing"},
		{`depends_on "qemu"`, `depends_on "qemu" => :recommended`, "not optional"},
	}
}

// TestRulesCanFail shows that.
func TestRulesCanFail(t *testing.T) {
	t.Parallel()
	good := formula(t)
	for _, one := range mistakes() {
		bad := strings.Replace(good, one.old, one.new, 1)
		if got := strings.Join(problems(bad), "\n"); bad == good || !strings.Contains(got, one.want) {
			t.Errorf("with %q: got %q, want a problem with %q", one.new, got, one.want)
		}
	}
}

// TestStandIn: the stand-in reads the formula, and refuses words that it does not know and values that it does not want.
func TestStandIn(t *testing.T) {
	t.Parallel()
	ruby, err := exec.LookPath("ruby")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("ruby is not installed; `make deps` installs it")
		}
		t.Skip("ruby is not installed; `make deps` installs it")
	}
	read := func(text string) (string, error) {
		file := filepath.Join(t.TempDir(), "skiff.rb")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), ruby, "-w", "standin.rb", "--read", file).CombinedOutput()
		if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
			t.Fatal(err)
		}
		return string(out), err
	}
	good := formula(t)
	if out, err := read(good); err != nil || out != "" {
		t.Errorf("the formula: got %v and %q, want success without a word", err, out)
	}
	for _, one := range []struct{ old, new, want string }{
		{"  deny_network", "  caveats_of_mine \"x\"\n  deny_network", "caveats_of_mine, which the stand-in for Homebrew does not know"},
		{"  license \"Apache-2.0\"\n", "", "license, on macos: got 0, want 1"},
		{"Apache-2.0", "MIT", "want \"Apache-2.0\""},
		{"    depends_on \"qemu\"\n", "", "depends_on, on linux"},
		{"on_linux do", "on_macos do", "depends_on, on macos"},
		{"strategy :github_latest", "regex(/x/)", "regex"},
	} {
		if out, err := read(strings.Replace(good, one.old, one.new, 1)); err == nil || !strings.Contains(out, one.want) {
			t.Errorf("with %q: got %v and %q, want it refused with %q", one.new, err, out, one.want)
		}
	}
}
