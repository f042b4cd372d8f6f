package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// page is where the built page of the dashboard is.
const page = "dashboard/assets"

// source makes the archive of the sources, and returns its name. It is the commit, the page of the dashboard, so that those who
// build from it need no Node.js, and release.mk, which stands for what git says in a checkout.
func (r release) source(ctx context.Context) (string, error) {
	command := exec.CommandContext(ctx, "git", "archive", "--format=tar", r.commit)
	command.Stderr = r.log
	content, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("read the commit %s: %w", r.commit, err)
	}
	entries, err := untar(content)
	if err != nil {
		return "", fmt.Errorf("read the commit %s: %w", r.commit, err)
	}
	built, err := r.page(entries)
	if err != nil {
		return "", err
	}
	entries = append(entries, built...)
	entries = append(entries, entry{name: "release.mk", data: fmt.Appendf(nil,
		"# What git says in a checkout. The page of the dashboard is in this archive, built.\nVERSION := %s\nCOMMIT := %s\nSOURCE_DATE_EPOCH := %d\nPAGE_IS_BUILT := yes\n",
		r.version, r.commit, r.date.Unix())})
	folder := "skiff-" + r.version
	return folder + ".tar.gz", r.archiveTo(folder+".tar.gz", folder, entries)
}

// untar reads what git archive writes.
func untar(content []byte) ([]entry, error) {
	var entries []entry
	for reader := tar.NewReader(bytes.NewReader(content)); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return entries, nil
		}
		if err != nil {
			return nil, err
		}
		one := entry{name: header.Name, exec: header.Mode&0o100 != 0}
		switch header.Typeflag {
		case tar.TypeReg:
			if one.data, err = io.ReadAll(reader); err != nil {
				return nil, err
			}
		case tar.TypeSymlink:
			one.link = header.Linkname
		default:
			continue // folders, and the comment with the commit
		}
		entries = append(entries, one)
	}
}

// page are the files of the dashboard's page that are not in the commit.
func (r release) page(committed []entry) ([]entry, error) {
	known := map[string]bool{}
	for _, one := range committed {
		known[one.name] = true
	}
	if _, err := os.Stat(filepath.Join(page, "index.html.gz")); err != nil {
		return nil, fmt.Errorf("the page of the dashboard is not built; `make dashboard` builds it: %w", err)
	}
	var entries []entry
	err := filepath.WalkDir(page, func(path string, info fs.DirEntry, err error) error {
		name := filepath.ToSlash(path)
		if err != nil || info.IsDir() || known[name] {
			return err
		}
		one, err := readEntry(name, path, false)
		entries = append(entries, one)
		return err
	})
	return entries, err
}
