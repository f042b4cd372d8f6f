package provision

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// File is a file on the machine.
type File struct {
	Path string // absolute
	Mode fs.FileMode
	Body []byte
	Link string // not empty: a symbolic link to this instead
}

func sortFiles(files []File) {
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
}

// archive makes a tar archive with paths relative to /.
func archive(files []File) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		header := &tar.Header{
			Typeflag: tar.TypeReg, Name: strings.TrimPrefix(f.Path, "/"), Mode: int64(f.Mode.Perm()), Size: int64(len(f.Body)), ModTime: time.Unix(0, 0),
		}
		if f.Link != "" {
			header.Typeflag, header.Linkname, header.Size = tar.TypeSymlink, f.Link, 0
		}
		if err := w.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("pack %q: %w", f.Path, err)
		}
		if _, err := w.Write(f.Body); err != nil {
			return nil, fmt.Errorf("pack %q: %w", f.Path, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	return out.Bytes(), nil
}
