package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

// bundled is what is inside the program that others wrote, with the texts that have to go with it.
type bundled struct {
	modules []module
	texts   []entry
}

// module is a Go module, or Go itself.
type module struct {
	path, version string
	license       string // as in SPDX, for example MIT AND Apache-2.0
	texts         []text
}

// text is a licence, or a notice beside it.
type text struct {
	name string // within the module
	data string
}

// licenses collects the texts of all modules of which a package is in a program for any platform, and those of the dashboard's
// page. A module without a licence is an error: what has none must not be passed on.
func licenses(ctx context.Context, log io.Writer) (bundled, error) {
	folders := map[string]map[string]bool{} // of packages, by path and version of their module
	roots := map[string]string{}
	for _, p := range platforms() {
		if err := linked(ctx, log, p, folders, roots); err != nil {
			return bundled{}, err
		}
	}
	goroot, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return bundled{}, fmt.Errorf("look for Go: %w", err)
	}
	standard := "std " + runtime.Version()
	folders[standard], roots[standard] = map[string]bool{}, strings.TrimSpace(string(goroot))
	var result bundled
	for _, name := range slices.Sorted(maps.Keys(folders)) {
		one := module{}
		one.path, one.version, _ = strings.Cut(name, " ")
		if one.texts, err = textsOf(roots[name], folders[name]); err != nil {
			return bundled{}, err
		}
		if one.license, err = licenseOf(one.texts); err != nil {
			return bundled{}, fmt.Errorf("the module %s: %w", name, err)
		}
		result.modules = append(result.modules, one)
	}
	dashboard, err := os.ReadFile(filepath.Join(page, "licenses.txt.gz"))
	if err != nil {
		return bundled{}, fmt.Errorf("the page of the dashboard is not built; `make dashboard` builds it: %w", err)
	}
	zip, err := gzip.NewReader(bytes.NewReader(dashboard))
	if err != nil {
		return bundled{}, err
	}
	ofPage, err := io.ReadAll(zip)
	if err != nil {
		return bundled{}, err
	}
	result.texts = []entry{{name: "go-modules.txt", data: result.print()}, {name: "dashboard.txt", data: ofPage}}
	return result, nil
}

// linked finds the modules and packages of a program. Those that a folder of this checkout stands in for are our own.
func linked(ctx context.Context, log io.Writer, p platform, folders map[string]map[string]bool, roots map[string]string) error {
	command := exec.CommandContext(ctx, "go", "list", "-deps", "-tags", "libvirt_dlopen,netgo,osusergo",
		"-f", "{{with .Module}}{{if not (or .Main (and .Replace (not .Replace.Version)))}}{{.Path}} {{.Version}}\t{{.Dir}}\t{{$.Dir}}{{end}}{{end}}", "./cmd/skiff")
	cgo := "0"
	if p == (platform{"linux", "amd64"}) {
		cgo = "1" // the one with the driver for libvirt
	}
	command.Env = append(os.Environ(), "GOOS="+p.os, "GOARCH="+p.arch, "CGO_ENABLED="+cgo)
	command.Stderr = log
	out, err := command.Output()
	if err != nil {
		return fmt.Errorf("list the modules of skiff for %s: %w", p, err)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		if len(fields) != 3 {
			continue
		}
		if folders[fields[0]] == nil {
			folders[fields[0]] = map[string]bool{}
		}
		roots[fields[0]] = fields[1]
		folders[fields[0]][fields[2]] = true
	}
	return nil
}

// textsOf reads what lies in the root of a module, and between there and the packages that are used: code that was taken from
// elsewhere has a licence of its own there.
func textsOf(root string, packages map[string]bool) ([]text, error) {
	look := map[string]bool{root: true}
	for folder := range packages {
		for ; folder != root && strings.HasPrefix(folder, root); folder = filepath.Dir(folder) {
			look[folder] = true
		}
	}
	named := regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([.-].*)?$`)
	source := regexp.MustCompile(`\.(go|sh|py)$`)
	var texts []text
	for _, folder := range slices.Sorted(maps.Keys(look)) {
		entries, err := os.ReadDir(folder)
		if err != nil {
			return nil, err
		}
		for _, one := range entries {
			if one.IsDir() || !named.MatchString(one.Name()) || source.MatchString(one.Name()) {
				continue
			}
			data, err := os.ReadFile(filepath.Join(folder, one.Name()))
			if err != nil {
				return nil, err
			}
			name, err := filepath.Rel(root, filepath.Join(folder, one.Name()))
			if err != nil {
				return nil, err
			}
			texts = append(texts, text{name: filepath.ToSlash(name), data: strings.ToValidUTF8(strings.ReplaceAll(string(data), "\r\n", "\n"), "")})
		}
	}
	return texts, nil
}

// licenseOf tells the licences by sentences that each has and no other.
func licenseOf(texts []text) (string, error) {
	var found []string
	for _, one := range texts {
		words := strings.Join(strings.Fields(one.data), " ")
		for _, known := range []struct{ id, says, not string }{
			{"Apache-2.0", "Apache License Version 2.0, January 2004", ""},
			{"Apache-2.0", "Licensed under the Apache License, Version 2.0", ""},
			{"MPL-2.0", "Mozilla Public License Version 2.0", ""},
			{"MPL-2.0", "Mozilla Public License, version 2.0", ""},
			{"MIT", "Permission is hereby granted, free of charge, to any person", ""},
			{"ISC", "Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby granted", ""},
			{"ISC", "Permission to use, copy, modify, and distribute this software for any purpose with or without fee is hereby granted", ""},
			{"BSD-3-Clause", "may be used to endorse or promote products derived from this software", ""},
			{"BSD-2-Clause", "Redistribution and use in source and binary forms", "may be used to endorse or promote products"},
			{"Unlicense", "This is free and unencumbered software released into the public domain", ""},
			{"CC0-1.0", "CC0 1.0 Universal", ""},
		} {
			if strings.Contains(words, known.says) && (known.not == "" || !strings.Contains(words, known.not)) && !slices.Contains(found, known.id) {
				found = append(found, known.id)
			}
		}
	}
	if len(found) == 0 {
		var names []string
		for _, one := range texts {
			names = append(names, one.name)
		}
		return "", fmt.Errorf("it has no licence that packaging/release/licenses.go knows, in the files %q", names)
	}
	return strings.Join(found, " AND "), nil
}

// print is the file that goes with the program: a list, and every text.
func (b bundled) print() []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "skiff has parts of these %d Go modules in it, and is itself under the Apache License 2.0.\n\n", len(b.modules))
	for _, one := range b.modules {
		fmt.Fprintf(&out, "%s %s: %s\n", one.path, one.version, one.license)
	}
	rule := strings.Repeat("=", 80)
	for _, one := range b.modules {
		for _, text := range one.texts {
			fmt.Fprintf(&out, "\n%s\n%s %s, %s\n%s\n\n%s\n", rule, one.path, one.version, text.name, rule, strings.TrimSpace(text.data))
		}
	}
	return out.Bytes()
}

// copyright is the file that Debian asks for, in the form of DEP-5. What Debian has in /usr/share/common-licenses is not repeated.
func (b bundled) copyright() string {
	var out strings.Builder
	out.WriteString(`Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: skiff
Source: https://github.com/skiff-k8s/skiff
Comment: The program is linked from the Go modules below; the page of its dashboard
 is made of the packages of npm that are listed, with their licences, in
 /usr/share/doc/skiff/licenses/dashboard.txt.gz. Notices of the modules are in
 /usr/share/doc/skiff/licenses/go-modules.txt.gz.

Files: *
Copyright: The skiff authors
License: Apache-2.0
`)
	common := map[string]bool{"Apache-2.0": true, "MPL-2.0": true}
	used := map[string]bool{"Apache-2.0": true}
	for _, one := range b.modules {
		license := strings.ReplaceAll(one.license, " AND ", " and ")
		fmt.Fprintf(&out, "\nFiles: %s/*\nCopyright: %s\nLicense: %s\n", one.path, strings.Join(one.holders(), "\n "), license)
		for id := range strings.SplitSeq(one.license, " AND ") {
			used[id] = used[id] || common[id]
		}
		if common[one.license] {
			continue
		}
		for _, each := range one.texts {
			if id, err := licenseOf([]text{each}); err == nil && !common[id] {
				out.WriteString(paragraphs(withoutCommon(each.data)))
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(used)) {
		if used[id] {
			fmt.Fprintf(&out, "\nLicense: %s\n On Debian systems, the text of this licence is in /usr/share/common-licenses/%s.\n", id, id)
		}
	}
	return out.String()
}

// withoutCommon leaves the Apache License out of a file that holds it beside another licence: Debian wants it referred to.
func withoutCommon(data string) string {
	whole := regexp.MustCompile(`(?s)[ \t]*Apache License\s+Version 2\.0, January 2004.*?END OF TERMS AND CONDITIONS`)
	return whole.ReplaceAllLiteralString(data, "(Here stands the Apache License, Version 2.0; see below.)")
}

// holders are the lines of a module that say whose it is.
func (m module) holders() []string {
	claim := regexp.MustCompile(`(?i)^\W*(copyright\s+(\(c\)|©|\d{4}|by|the|[A-Z]).*|\(c\)\s.*|©\s*.*)$`)
	sample := regexp.MustCompile(`(?i)\[yyyy\]|\{yyyy\}|copyright (owner|holder|notice|license|and|statement)|^\W*copyright (the|by) (copyright|following)`)
	var lines []string
	for _, text := range m.texts {
		for line := range strings.Lines(text.data) {
			line = strings.Join(strings.Fields(line), " ")
			if claim.MatchString(line) && !sample.MatchString(line) && !slices.Contains(lines, line) {
				lines = append(lines, line)
			}
		}
	}
	if len(lines) == 0 {
		return []string{"The authors of " + m.path}
	}
	return lines
}

// paragraphs is a text as a field of a control file has it.
func paragraphs(data string) string {
	var out strings.Builder
	for line := range strings.Lines(strings.TrimSpace(data) + "\n") {
		if line = strings.TrimRight(line, " \t\n\f"); strings.TrimSpace(line) == "" {
			line = "."
		}
		out.WriteString(" " + line + "\n")
	}
	return out.String()
}
