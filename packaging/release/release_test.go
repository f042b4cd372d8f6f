package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

func date() time.Time { return time.Unix(1900000000, 0).UTC() }

// listed are the members of an archive, each with its mode and, of a link, where it leads.
func listed(t *testing.T, packed []byte) []string {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for reader := tar.NewReader(zip); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		if !header.ModTime.Equal(date()) || header.Uid != 0 || header.Gid != 0 || header.Uname != "" || header.Gname != "" {
			t.Errorf("%s: it is of %s and %d:%d %q:%q, want the date of the release and nobody", header.Name, header.ModTime, header.Uid, header.Gid, header.Uname, header.Gname)
		}
		list = append(list, strings.TrimSpace(fmt.Sprintf("%o %s %s", header.Mode, header.Name, header.Linkname)))
	}
}

// small is a release of a few files, run in a folder of its own.
func small(t *testing.T) release {
	t.Helper()
	t.Chdir(t.TempDir())
	files := map[string]string{
		"LICENSE": "licence", "CHANGELOG.md": "# Changes\n\n## Unreleased\n\n- One thing\n  and more.\n- Another.\n", "bin/skiff-linux-amd64": "#!/bin/sh\necho skiff $2\n",
		"man/skiff.1": "page", "man/skiff-start.1": "page", "man/other.1": "no page of skiff's",
		"dashboard/assets/index.html.gz": "page", "dashboard/assets/static/app.js.gz": "script",
	}
	for name, text := range files {
		if err := put(name, []byte(text), date()); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod("bin/skiff-linux-amd64", 0o755); err != nil { //nolint:gosec // it is run
		t.Fatal(err)
	}
	if err := os.Mkdir("out", 0o755); err != nil { //nolint:gosec // as that of a release
		t.Fatal(err)
	}
	return release{version: "v1.2.3", commit: "HEAD", date: date(), programs: "bin", man: "man", out: "out", log: io.Discard}
}

// TestTarball: what it holds, under which names and modes, and twice the same bytes.
func TestTarball(t *testing.T) {
	r := small(t)
	completions, err := r.completions(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	inside := bundled{texts: []entry{{name: "go-modules.txt", data: []byte("MIT")}}}
	var packed [2][]byte
	for i := range packed {
		if err := r.tarball(platform{"linux", "amd64"}, completions, inside); err != nil {
			t.Fatal(err)
		}
		if packed[i], err = os.ReadFile("out/skiff_v1.2.3_linux_amd64.tar.gz"); err != nil {
			t.Fatal(err)
		}
		later := time.Now()
		if err := os.Chtimes("LICENSE", later, later); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod("LICENSE", 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(packed[0], packed[1]) {
		t.Error("twice the same files gave other bytes")
	}
	want := strings.Split(`755 F/
755 F/bin/
755 F/bin/skiff
755 F/share/
755 F/share/bash-completion/
755 F/share/bash-completion/completions/
644 F/share/bash-completion/completions/skiff
755 F/share/doc/
755 F/share/doc/skiff/
644 F/share/doc/skiff/CHANGELOG.md
644 F/share/doc/skiff/LICENSE
755 F/share/doc/skiff/licenses/
644 F/share/doc/skiff/licenses/go-modules.txt
755 F/share/fish/
755 F/share/fish/vendor_completions.d/
644 F/share/fish/vendor_completions.d/skiff.fish
755 F/share/man/
755 F/share/man/man1/
644 F/share/man/man1/skiff-start.1
644 F/share/man/man1/skiff.1
755 F/share/zsh/
755 F/share/zsh/site-functions/
644 F/share/zsh/site-functions/_skiff`, "\n")
	got := listed(t, packed[0])
	for i := range got {
		got[i] = strings.Replace(got[i], "skiff_v1.2.3_linux_amd64", "F", 1)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if err := archive(io.Discard, "x", date(), []entry{{name: "a"}, {name: "a"}}); err == nil {
		t.Error("a name that is there twice: got no error")
	}
}

// TestSource: the archive has what is committed, the page that is built, and what git would say.
func TestSource(t *testing.T) {
	r := small(t)
	if err := os.Symlink("LICENSE", "COPYING"); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"init", "-q"}, {"add", "LICENSE", "COPYING", "bin"},
		{"-c", "user.name=x", "-c", "user.email=x@example.com", "commit", "-q", "-m", "x"},
	} {
		if out, err := exec.CommandContext(t.Context(), "git", args...).CombinedOutput(); err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
	}
	name, err := r.source(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(filepath.Join("out", name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err = r.source(t.Context()); err != nil {
		t.Fatal(err)
	}
	if second, _ := os.ReadFile(filepath.Join("out", name)); !bytes.Equal(first, second) {
		t.Error("twice the same commit gave other bytes")
	}
	want := []string{
		"755 skiff-v1.2.3/", "777 skiff-v1.2.3/COPYING LICENSE", "644 skiff-v1.2.3/LICENSE", "755 skiff-v1.2.3/bin/", "755 skiff-v1.2.3/bin/skiff-linux-amd64",
		"755 skiff-v1.2.3/dashboard/", "755 skiff-v1.2.3/dashboard/assets/", "644 skiff-v1.2.3/dashboard/assets/index.html.gz",
		"755 skiff-v1.2.3/dashboard/assets/static/", "644 skiff-v1.2.3/dashboard/assets/static/app.js.gz", "644 skiff-v1.2.3/release.mk",
	}
	if got := listed(t, first); name != "skiff-v1.2.3.tar.gz" || !slices.Equal(got, want) {
		t.Errorf("got %s with\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if err := os.Remove("dashboard/assets/index.html.gz"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.source(t.Context()); err == nil || !strings.Contains(err.Error(), "make dashboard") {
		t.Errorf("without the page: got %v, want an error that names make dashboard", err)
	}
}

// TestSums: as sha256sum reads them.
func TestSums(t *testing.T) {
	r := small(t)
	for _, name := range []string{"b", "a"} {
		if err := put(filepath.Join("out", name), []byte(name), date()); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.sums(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("out/SHA256SUMS")
	const want = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb  a\n3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d  b\n"
	if err != nil || string(got) != want {
		t.Errorf("got %v and %q, want %q", err, got, want)
	}
}

func TestGoodVersion(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"v0.1.0": true, "v10.20.30": true, "v1.0.0-rc.1": true, "0.1.0": false, "v0.1": false, "v01.2.3": false, "v0.0.0-dev": false, "v0.1.0-3-gabcdef": false, "": false,
	} {
		if got := goodVersion(text); got != want {
			t.Errorf("%q: got %t, want %t", text, got, want)
		}
	}
}

func TestNotes(t *testing.T) {
	t.Parallel()
	const changes = "# Changes\n\nText.\n\n## Unreleased\n\n- Next thing\n  on two lines.\n\n## v0.1.0 (2031-01-01)\n\n- First.\n- Second.\n"
	for version, want := range map[string][]string{"v0.1.0": {"First.", "Second."}, "v0.2.0": {"Next thing on two lines."}} {
		if got, err := notesOf(changes, version); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %q and %v, want %q", version, got, err, want)
		}
	}
	if _, err := notesOf("# Changes\n", "v0.1.0"); err == nil {
		t.Error("without changes: got no error")
	}
}

func TestWrapped(t *testing.T) {
	t.Parallel()
	item := strings.TrimSpace(strings.Repeat("word ", 40))
	for line := range strings.Lines("  * " + wrapped(item)) {
		if len(strings.TrimRight(line, "\n")) > 80 || !strings.HasPrefix(line, "  ") {
			t.Errorf("got the line %q, want at most 80 characters and an indent", line)
		}
	}
	if got := strings.Join(strings.Fields(wrapped(item)), " "); got != item {
		t.Errorf("got %q, want the same words", got)
	}
	const want = "skiff (1.0.0~rc.1-1) unstable; urgency=medium\n\n  * One.\n  * Two.\n\n -- " + maintainer + "  Sun, 17 Mar 2030 17:46:40 +0000\n"
	if got := debianChangelog("v1.0.0-rc.1", date(), []string{"One.", "Two."}); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFillFormula(t *testing.T) {
	t.Parallel()
	formula, err := os.ReadFile(filepath.Join("..", "homebrew", "skiff.rb"))
	if err != nil {
		t.Fatal(err)
	}
	sum, commit := strings.Repeat("ab", 32), strings.Repeat("cd", 20)
	got, err := fillFormula(string(formula), "v1.2.3", commit, sum)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"/releases/download/v1.2.3/skiff-v1.2.3.tar.gz\"", `sha256 "` + sum + `"`, "main.commit=" + commit} {
		if !strings.Contains(got, want) {
			t.Errorf("got %s\nwant %q in it", got, want)
		}
	}
	if _, err := fillFormula(got, "v1.2.4", commit, sum); err == nil {
		t.Error("a formula that is filled in already: got no error")
	}
}

func TestLicenseOf(t *testing.T) {
	t.Parallel()
	const clauses = "Redistribution and use in source and binary\nforms, with or without modification, are permitted. "
	for _, test := range []struct {
		data []string
		want string
	}{
		{[]string{"                  Apache License\n            Version 2.0, January 2004\n"}, "Apache-2.0"},
		{[]string{"Permission is hereby granted, free of charge, to any person obtaining"}, "MIT"},
		{[]string{clauses}, "BSD-2-Clause"},
		{[]string{clauses + "Neither the name of X may be used to endorse or promote products derived from\nthis software"}, "BSD-3-Clause"},
		{[]string{"Permission is hereby granted, free of charge, to any person", "Apache License\nVersion 2.0, January 2004"}, "MIT AND Apache-2.0"},
		{[]string{"All rights reserved."}, ""},
		{nil, ""},
	} {
		var texts []text
		for _, data := range test.data {
			texts = append(texts, text{"LICENSE", data})
		}
		if got, err := licenseOf(texts); got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%q: got %q and %v, want %q", test.data, got, err, test.want)
		}
	}
}

// TestCopyright: every module has a paragraph, whose text is there unless Debian has it.
func TestCopyright(t *testing.T) {
	t.Parallel()
	inside := bundled{modules: []module{
		{"example.com/a", "v1.0.0", "MIT", []text{{"LICENSE", "MIT License\n\nCopyright (c) 2020 Some One\n\nPermission is hereby granted, free of charge, to any person\n"}}},
		{"example.com/c", "v1.0.0", "Apache-2.0 AND MIT", []text{{"LICENSE", "Apache License\nVersion 2.0, January 2004\nTerms.\nEND OF TERMS AND CONDITIONS\n\nPermission is hereby granted, free of charge, to any person\n"}}},
		{"example.com/b", "v1.0.0", "Apache-2.0", []text{{"LICENSE", "Apache License\nVersion 2.0, January 2004\n\nCopyright [yyyy] [name of copyright owner]\n"}}},
	}}
	got := inside.copyright()
	for _, want := range []string{
		"\nFiles: example.com/a/*\nCopyright: Copyright (c) 2020 Some One\nLicense: MIT\n MIT License\n .\n Copyright (c) 2020 Some One\n .\n Permission",
		"\nFiles: example.com/b/*\nCopyright: The authors of example.com/b\nLicense: Apache-2.0\n\n",
		"\nLicense: Apache-2.0\n On Debian systems",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwant in it\n%s", got, want)
		}
	}
	if strings.Contains(got, "Terms.") {
		t.Errorf("got\n%s\nwant the Apache License referred to", got)
	}
	if strings.Contains(got, "yyyy") || strings.Contains(got, "MPL") {
		t.Errorf("got\n%s\nwant neither samples nor licences that nobody has", got)
	}
}

// TestBill: the bill of materials names the program, Go and each module, with its replacement where it has one.
func TestBill(t *testing.T) {
	t.Parallel()
	info := &buildinfo.BuildInfo{GoVersion: "go1.26.0", Main: debug.Module{Path: "example.com/skiff"}, Deps: []*debug.Module{
		{Path: "example.com/a", Version: "v1.0.0", Sum: "h1:x"}, {Path: "example.com/b", Version: "v1.0.0", Replace: &debug.Module{Path: "example.com/c", Version: "v2.0.0"}},
		{Path: "example.com/d", Version: "v1.0.0", Replace: &debug.Module{Path: "./agent/d"}},
	}}
	out, err := json.Marshal(billOf("v1.2.3", platform{"linux", "arm64"}, date(), info, "00ff"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"bomFormat":"CycloneDX","specVersion":"1.6","serialNumber":"urn:uuid:`, `"timestamp":"2030-03-17T17:46:40Z"`, `"name":"skiff","version":"v1.2.3","hashes":[{"alg":"SHA-256","content":"00ff"}]`,
		`"purl":"pkg:golang/std@go1.26.0"`, `"purl":"pkg:golang/example.com/a@v1.0.0"`, `"purl":"pkg:golang/example.com/c@v2.0.0"`,
		`"dependsOn":["pkg:golang/std@go1.26.0","pkg:golang/example.com/a@v1.0.0","pkg:golang/example.com/c@v2.0.0"]`,
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("got %s, want %s in it", out, want)
		}
	}
	again, _ := json.Marshal(billOf("v1.2.3", platform{"linux", "arm64"}, date(), info, "00ff"))
	if !bytes.Equal(out, again) {
		t.Error("twice the same program gave another bill")
	}
}

// TestPackagesAreFilledIn: nfpm's configuration is YAML for each architecture, with what the two systems call alike in other words.
func TestPackagesAreFilledIn(t *testing.T) {
	t.Chdir(filepath.Join("..", ".."))
	for _, test := range []struct{ arch, libc, recommends, suggests string }{
		{"amd64", "2.34", "qemu-system-x86", "libvirt-daemon-system"}, {"arm64", "", "qemu-system-arm", "virtualbox"},
	} {
		config := filepath.Join(t.TempDir(), "nfpm.yaml")
		if err := fill(config, map[string]any{
			"Kind": "deb", "Arch": test.arch, "Version": "v1.2.3", "Build": "A build.", "Date": "2030-03-17T17:46:40Z", "Work": "/work", "Program": "/p", "Libc": test.libc,
			"Pages": []string{"share/man/man1/skiff.1.gz"}, "Texts": []string{"licenses/go-modules.txt.gz"},
		}); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(config)
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Overrides map[string]struct{ Depends, Recommends, Suggests []string }
		}
		if err := yaml.Unmarshal(content, &got); err != nil {
			t.Fatal(err)
		}
		deb := got.Overrides["deb"]
		if deb.Recommends[0] != test.recommends || deb.Suggests[0] != test.suggests || slices.Contains(deb.Depends, "libc6 (>= 2.34)") != (test.libc != "") {
			t.Errorf("%s: got %+v", test.arch, deb)
		}
	}
}

// TestWorkflow: the workflow for GitHub does nothing but call make, with targets that there are, and the forms for issues can be read.
func TestWorkflow(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	var workflow struct {
		Jobs map[string]struct{ Steps []struct{ Run, Uses string } }
	}
	read(t, filepath.Join("..", "github", "release.yml"), &workflow)
	ran := 0
	for _, step := range workflow.Jobs["release"].Steps {
		if step.Run == "" {
			continue
		}
		ran++
		found := regexp.MustCompile(`^make ([a-z-]+)( VERSION="\$GITHUB_REF_NAME")?$`).FindStringSubmatch(step.Run)
		if found == nil {
			t.Errorf("got the step %q, want one that calls make", step.Run)
		} else if !strings.Contains(string(makefile), "\n"+found[1]+":") {
			t.Errorf("the Makefile has no target %s", found[1])
		}
	}
	if ran == 0 {
		t.Error("the workflow runs nothing")
	}
	forms, err := filepath.Glob(filepath.Join(root, ".github", "ISSUE_TEMPLATE", "*.yml"))
	if err != nil || len(forms) < 3 {
		t.Fatalf("got %d forms and %v", len(forms), err)
	}
	for _, file := range forms {
		var form struct {
			Name, Description string
			Body              []struct{ Type string }
		}
		read(t, file, &form)
		if filepath.Base(file) != "config.yml" && (form.Name == "" || form.Description == "" || len(form.Body) == 0) {
			t.Errorf("%s: got %+v, want name, description and body", file, form)
		}
	}
}

func read(t *testing.T, path string, into any) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err == nil {
		err = yaml.Unmarshal(content, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}
