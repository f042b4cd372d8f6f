package layout

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/skiff-k8s/skiff/images"
	"github.com/skiff-k8s/skiff/internal/counting"
)

// Compress writes what it reads, size bytes, as zstd: the same for the same input, and with a window of at most 128 MiB.
type Compress func(ctx context.Context, to io.Writer, from io.Reader, size int64) error

// Fast compresses about ten times as quickly as what makes the smallest blobs, which are a quarter smaller.
func Fast(_ context.Context, to io.Writer, from io.Reader, _ int64) error {
	// One at a time: what several make together may depend on their number. A larger window takes ten times the memory and finds
	// nothing more at this level.
	encoder, err := zstd.NewWriter(to, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(8<<20))
	if err != nil {
		return err
	}
	if _, err := io.Copy(encoder, from); err != nil {
		return errors.Join(err, encoder.Close())
	}
	return encoder.Close()
}

// PackOptions say how an image is packed.
type PackOptions struct {
	Compress Compress // Fast when nil
	// Progress is told how many bytes of all parts are packed; it may be nil, and is called by one goroutine at a time.
	Progress func(done, total int64)
}

// Packed is what Pack has made of one image.
type Packed struct {
	Image images.Manifest
	Parts []PackedPart
	Bytes int64 // of all blobs that a download of this image needs
}

// PackedPart is one layer.
type PackedPart struct {
	Name   string
	Size   int64 // bytes
	Packed int64
}

// Pack makes a layout at to of image folders, one artifact each. The same folders give the same bytes. Every file is held to its
// digest before. The layout appears complete or not at all, in the place of one that is there; what else is there is an error that
// wraps fs.ErrExist.
func Pack(ctx context.Context, folders []string, to string, o PackOptions) ([]Packed, error) {
	if o.Compress == nil {
		o.Compress = Fast
	}
	if err := free(to); err != nil {
		return nil, err
	}
	partial := to + ".partial"
	if err := errors.Join(os.RemoveAll(partial), os.MkdirAll(filepath.Join(partial, filepath.FromSlash(blobs)), 0o755)); err != nil {
		return nil, err
	}
	all, err := packInto(ctx, folders, partial, o)
	if err == nil {
		err = errors.Join(os.RemoveAll(to), os.Rename(partial, to))
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(partial))
	}
	return all, nil
}

// blobs is the folder of blobs in a layout.
const blobs = v1.ImageBlobsDir + "/sha256"

// free refuses to replace what is no layout.
func free(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && (len(entries) == 0 || IsLayout(os.DirFS(dir))) {
		return nil
	}
	if err == nil {
		err = fs.ErrExist
	}
	return fmt.Errorf("%s is neither empty nor an OCI image layout: %w", dir, err)
}

func packInto(ctx context.Context, folders []string, dir string, o PackOptions) ([]Packed, error) {
	var all []Packed
	var artifacts []v1.Descriptor
	for _, folder := range folders {
		packed, artifact, err := packOne(ctx, folder, dir, o)
		if err != nil {
			return nil, fmt.Errorf("pack the guest image in %q: %w", folder, err)
		}
		all, artifacts = append(all, packed), append(artifacts, artifact)
	}
	index, err := encode(newIndex(artifacts))
	if err != nil {
		return nil, err
	}
	return all, errors.Join(
		os.WriteFile(filepath.Join(dir, v1.ImageLayoutFile), []byte(`{"imageLayoutVersion":"`+v1.ImageLayoutVersion+`"}`), 0o644),
		os.WriteFile(filepath.Join(dir, v1.ImageIndexFile), index, 0o644),
	)
}

// packOne writes the blobs of one image.
func packOne(ctx context.Context, folder, dir string, o PackOptions) (_ Packed, _ v1.Descriptor, err error) {
	if err := images.Reread(ctx, folder); err != nil {
		return Packed{}, v1.Descriptor{}, err
	}
	stored, err := os.ReadFile(filepath.Join(folder, images.ManifestName))
	if err != nil {
		return Packed{}, v1.Descriptor{}, err
	}
	m, err := images.ParseManifest(stored)
	if err != nil {
		return Packed{}, v1.Descriptor{}, err
	}
	p := newPacker(folder, m)
	defer func() { err = errors.Join(err, p.close()) }()
	config, err := p.plan(ctx, stored)
	if err != nil {
		return Packed{}, v1.Descriptor{}, err
	}
	layers, err := p.write(ctx, dir, config.Parts, o)
	if err != nil {
		return Packed{}, v1.Descriptor{}, err
	}
	packed := Packed{Image: m}
	for i, layer := range layers {
		packed.Bytes += layer.Size
		packed.Parts = append(packed.Parts, PackedPart{Name: layer.Annotations[v1.AnnotationTitle], Size: config.Parts[i].Size, Packed: layer.Size})
	}
	artifact, bytes, err := describe(dir, m, config, layers)
	packed.Bytes += bytes
	return packed, artifact, err
}

// plan makes the recipe. The parts have their names and sizes, and no digests yet.
func (p *packer) plan(ctx context.Context, stored []byte) (Config, error) {
	if err := p.find(ctx); err != nil {
		return Config{}, err
	}
	recipes := map[string]lines{}
	for name := range p.manifest.Files {
		recipes[name] = nil
	}
	for _, name := range sortedKeys(recipes) {
		made, err := p.recipe(ctx, name)
		if err != nil {
			return Config{}, err
		}
		recipes[name] = made
	}
	config := Config{Manifest: stored, Files: map[string][]Piece{}}
	number := map[string]int{"": hole}
	for _, name := range partNames(p.manifest.Architecture) {
		if p.parts[name] != nil {
			number[name] = len(config.Parts)
			config.Parts = append(config.Parts, Part{Name: name, Size: p.parts[name].size})
		}
	}
	for name, made := range recipes {
		pieces := []Piece{}
		for _, one := range made {
			pieces = append(pieces, Piece{number[one.part], one.offset, one.length})
		}
		config.Files[name] = pieces
	}
	return config, config.validate(p.manifest)
}

func sortedKeys(m map[string]lines) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// write compresses the parts and notes their digests.
func (p *packer) write(ctx context.Context, dir string, parts []Part, o PackOptions) ([]v1.Descriptor, error) {
	total := int64(0)
	for _, one := range parts {
		total += one.Size
	}
	counts := make(chan int)
	told := make(chan struct{})
	go func() {
		defer close(told)
		done := int64(0)
		for n := range counts {
			if done += int64(n); o.Progress != nil && n > 0 {
				o.Progress(done, total)
			}
		}
	}()
	layers := make([]v1.Descriptor, len(parts))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := range parts {
		group.Go(func() error {
			layer, sum, err := writePart(ctx, dir, parts[i], p.parts[parts[i].Name].reader(), o.Compress, func(n int) { counts <- n })
			layers[i], parts[i].Digest = layer, sum
			return err
		})
	}
	err := group.Wait()
	close(counts)
	<-told
	return layers, err
}

// writePart writes the blob of a part, and returns the digest of what it holds.
func writePart(ctx context.Context, dir string, p Part, from io.Reader, compress Compress, count func(n int)) (v1.Descriptor, digest.Digest, error) {
	file, err := os.CreateTemp(dir, "part-")
	if err != nil {
		return v1.Descriptor{}, "", err
	}
	defer file.Close()
	inside, outside := digest.SHA256.Digester(), digest.SHA256.Digester()
	read := &counting.Reader{Reader: io.TeeReader(cancelled{ctx, from}, inside.Hash()), Count: count}
	if err := compress(ctx, io.MultiWriter(file, outside.Hash()), read, p.Size); err != nil {
		return v1.Descriptor{}, "", fmt.Errorf("compress %s: %w", p.Name, err)
	}
	info, err := file.Stat()
	if err != nil {
		return v1.Descriptor{}, "", err
	}
	layer := v1.Descriptor{
		MediaType: PartType, Digest: outside.Digest(), Size: info.Size(), Annotations: map[string]string{v1.AnnotationTitle: p.Name},
	}
	return layer, inside.Digest(), errors.Join(file.Chmod(0o644), file.Close(), os.Rename(file.Name(), filepath.Join(dir, filepath.FromSlash(BlobPath(layer.Digest)))))
}

// cancelled is a reader that ends with its context.
type cancelled struct {
	ctx context.Context //nolint:containedctx // an io.Reader takes none
	io.Reader
}

func (c cancelled) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.Reader.Read(p)
}

// describe writes the configuration and the manifest of an artifact, and returns its entry in the index and the size of both.
func describe(dir string, m images.Manifest, config Config, layers []v1.Descriptor) (v1.Descriptor, int64, error) {
	content, err := encode(config)
	if err != nil {
		return v1.Descriptor{}, 0, err
	}
	own, err := writeBlob(dir, ConfigType, content)
	if err != nil {
		return v1.Descriptor{}, 0, err
	}
	content, err = encode(v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest, ArtifactType: ArtifactType, Config: own, Layers: layers,
	})
	if err != nil {
		return v1.Descriptor{}, 0, err
	}
	artifact, err := writeBlob(dir, v1.MediaTypeImageManifest, content)
	artifact.ArtifactType = ArtifactType
	artifact.Platform = &v1.Platform{OS: "linux", Architecture: m.Architecture}
	artifact.Annotations = map[string]string{
		v1.AnnotationRefName: m.KubernetesVersion + "-" + m.Architecture, AnnotationKubernetes: m.KubernetesVersion, AnnotationImage: m.Digest,
	}
	return artifact, own.Size + artifact.Size, err
}

// writeBlob writes what registries take only up to a size.
func writeBlob(dir, mediaType string, content []byte) (v1.Descriptor, error) {
	d := v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
	if d.Size > maxIndex {
		return d, fmt.Errorf("the %s has %d bytes, and at most %d are taken", mediaType, d.Size, maxIndex)
	}
	return d, os.WriteFile(filepath.Join(dir, filepath.FromSlash(BlobPath(d.Digest))), content, 0o644)
}

// encode is json.Marshal that leaves <, > and & alone: digests are over the very bytes of a manifest.
func encode(value any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), err
}
