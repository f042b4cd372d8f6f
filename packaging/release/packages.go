package main

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"go.yaml.in/yaml/v3"
)

// flavour is the program of the packages for an architecture.
type flavour struct {
	arch, program string
	build         string // what the description says of it
	overrides     []string
}

// notDebian is an override for all: the package is not one of Debian's own.
const notDebian = "# It is made by the authors of skiff, and closes no bug of Debian's.\nskiff: initial-upload-closes-no-bugs [usr/share/doc/skiff/changelog.Debian.gz:1]\n"

// flavours: with the driver for libvirt where the guest image can run, else the program of the tarball. That is linked
// statically, which Debian wants a reason for.
func (r release) flavours() []flavour {
	return []flavour{
		{
			arch: "amd64", program: filepath.Join(r.programs, "skiff-linux-amd64-libvirt"),
			build:     "This build has the driver for libvirt, which loads libvirt's library when\n  it is used.",
			overrides: []string{"# Go links without PIE by default; for PIE every package would be compiled a second time.", "skiff: hardening-no-pie [usr/bin/skiff]"},
		},
		{
			arch: "arm64", program: r.program(platform{"linux", "arm64"}), build: "This build is linked statically, without the driver for libvirt.",
			overrides: []string{"# A program of Go without cgo needs no library of the system.", "skiff: statically-linked-binary [usr/bin/skiff]"},
		},
	}
}

// packages makes those for Debian and Fedora, and lets lintian look at the former.
func (r release) packages(ctx context.Context, work string, completions []completion, inside bundled) error {
	pages, texts, err := r.stage(work, completions, inside)
	if err != nil {
		return err
	}
	for _, one := range r.flavours() {
		libc, err := libcOf(one.program)
		if err != nil {
			return err
		}
		overrides := notDebian + strings.Join(one.overrides, "\n") + "\n"
		if err := put(filepath.Join(work, "lintian-overrides"), []byte(overrides), r.date); err != nil {
			return err
		}
		for _, kind := range []string{"deb", "rpm"} {
			config := filepath.Join(work, "nfpm-"+one.arch+"-"+kind+".yaml")
			if err := fill(config, map[string]any{
				"Kind": kind, "Arch": one.arch, "Version": r.version, "Build": one.build, "Date": r.date.Format(time.RFC3339), "Work": work,
				"Program": one.program, "Libc": libc, "Pages": pages, "Texts": texts,
			}); err != nil {
				return err
			}
			if err := r.tool(ctx, "go", "tool", "-modfile=packaging/nfpm.mod", "nfpm", "package", "--config", config, "--packager", kind, "--target", r.out+"/"); err != nil {
				return fmt.Errorf("make the %s for %s: %w", kind, one.arch, err)
			}
		}
	}
	return r.lint(ctx)
}

// stage writes what packages hold beside the program, and returns the names of manual pages and licences.
func (r release) stage(work string, completions []completion, inside bundled) (pages, texts []string, err error) {
	files := map[string][]byte{"copyright": []byte(inside.copyright())}
	for _, one := range completions {
		files[one.folder+"/"+one.name] = one.script
	}
	manual, err := r.pages()
	if err != nil {
		return nil, nil, err
	}
	for _, one := range manual {
		name := one.name + ".gz"
		if files[name], err = zipped(one.data); err != nil {
			return nil, nil, err
		}
		pages = append(pages, name)
	}
	for _, one := range inside.texts {
		name := "licenses/" + one.name + ".gz"
		if files[name], err = zipped(one.data); err != nil {
			return nil, nil, err
		}
		texts = append(texts, name)
	}
	if files["changelog.yaml"], files["changelog.Debian.gz"], err = r.changelogs(); err != nil {
		return nil, nil, err
	}
	for name, data := range files {
		if err := put(filepath.Join(work, filepath.FromSlash(name)), data, r.date); err != nil {
			return nil, nil, err
		}
	}
	return pages, texts, nil
}

// put writes a file of a given time, which goes into the package.
func put(path string, data []byte, date time.Time) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, data, 0o644); err != nil { //nolint:gosec // packages are for everybody
		return err
	}
	return os.Chtimes(path, date, date)
}

func fill(path string, values map[string]any) error {
	parsed, err := template.New("nfpm.yaml").Option("missingkey=error").ParseFiles("packaging/nfpm.yaml")
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := parsed.Execute(&out, values); err != nil {
		return err
	}
	return os.WriteFile(path, out.Bytes(), 0o600)
}

// maintainer is who the packages are by, as nfpm.yaml has it too.
const maintainer = "skiff maintainers <skiff-k8s@users.noreply.github.com>"

// changelogs are this version's part of CHANGELOG.md: in the form that nfpm reads for the .rpm, and Debian's own. What nfpm makes
// of the former for Debian has lines that are too long.
func (r release) changelogs() (forRPM, debian []byte, err error) {
	content, err := os.ReadFile("CHANGELOG.md")
	if err != nil {
		return nil, nil, err
	}
	notes, err := notesOf(string(content), r.version)
	if err != nil {
		return nil, nil, err
	}
	if debian, err = zipped([]byte(debianChangelog(r.version, r.date, notes))); err != nil {
		return nil, nil, err
	}
	type note struct {
		Note string `yaml:"note"`
	}
	changes := make([]note, len(notes))
	for i, text := range notes {
		changes[i] = note{text}
	}
	forRPM, err = yaml.Marshal([]map[string]any{{
		"semver": strings.TrimPrefix(r.version, "v"), "date": r.date.Format(time.RFC3339), "packager": maintainer, "changes": changes,
	}})
	return forRPM, debian, err
}

// debianChangelog is a changelog in Debian's form, of one version.
func debianChangelog(version string, date time.Time, notes []string) string {
	var out strings.Builder
	fmt.Fprintf(&out, "skiff (%s-1) unstable; urgency=medium\n\n", strings.Replace(strings.TrimPrefix(version, "v"), "-", "~", 1))
	for _, note := range notes {
		fmt.Fprintf(&out, "  * %s\n", wrapped(note))
	}
	fmt.Fprintf(&out, "\n -- %s  %s\n", maintainer, date.Format(time.RFC1123Z))
	return out.String()
}

// wrapped breaks an item into lines for Debian's changelog, where they have at most 80 characters behind "  * ".
func wrapped(item string) string {
	const width = 74
	var out strings.Builder
	column := 0
	for word := range strings.FieldsSeq(item) {
		switch {
		case column > 0 && column+1+len(word) > width:
			out.WriteString("\n    ")
			column = 0
		case column > 0:
			out.WriteString(" ")
			column++
		}
		out.WriteString(word)
		column += len(word)
	}
	return out.String()
}

// notesOf are the items of a version in CHANGELOG.md; until it has a part of its own, those that are unreleased.
func notesOf(content, version string) ([]string, error) {
	parts := map[string][]string{}
	part := ""
	for line := range strings.Lines(content) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "## "):
			part, _, _ = strings.Cut(strings.TrimPrefix(line, "## "), " ")
		case strings.HasPrefix(line, "- "):
			parts[part] = append(parts[part], strings.TrimPrefix(line, "- "))
		case strings.HasPrefix(line, "  ") && len(parts[part]) > 0:
			parts[part][len(parts[part])-1] += " " + strings.TrimSpace(line)
		}
	}
	for _, name := range []string{version, "Unreleased"} {
		if len(parts[name]) > 0 {
			return parts[name], nil
		}
	}
	return nil, fmt.Errorf("CHANGELOG.md has neither a part %q nor one called Unreleased with items", version)
}

// libcOf is the version of the C library that a program needs; empty when it is linked statically.
func libcOf(program string) (string, error) {
	file, err := elf.Open(program)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()
	symbols, err := file.ImportedSymbols()
	if errors.Is(err, elf.ErrNoSymbols) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	newest := ""
	for _, one := range symbols {
		if version, ok := strings.CutPrefix(one.Version, "GLIBC_"); ok && slices.Compare(numbers(version), numbers(newest)) > 0 {
			newest = version
		}
	}
	return newest, nil
}

func numbers(version string) []int {
	var list []int
	for word := range strings.SplitSeq(version, ".") {
		number, err := strconv.Atoi(word)
		if err != nil {
			return list
		}
		list = append(list, number)
	}
	return list
}

// lint fails when lintian has an error or a warning. The packages for other architectures are looked at too.
func (r release) lint(ctx context.Context) error {
	if _, err := exec.LookPath("lintian"); err != nil {
		return errors.New("lintian, which looks at the Debian packages, is not installed; on Debian: apt install lintian")
	}
	packages, err := filepath.Glob(filepath.Join(r.out, "*.deb"))
	if err != nil {
		return err
	}
	for _, one := range packages {
		if err := r.tool(ctx, "lintian", "--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0", one); err != nil {
			return fmt.Errorf("lintian finds something wrong with %s: %w", filepath.Base(one), err)
		}
	}
	return nil
}

// tool runs a program, whose output goes to the log.
func (r release) tool(ctx context.Context, name string, args ...string) error {
	command := exec.CommandContext(ctx, name, args...)
	command.Stdout, command.Stderr = r.log, r.log
	command.Env = append(os.Environ(), "SOURCE_DATE_EPOCH="+strconv.FormatInt(r.date.Unix(), 10))
	return command.Run()
}
