package cluster

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"regexp"
	"strings"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/internal/counting"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/store"
)

// Image is a container image that a cluster's node has.
type Image struct {
	Name   string `json:"name"`   // with registry and tag
	Digest string `json:"digest"` // of its manifest, or of the index of several
}

// ctr are the arguments of containerd's client for the images that pods use.
func ctr(args ...string) []string {
	return append([]string{"ctr", "--namespace", "k8s.io"}, args...)
}

// LoadImages gives the node the images of an archive: a tar as "docker save" makes it, or of an OCI layout, compressed or
// not. It is streamed, and held nowhere as a whole. from is what errors call it; size is in bytes, 0 when it is unknown.
// An image of a name that the node has already takes that name. A file that is no archive gives fail.FlagInvalid.
func (m *Manager) LoadImages(ctx context.Context, profile, from string, archive io.Reader, size int64, sink Sink) ([]Image, error) {
	op := "load images from " + from
	buffered := bufio.NewReaderSize(archive, 1<<20)
	if err := looksLikeArchive(buffered); err != nil {
		return nil, fail.New(fail.FlagInvalid, op, "%w", err).
			WithHint("An archive of images is what `docker save` or `podman save` writes, or a tar of an OCI layout.")
	}
	c, vm, err := m.running(ctx, profile)
	if err != nil {
		return nil, err
	}
	var loaded []Image
	step := Event{Profile: profile, Step: "load", Index: 1, Steps: 1, Text: "Load images from " + from}
	err = inStep(step, sink, func() error {
		step.Total = size
		sent := &counting.Reader{Reader: buffered, Count: func(n int) {
			step.Done += int64(n)
			emit(sink, step, Progress)
		}}
		var complaint bytes.Buffer
		result, err := vm.Run(ctx, machine.Cmd{
			Args:  ctr("images", "import", "--local", "--discard-unpacked-layers", "--label", "io.cri-containerd.image=managed", "-"),
			Stdin: sent, Stderr: &complaint,
		})
		if err != nil {
			if failed, ok := errors.AsType[*machine.RunError](err); ok {
				refused := fail.New(fail.ImageRefused, op, "containerd refused it with status %d", failed.ExitCode).WithOutput(complaint.String())
				return guestFull(ctx, vm, c, refused)
			}
			return wrap(fail.MachineFailed, err, "%s", op)
		}
		loaded = imported(string(result.Stdout))
		if err := noteLoaded(m.Home.Cluster(profile), loaded); err != nil {
			return store.NoSpace(op, err)
		}
		return nil
	})
	return loaded, err
}

// looksLikeArchive refuses what is certainly none, before anything is sent.
func looksLikeArchive(from *bufio.Reader) error {
	const magicAt, magic = 257, "ustar" // POSIX pax(1), "ustar Interchange Format"
	head, err := from.Peek(magicAt + len(magic))
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for _, compressed := range []string{"\x1f\x8b", "\x28\xb5\x2f\xfd"} { // gzip (RFC 1952), zstd (RFC 8878)
		if bytes.HasPrefix(head, []byte(compressed)) {
			return nil
		}
	}
	if len(head) == magicAt+len(magic) && string(head[magicAt:]) == magic {
		return nil
	}
	return errors.New("it is no tar archive")
}

// importedLine is what ctr prints of each image (containerd, cmd/ctr/commands/images/import.go).
var importedLine = regexp.MustCompile(`(?m)^unpacking (\S+) \((sha256:[0-9a-f]{64})\)`) //nolint:gochecknoglobals // compiled once, never changed

func imported(printed string) []Image {
	list := []Image{}
	for _, match := range importedLine.FindAllStringSubmatch(printed, -1) {
		list = append(list, Image{Name: match[1], Digest: match[2]})
	}
	return list
}

// Images returns the images that the node has, by name. The names that are nothing but a digest are left out.
func (m *Manager) Images(ctx context.Context, profile string) ([]Image, error) {
	vm, err := m.Machine(ctx, profile)
	if err != nil {
		return nil, err
	}
	result, err := vm.Run(ctx, machine.Cmd{Args: ctr("images", "list")})
	if err != nil {
		return nil, wrap(fail.MachineFailed, err, "list the images of cluster %s", profile)
	}
	return listed(string(result.Stdout)), nil
}

// listed reads the table of `ctr images list`: REF, TYPE, DIGEST, and more.
func listed(table string) []Image {
	list := []Image{}
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		const name, digest = 0, 2
		if len(fields) > digest && strings.HasPrefix(fields[digest], "sha256:") &&
			!strings.HasPrefix(fields[name], "sha256:") && !strings.Contains(fields[name], "@") {
			list = append(list, Image{Name: fields[name], Digest: fields[digest]})
		}
	}
	return list
}
