package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// completion is the script for one shell, with the names that shells look for.
type completion struct {
	shell, folder, name string
	script              []byte
}

// completions lets the program of this computer print its scripts.
func (r release) completions(ctx context.Context, work string) ([]completion, error) {
	list := []completion{
		{shell: "bash", folder: "share/bash-completion/completions", name: "skiff"},
		{shell: "zsh", folder: "share/zsh/site-functions", name: "_skiff"},
		{shell: "fish", folder: "share/fish/vendor_completions.d", name: "skiff.fish"},
	}
	for i, one := range list {
		command := exec.CommandContext(ctx, r.program(platform{"linux", "amd64"}), "completion", one.shell)
		command.Env = append(os.Environ(), "SKIFF_HOME="+filepath.Join(work, "home"), "SKIFF_CONFIG=", "SKIFF_PROFILE=")
		command.Stderr = r.log
		script, err := command.Output()
		if err != nil {
			return nil, fmt.Errorf("make the completions for %s: %w", one.shell, err)
		}
		list[i].script = script
	}
	return list, nil
}

// tarball makes the archive with the program for a platform: it can be unpacked anywhere, also over /usr/local.
func (r release) tarball(p platform, completions []completion, inside bundled) error {
	program, err := readEntry("bin/skiff", r.program(p), true)
	if err != nil {
		return err
	}
	entries := []entry{program}
	for _, name := range []string{"LICENSE", "CHANGELOG.md"} {
		one, err := readEntry("share/doc/skiff/"+name, name, false)
		if err != nil {
			return err
		}
		entries = append(entries, one)
	}
	for _, one := range completions {
		entries = append(entries, entry{name: one.folder + "/" + one.name, data: one.script})
	}
	pages, err := r.pages()
	if err != nil {
		return err
	}
	entries = append(entries, pages...)
	for _, one := range inside.texts {
		entries = append(entries, entry{name: "share/doc/skiff/licenses/" + one.name, data: one.data})
	}
	folder := "skiff_" + r.version + "_" + p.String()
	return r.archiveTo(folder+".tar.gz", folder, entries)
}

// pages are the manual pages.
func (r release) pages() ([]entry, error) {
	files, err := filepath.Glob(filepath.Join(r.man, "skiff*.1"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("there are no manual pages in %s; `make man` writes them", r.man)
	}
	var entries []entry
	for _, file := range files {
		one, err := readEntry("share/man/man1/"+filepath.Base(file), file, false)
		if err != nil {
			return nil, err
		}
		entries = append(entries, one)
	}
	return entries, nil
}
