package layout

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/skiff-k8s/skiff/images"
	"github.com/skiff-k8s/skiff/images/ext4"
)

// block is the unit in which the disk is compared with what lies elsewhere, in bytes: that of its file system.
const block = 4096

// rest is the part of all that is in no other.
const rest = "rest"

// partNames are the parts in the order of the layers: what a small patch release changes comes first.
func partNames(architecture string) []string {
	return []string{"kube", kubectl(architecture), "etcd", "coredns", "traefik", "containerd", "runc-cni", "kernel", "initrd", "qemu", rest}
}

// kubectl is the part with the program for hosts: unlike all others it is not of the guest. Images are made for hosts that run Linux
// on the architecture of their guests.
func kubectl(architecture string) string { return "kubectl-linux-" + architecture }

// programParts maps the names of components to the parts that have them, and theirs alone.
func programParts(architecture string) map[string]string {
	return map[string]string{
		"kube": "kube", "kubectl": kubectl(architecture), "etcd": "etcd", "coredns": "coredns", "traefik": "traefik",
		"containerd": "containerd", "containerd-shim-runc-v2": "containerd", "ctr": "containerd",
		"runc": "runc-cni", "bridge": "runc-cni", "host-local": "runc-cni", "loopback": "runc-cni", "portmap": "runc-cni",
	}
}

// programFolders are the folders of the disk with programs of components.
func programFolders() []string { return []string{"usr/local/bin", "opt/cni/bin"} }

// partOf is the part of a file that has one of its own, or else rest.
func partOf(name string) string {
	switch {
	case name == images.KernelName:
		return "kernel"
	case name == images.InitrdName:
		return "initrd"
	case strings.HasPrefix(name, images.EmulatorFolder+"/"):
		return "qemu"
	}
	return rest
}

// source is something that lies in the image, maybe more than once, and is carried once.
type source struct {
	part string
	from io.ReaderAt
	at   int64 // its first byte in from
	size int64
	base int64 // its first byte in the part
}

func (s *source) reader() io.Reader { return io.NewSectionReader(s.from, s.at, s.size) }

// span is a piece of a file that is a source of its own.
type span struct {
	at   int64
	what *source
}

// packer finds out of what an image folder consists.
type packer struct {
	dir      string
	manifest images.Manifest
	programs map[string]string // SHA-256 of a component → its part
	known    map[string]*source
	parts    map[string]*part
	index    map[uint64]place
	spans    map[string][]span // name of a file → what it consists of, apart from its gaps
	opened   []io.Closer
}

// place is where a block lies.
type place struct {
	source *source
	at     int64 // in the source
}

// part is what one layer will hold.
type part struct {
	sources []*source
	size    int64
}

func (p *part) add(s *source) {
	s.base = p.size
	p.sources = append(p.sources, s)
	p.size += s.size
}

// extend adds bytes of a file, to the last source where they follow it there.
func (p *part) extend(from io.ReaderAt, at, size int64) {
	if n := len(p.sources); n > 0 {
		if last := p.sources[n-1]; last.from == from && last.at+last.size == at {
			last.size += size
			p.size += size
			return
		}
	}
	p.add(&source{from: from, at: at, size: size})
}

func (p *part) reader() io.Reader {
	var all []io.Reader
	for _, s := range p.sources {
		all = append(all, s.reader())
	}
	return io.MultiReader(all...)
}

func newPacker(dir string, m images.Manifest) *packer {
	p := &packer{
		dir: dir, manifest: m, programs: map[string]string{}, known: map[string]*source{}, parts: map[string]*part{},
		index: map[uint64]place{}, spans: map[string][]span{},
	}
	own := programParts(m.Architecture)
	for _, c := range m.Components {
		if name := own[c.Name]; name != "" && c.Digest != "" {
			p.programs[c.Digest] = name
		}
	}
	return p
}

func (p *packer) close() error {
	var problems []error
	for _, one := range p.opened {
		problems = append(problems, one.Close())
	}
	return errors.Join(problems...)
}

func (p *packer) open(name string) (*os.File, error) {
	file, err := os.Open(filepath.Join(p.dir, filepath.FromSlash(name)))
	if err == nil {
		p.opened = append(p.opened, file)
	}
	return file, err
}

// plain are the names of all files that are read as a whole, in order.
func (p *packer) plain() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(p.manifest.Files)), func(name string) bool { return p.manifest.Files[name].Sparse })
}

// find collects the sources: files of archives in the mirror, programs of the disk, and whole files.
func (p *packer) find(ctx context.Context) error {
	for _, name := range p.plain() {
		if err := p.findInArchive(ctx, name); err != nil {
			return err
		}
	}
	if err := p.findInDisk(ctx); err != nil {
		return err
	}
	for _, name := range p.plain() {
		if len(p.spans[name]) > 0 {
			continue
		}
		file, err := p.open(name)
		if err != nil {
			return err
		}
		info := p.manifest.Files[name]
		in := partOf(name)
		if own := p.programs[info.SHA256]; own != "" {
			in = own
		}
		if err := p.learn(ctx, name, 0, info.SHA256, &source{part: in, from: file, size: info.Size}); err != nil {
			return err
		}
	}
	return nil
}

// findInArchive finds the files of a layer, if that is what the file is: layers of the mirror are not compressed.
func (p *packer) findInArchive(ctx context.Context, name string) error {
	if !strings.HasPrefix(name, images.MirrorName+"/") {
		return nil
	}
	file, err := p.open(name)
	if err != nil {
		return err
	}
	section := io.NewSectionReader(file, 0, p.manifest.Files[name].Size)
	archive := tar.NewReader(section)
	for {
		header, err := archive.Next()
		if err != nil {
			return nil //nolint:nilerr // it ends, or is no archive: what was not found here is carried as it is
		}
		if header.Typeflag != tar.TypeReg || header.Size < block {
			continue
		}
		at, err := section.Seek(0, io.SeekCurrent) // a tar.Reader reads whole headers and no more
		if err != nil {
			return err
		}
		s := &source{from: file, at: at, size: header.Size}
		if at+header.Size > section.Size() {
			return nil
		}
		sum, err := sumOf(ctx, s)
		if err != nil {
			return err
		}
		if s.part = p.programs[sum]; s.part == "" {
			s.part = rest
		}
		if err := p.learn(ctx, name, at, sum, s); err != nil {
			return err
		}
	}
}

// findInDisk finds the programs that lie on the disk alone.
func (p *packer) findInDisk(ctx context.Context) error {
	if _, there := p.manifest.Files[images.DiskName]; !there {
		return nil
	}
	disk, err := ext4.Open(filepath.Join(p.dir, images.DiskName))
	if err != nil {
		return nil //nolint:nilerr // a disk of another kind is carried as it is
	}
	p.opened = append(p.opened, closer(disk.Close))
	for _, c := range p.manifest.Components {
		in := p.programs[c.Digest]
		if in == "" || p.known[c.Digest] != nil {
			continue
		}
		for _, dir := range programFolders() {
			file, err := disk.Lookup(path.Join(dir, c.Name))
			if errors.Is(err, fs.ErrNotExist) || err == nil && !file.Mode.IsRegular() {
				continue
			}
			if err != nil {
				return err
			}
			s := &source{part: in, from: file, size: file.Size}
			sum, err := sumOf(ctx, s)
			if err != nil {
				return err
			}
			if sum == c.Digest {
				if err := p.learn(ctx, "", 0, sum, s); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

type closer func() error

func (c closer) Close() error { return c() }

// learn takes s, whose SHA-256 is sum, into its part unless its like is there, and notes that the file has it at that offset. What
// lies on the disk is in no file, and found block by block.
func (p *packer) learn(ctx context.Context, file string, at int64, sum string, s *source) error {
	if s.size == 0 {
		return nil
	}
	own := p.known[sum]
	if own == nil {
		own = s
		p.known[sum] = s
		p.part(s.part).add(s)
		if err := p.indexBlocks(ctx, s); err != nil {
			return err
		}
	}
	if file != "" {
		p.spans[file] = append(p.spans[file], span{at, own})
	}
	return nil
}

func (p *packer) part(name string) *part {
	if p.parts[name] == nil {
		p.parts[name] = &part{}
	}
	return p.parts[name]
}

// indexBlocks makes the blocks of s known, the last one as a file system has it: with zeros to its end.
func (p *packer) indexBlocks(ctx context.Context, s *source) error {
	return eachBlock(ctx, s.reader(), func(content []byte, at int64) error {
		if key := keyOf(content); !zeros(content) && p.index[key].source == nil {
			p.index[key] = place{s, at}
		}
		return nil
	})
}

// eachBlock calls do with the blocks of r, the last one filled with zeros.
func eachBlock(ctx context.Context, r io.Reader, do func(content []byte, at int64) error) error {
	buffer := make([]byte, block<<8)
	for at := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(r, buffer)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		full := (n + block - 1) / block * block
		clear(buffer[n:full])
		for i := 0; i < full; i += block {
			if err := do(buffer[i:i+block], at+int64(i)); err != nil {
				return err
			}
		}
		if err != nil {
			return nil
		}
		at += int64(n)
	}
}

// keyOf is a hash of a block; what it finds is compared.
func keyOf(content []byte) uint64 {
	sum := sha256.Sum256(content)
	return binary.NativeEndian.Uint64(sum[:])
}

var zeroBlock [block]byte //nolint:gochecknoglobals // never written

func zeros(content []byte) bool { return bytes.Equal(content, zeroBlock[:len(content)]) }

func sumOf(ctx context.Context, s *source) (string, error) {
	sum := sha256.New()
	err := eachChunk(ctx, s.reader(), func(content []byte) error { _, err := sum.Write(content); return err })
	return hex.EncodeToString(sum.Sum(nil)), err
}

// eachChunk calls do with all of r, until ctx ends.
func eachChunk(ctx context.Context, r io.Reader, do func([]byte) error) error {
	buffer := make([]byte, 1<<20)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(buffer)
		if n > 0 {
			if err := do(buffer[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
