package ssh

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/skiff-k8s/skiff/machine"
)

// File is one file to be put on a machine.
type File struct {
	Path string // absolute, slash-separated
	Mode fs.FileMode
	Body []byte
}

// putScript writes its input to $1 with the mode $2. If the input has $5 bytes, it gives it the name $3. The folder of
// both is $4. A connection that is lost looks like the end of the input, so the size must be checked before the file is
// replaced; where it is not known, $5 is "-", and the file keeps its temporary name.
const putScript = `[ -d "$4" ] || mkdir -p -- "$4" || exit 1
trap 'rm -f -- "$1"; exit 1' HUP INT TERM
umask 077
cat >"$1" && chmod "$2" "$1" && { [ "$5" = - ] || { [ "$(wc -c <"$1")" -eq "$5" ] && mv -fT -- "$1" "$3"; }; } && exit
rm -f -- "$1"
exit 1`

// peekSize is up to how many bytes of a body are read before anything is sent, to learn whether they are all.
const peekSize = 1 << 20

// Put implements machine.Runner. When it fails or ctx is done, the old file is still there, and nothing else; only a
// lost connection may leave a temporary file beside it.
func (r *Runner) Put(ctx context.Context, name string, mode fs.FileMode, body io.Reader) error {
	if !path.IsAbs(name) {
		return fmt.Errorf("put %q: not an absolute path", name)
	}
	name = path.Clean(name)
	dir, base := path.Split(name)
	temporary := path.Join(dir, "."+base+"."+newMark())
	body, size, err := peek(body)
	if err != nil {
		return fmt.Errorf("put %q: %w", name, err)
	}
	_, err = r.Run(ctx, machine.Cmd{
		Args:  []string{"sh", "-c", putScript, "sh", temporary, octal(mode), name, path.Clean(dir), size},
		Stdin: body,
	})
	if err == nil && size == unknown {
		_, err = r.Run(ctx, machine.Cmd{Args: []string{"mv", "-fT", "--", temporary, name}})
		if err != nil {
			_, _ = r.Run(context.WithoutCancel(ctx), machine.Cmd{Args: []string{"rm", "-f", "--", temporary}})
		}
	}
	if err != nil {
		return fmt.Errorf("put %q: %w", name, withStderr(err))
	}
	return nil
}

const unknown = "-"

// peek returns a reader of all that body holds, and its size in decimal digits or unknown.
func peek(body io.Reader) (all io.Reader, size string, err error) {
	if body == nil {
		return strings.NewReader(""), "0", nil
	}
	head, err := io.ReadAll(io.LimitReader(body, peekSize))
	switch {
	case err != nil:
		return nil, "", err
	case len(head) < peekSize:
		return bytes.NewReader(head), strconv.Itoa(len(head)), nil
	}
	return io.MultiReader(bytes.NewReader(head), body), unknown, nil
}

// PutAll puts many files at the cost of one session. Missing folders are made with mode 0755. Unlike Put it does not
// replace files in one step, and after a failure some may be new and others not. Files belong to the user of the session.
func (r *Runner) PutAll(ctx context.Context, files []File) error {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, f := range files {
		if !path.IsAbs(f.Path) {
			return fmt.Errorf("put %q: not an absolute path", f.Path)
		}
		header := &tar.Header{
			Typeflag: tar.TypeReg,
			Name:     strings.TrimPrefix(path.Clean(f.Path), "/"),
			Mode:     int64(f.Mode.Perm()),
			Size:     int64(len(f.Body)),
			ModTime:  time.Unix(0, 0),
		}
		if err := w.WriteHeader(header); err != nil {
			return fmt.Errorf("put %q: %w", f.Path, err)
		}
		if _, err := w.Write(f.Body); err != nil {
			return fmt.Errorf("put %q: %w", f.Path, err)
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("put files: %w", err)
	}
	return r.extract(ctx, &archive, "-x", "-m", "-o", "-p", "-f", "-", "-C", "/")
}

// Extract unpacks a tar archive in the folder dir of the machine, which must exist. Owners, modes and times come from
// the archive when the user of the session is root.
func (r *Runner) Extract(ctx context.Context, dir string, archive io.Reader) error {
	return r.extract(ctx, archive, "-x", "-p", "-f", "-", "-C", dir)
}

func (r *Runner) extract(ctx context.Context, archive io.Reader, args ...string) error {
	if _, err := r.Run(ctx, machine.Cmd{Args: append([]string{"tar"}, args...), Stdin: archive}); err != nil {
		return fmt.Errorf("unpack on the machine: %w", withStderr(err))
	}
	return nil
}

func octal(mode fs.FileMode) string { return strconv.FormatUint(uint64(mode.Perm()), 8) }
