package main

import (
	"archive/tar"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// entry is a file of an archive.
type entry struct {
	name string // with slashes
	data []byte
	link string // when not empty, it is a symbolic link to this
	exec bool   // it is a program
}

// readEntry reads a file that goes into an archive under another name.
func readEntry(name, file string, exec bool) (entry, error) {
	data, err := os.ReadFile(file)
	return entry{name: name, data: data, exec: exec}, err
}

// archive writes entries as a .tar.gz in which everything is below one folder. Names are sorted, times, owners and modes do not
// come from this computer, so the same entries give the same bytes.
func archive(w io.Writer, folder string, date time.Time, entries []entry) error {
	zip, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	out := tar.NewWriter(zip)
	all := map[string]entry{}
	for _, one := range entries {
		if _, twice := all[one.name]; twice {
			return fmt.Errorf("the archive %s has %s twice", folder, one.name)
		}
		all[one.name] = one
		for above := path.Dir(one.name); above != "."; above = path.Dir(above) {
			all[above+"/"] = entry{}
		}
	}
	all[""] = entry{}
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := add(out, folder+"/"+name, date, all[name]); err != nil {
			return fmt.Errorf("write %s into the archive: %w", name, err)
		}
	}
	if err := out.Close(); err != nil {
		return err
	}
	return zip.Close()
}

func add(out *tar.Writer, name string, date time.Time, one entry) error {
	header := &tar.Header{Name: name, Mode: 0o644, ModTime: date, Typeflag: tar.TypeReg, Size: int64(len(one.data)), Format: tar.FormatPAX}
	switch {
	case strings.HasSuffix(name, "/"):
		header.Typeflag, header.Mode = tar.TypeDir, 0o755
	case one.link != "":
		header.Typeflag, header.Linkname, header.Mode = tar.TypeSymlink, one.link, 0o777
	case one.exec:
		header.Mode = 0o755
	}
	if err := out.WriteHeader(header); err != nil {
		return err
	}
	_, err := out.Write(one.data)
	return err
}

// archiveTo writes an archive to a file of the release.
func (r release) archiveTo(name, folder string, entries []entry) error {
	file, err := os.Create(filepath.Join(r.out, name))
	if err != nil {
		return err
	}
	if err := archive(file, folder, r.date, entries); err != nil {
		_ = file.Close()
		return err
	}
	return file.Close()
}

// zipped is data as gzip -9n makes it.
func zipped(data []byte) ([]byte, error) {
	var out strings.Builder
	zip, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err == nil {
		_, err = zip.Write(data)
	}
	if err == nil {
		err = zip.Close()
	}
	return []byte(out.String()), err
}
