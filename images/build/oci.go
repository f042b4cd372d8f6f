package build

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// epoch is the time that everything in the image bears: the same inputs are to give the same bytes.
var epoch = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// StandInLabel marks an image, and its entry in the mirror's index, as skiff's own answer to someone else's name.
const StandInLabel = "skiff.dev/stand-in"

const nobody = "65532:65532" // the user that distroless images call nonroot

// entry is a file, folder or symbolic link of a layer.
type entry struct {
	path   string // absolute, in the container
	mode   int64  // permission bits
	from   string // file of the host whose content it has
	text   string // or its content
	link   string // or what the symbolic link points to
	folder bool
}

// layer is a list of entries; layers with the same name are shared by images.
type layer struct {
	name    string
	entries []entry
}

// container describes one container image.
type container struct {
	reference  string // complete, with registry and tag
	layers     []layer
	entrypoint []string
	user       string
	ports      []string
	standIn    bool
}

// writeLayer writes the layer as an uncompressed tar archive to file: under emulation unpacking compressed layers costs more
// than carrying them. Parent folders are added.
func writeLayer(file string, entries []entry) (*fileLayer, error) {
	out, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	sum := sha256.New()
	archive := tar.NewWriter(io.MultiWriter(out, sum))
	made := map[string]bool{"/": true}
	for _, e := range entries {
		if err := writeParents(archive, path.Dir(e.path), made); err != nil {
			return nil, err
		}
		if err := writeEntry(archive, e); err != nil {
			return nil, fmt.Errorf("layer entry %q: %w", e.path, err)
		}
		made[e.path] = made[e.path] || e.folder
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	info, err := out.Stat()
	if err != nil {
		return nil, err
	}
	digest := v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}
	return &fileLayer{path: file, digest: digest, size: info.Size()}, out.Close()
}

func writeParents(archive *tar.Writer, dir string, made map[string]bool) error {
	if made[dir] {
		return nil
	}
	if err := writeParents(archive, path.Dir(dir), made); err != nil {
		return err
	}
	made[dir] = true
	return writeEntry(archive, entry{path: dir, mode: 0o755, folder: true})
}

func writeEntry(archive *tar.Writer, e entry) error {
	header := tar.Header{Name: e.path[1:], Mode: e.mode, ModTime: epoch, Format: tar.FormatPAX}
	switch {
	case e.folder:
		header.Typeflag, header.Name = tar.TypeDir, header.Name+"/"
		return archive.WriteHeader(&header)
	case e.link != "":
		header.Typeflag, header.Linkname, header.Mode = tar.TypeSymlink, e.link, 0o777
		return archive.WriteHeader(&header)
	case e.from == "":
		header.Typeflag, header.Size = tar.TypeReg, int64(len(e.text))
		if err := archive.WriteHeader(&header); err != nil {
			return err
		}
		_, err := io.WriteString(archive, e.text)
		return err
	}
	file, err := os.Open(e.from)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	header.Typeflag, header.Size = tar.TypeReg, info.Size()
	if err := archive.WriteHeader(&header); err != nil {
		return err
	}
	_, err = io.Copy(archive, file)
	return err
}

// fileLayer is an uncompressed layer that lies in a file.
type fileLayer struct {
	path   string
	digest v1.Hash
	size   int64
}

var _ v1.Layer = (*fileLayer)(nil)

func (l *fileLayer) Digest() (v1.Hash, error)             { return l.digest, nil }
func (l *fileLayer) DiffID() (v1.Hash, error)             { return l.digest, nil }
func (l *fileLayer) Compressed() (io.ReadCloser, error)   { return os.Open(l.path) }
func (l *fileLayer) Uncompressed() (io.ReadCloser, error) { return os.Open(l.path) }
func (l *fileLayer) Size() (int64, error)                 { return l.size, nil }
func (l *fileLayer) MediaType() (types.MediaType, error)  { return types.OCIUncompressedLayer, nil }

// assemble makes the image of c from its written layers.
func assemble(c container, layers []v1.Layer) (v1.Image, error) {
	labels := map[string]string{"org.opencontainers.image.vendor": "skiff"}
	if c.standIn {
		labels[StandInLabel] = "true"
	}
	ports := map[string]struct{}{}
	for _, port := range c.ports {
		ports[port] = struct{}{}
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err := mutate.ConfigFile(base, &v1.ConfigFile{
		Architecture: "amd64", OS: "linux", Created: v1.Time{Time: epoch}, RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{
			Entrypoint: c.entrypoint, User: c.user, Labels: labels, ExposedPorts: ports, WorkingDir: "/",
			Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		},
	})
	if err != nil {
		return nil, err
	}
	var adds []mutate.Addendum
	for _, l := range layers {
		adds = append(adds, mutate.Addendum{Layer: l, History: v1.History{Created: v1.Time{Time: epoch}, CreatedBy: "skiff"}})
	}
	if img, err = mutate.Append(img, adds...); err != nil {
		return nil, err
	}
	annotated, ok := mutate.Annotations(img, labels).(v1.Image)
	if !ok {
		return nil, fmt.Errorf("annotate %s: not an image any more", c.reference)
	}
	return annotated, nil
}

// writeLayout writes the images as an OCI image layout into dir, which is made. Layers of the same name are written once.
func writeLayout(ctx context.Context, dir string, containers []container) error {
	work, err := os.MkdirTemp(filepath.Dir(dir), "layers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	index, err := layout.Write(dir, mutate.IndexMediaType(empty.Index, types.OCIImageIndex))
	if err != nil {
		return err
	}
	written := map[string]v1.Layer{}
	for _, c := range containers {
		if err := ctx.Err(); err != nil {
			return err
		}
		var layers []v1.Layer
		for _, l := range c.layers {
			if written[l.name] == nil {
				if written[l.name], err = writeLayer(filepath.Join(work, l.name), l.entries); err != nil {
					return err
				}
			}
			layers = append(layers, written[l.name])
		}
		img, err := assemble(c, layers)
		if err != nil {
			return err
		}
		if err := index.AppendImage(img, layout.WithAnnotations(annotations(c)), layout.WithPlatform(v1.Platform{OS: "linux", Architecture: "amd64"})); err != nil {
			return err
		}
	}
	return nil
}

// annotations are those of the image's entry in the index. The first is the OCI specification's name for it; containerd
// looks for the second before it makes up a name of its own.
func annotations(c container) map[string]string {
	all := map[string]string{"org.opencontainers.image.ref.name": c.reference, "io.containerd.image.name": c.reference}
	if c.standIn {
		all[StandInLabel] = "true"
	}
	return all
}

// readLayout returns the index of the layout in dir.
func readLayout(dir string) (v1.IndexManifest, error) {
	var index v1.IndexManifest
	content, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		return index, err
	}
	return index, json.Unmarshal(content, &index)
}

// layoutTar writes the layout in dir as a tar archive, without the images that leave says.
func layoutTar(dir string, to io.Writer, leave func(v1.Descriptor) bool) error {
	index, err := readLayout(dir)
	if err != nil {
		return err
	}
	kept := index
	kept.Manifests = nil
	var blobs []string
	seen := map[string]bool{}
	add := func(h v1.Hash) {
		if !seen[h.Hex] {
			seen[h.Hex] = true
			blobs = append(blobs, h.Hex)
		}
	}
	for _, d := range index.Manifests {
		if leave(d) {
			continue
		}
		kept.Manifests = append(kept.Manifests, d)
		file, err := os.Open(filepath.Join(dir, "blobs", "sha256", d.Digest.Hex))
		if err != nil {
			return err
		}
		manifest, err := v1.ParseManifest(file)
		file.Close()
		if err != nil {
			return err
		}
		add(d.Digest)
		add(manifest.Config.Digest)
		for _, l := range manifest.Layers {
			add(l.Digest)
		}
	}
	content, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(to)
	entries := []entry{{path: "/oci-layout", mode: 0o644, text: `{"imageLayoutVersion": "1.0.0"}`}, {path: "/index.json", mode: 0o644, text: string(content)}}
	for _, blob := range blobs {
		entries = append(entries, entry{path: "/blobs/sha256/" + blob, mode: 0o644, from: filepath.Join(dir, "blobs", "sha256", blob)})
	}
	for _, e := range entries {
		if err := writeEntry(archive, e); err != nil {
			return err
		}
	}
	return archive.Close()
}
