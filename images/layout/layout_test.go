package layout

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	ggcrlayout "github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/images"
)

// random returns n bytes that no compressor makes smaller, the same for the same seed.
func random(seed byte, n int) []byte {
	content := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(content)
	return content
}

// program is random with blocks of zeros in it, and no whole number of blocks.
func program(seed byte, blocks int) []byte {
	content := random(seed, blocks*block+777)
	clear(content[2*block : 4*block])
	return content
}

func archive(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(files[name])), Mode: 0o755, Format: tar.FormatPAX}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(files[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// kubeBlocks is how many whole blocks kube has in a folder of testFolder.
const kubeBlocks = 20

// testFolder writes an image folder of some 400 KiB in which kube lies in a layer of the mirror and twice, in pieces, on the disk.
func testFolder(t *testing.T) string {
	t.Helper()
	kube, echo := program(1, kubeBlocks), program(2, 6)
	disk := make([]byte, 8<<20)
	copy(disk[1<<20:], kube)
	copy(disk[3<<20:], kube[:8*block])
	copy(disk[4<<20:], kube[8*block:])
	copy(disk[5<<20:], echo)
	copy(disk[6<<20:], random(3, 3*block+5)) // what is nowhere else
	disk[len(disk)-1] = 1
	return writeFolder(t, "v1.37.2", disk, kube, map[string][]byte{
		images.KernelName: random(4, 5000), images.InitrdName: random(5, 6000), images.KubectlName: random(6, 9000),
		images.MirrorName + "/index.json":         []byte(`{"schemaVersion":2,"manifests":[]}`),
		images.MirrorName + "/blobs/sha256/kube":  archive(t, map[string][]byte{"etc/small": []byte("small"), "usr/local/bin/kube": kube}),
		images.MirrorName + "/blobs/sha256/echo":  archive(t, map[string][]byte{"http-echo": echo}),
		images.MirrorName + "/blobs/sha256/empty": nil,
		images.EmulatorFolder + "/bios":           random(7, 100),
	})
}

// writeFolder writes an image folder with these files, and kube as a component.
func writeFolder(t testing.TB, version string, disk, kube []byte, files map[string][]byte) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "image")
	hexSum := func(content []byte) string { sum := sha256.Sum256(content); return hex.EncodeToString(sum[:]) }
	m := images.Manifest{
		KubernetesVersion: version, Architecture: "amd64", Cmdline: "a <b> & c", DiskBytes: int64(len(disk)), Files: map[string]images.File{},
		Components: []images.Component{
			{Name: "kube", Module: "k8s.io/kubernetes", Version: version, Digest: hexSum(kube)},
			{Name: "kubectl", Module: "k8s.io/kubernetes", Version: version, Digest: hexSum(files[images.KubectlName])},
			{Name: "libc6", Module: "debian/bookworm", Version: "2.36"},
		},
	}
	files = maps.Clone(files)
	files[images.DiskName] = disk
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o644)); err != nil {
			t.Fatal(err)
		}
		writeSparse(t, path, content)
		mode := uint32(0o644)
		if name == images.KubectlName {
			mode = 0o755
		}
		sum, err := images.Hash(context.Background(), path, name == images.DiskName, nil)
		if err != nil {
			t.Fatal(err)
		}
		m.Files[name] = images.File{Name: name, Size: int64(len(content)), SHA256: sum, Sparse: name == images.DiskName, Mode: mode}
	}
	content, err := m.Encode()
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, images.ManifestName), content, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func writeSparse(t testing.TB, path string, content []byte) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	err = file.Truncate(int64(len(content)))
	for at := 0; at < len(content); at += block {
		if piece := content[at:min(at+block, len(content))]; !zeros(piece) {
			_, wrong := file.WriteAt(piece, int64(at))
			err = errors.Join(err, wrong)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

func pack(t testing.TB, folders ...string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "layout")
	if _, err := Pack(context.Background(), folders, to, PackOptions{}); err != nil {
		t.Fatal(err)
	}
	return to
}

// read returns the artifact of a layout with one.
func read(t testing.TB, fsys fs.FS) Artifact {
	t.Helper()
	a, err := readOnly(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func readOnly(fsys fs.FS) (Artifact, error) {
	index, err := ReadIndex(fsys)
	if err != nil {
		return Artifact{}, err
	}
	return ReadArtifact(fsys, index.Manifests[0])
}

// tree is what lies in a folder: names with content, and nothing of what images keeps for itself.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || entry.Name() == "verified.json" {
			return err
		}
		content, err := os.ReadFile(path)
		all[path[len(dir)+1:]] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func equalTrees(t testing.TB, got, want string) {
	t.Helper()
	have, wish := tree(t, got), tree(t, want)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(wish)), slices.Sorted(maps.Keys(have))); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	for name, content := range wish {
		if have[name] != content {
			t.Errorf("%s has not the same content", name)
		}
	}
}

// TestPack: what lies in two places is carried once, in the part that has its name.
func TestPack(t *testing.T) {
	t.Parallel()
	folder, to := testFolder(t), filepath.Join(t.TempDir(), "layout")
	packed, err := Pack(t.Context(), []string{folder}, to, PackOptions{})
	if err != nil {
		t.Fatal(err)
	}
	sizes := map[string]int64{}
	var blobBytes int64
	for _, part := range packed[0].Parts {
		sizes[part.Name] = part.Size
	}
	entries, err := os.ReadDir(filepath.Join(to, filepath.FromSlash(blobs)))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		blobBytes += info.Size()
	}
	if packed[0].Bytes != blobBytes {
		t.Errorf("got %d bytes, and the blobs have %d", packed[0].Bytes, blobBytes)
	}
	kube := int64(len(program(1, kubeBlocks)))
	others := sizes[rest]
	delete(sizes, rest)
	want := map[string]int64{"kube": kube, "kubectl-linux-amd64": 9000, "kernel": 5000, "initrd": 6000, "qemu": 100}
	if diff := cmp.Diff(want, sizes); diff != "" {
		t.Errorf("parts (-want +got):\n%s", diff)
	}
	// http-echo, what only the disk has, and the heads of two archives.
	if least, most := int64(9*block), int64(12*block+12*512); others < least || others > most {
		t.Errorf("rest has %d bytes, want %d to %d", others, least, most)
	}
	a := read(t, os.DirFS(to))
	for _, layer := range a.Layers {
		if layer.MediaType != PartType || layer.Annotations[v1.AnnotationTitle] == "" {
			t.Errorf("got a layer %+v", layer)
		}
	}
	if a.Descriptor.ArtifactType != ArtifactType || a.Descriptor.Annotations[AnnotationImage] != a.Image.Digest || a.Descriptor.Platform.Architecture != "amd64" {
		t.Errorf("got an entry %+v", a.Descriptor)
	}
}

// TestPackTwice: the same folder gives the same bytes, also in a place without holes and with parts made in another order.
func TestPackTwice(t *testing.T) {
	t.Parallel()
	folder := testFolder(t)
	full := filepath.Join(t.TempDir(), "image")
	if err := os.CopyFS(full, os.DirFS(folder)); err != nil { // which writes zeros
		t.Fatal(err)
	}
	first := pack(t, folder)
	equalTrees(t, pack(t, folder), first)
	equalTrees(t, pack(t, full), first)
	if _, err := Pack(t.Context(), []string{folder}, first, PackOptions{}); err != nil {
		t.Errorf("pack into the place of a layout: %v", err)
	}
	if _, err := Pack(t.Context(), []string{folder}, folder, PackOptions{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("pack into a folder of something else: got error %v, want fs.ErrExist", err)
	}
}

// TestPackRefusesDamage: no layout is made of an image that is not what its manifest says.
func TestPackRefusesDamage(t *testing.T) {
	t.Parallel()
	folder, to := testFolder(t), filepath.Join(t.TempDir(), "layout")
	if err := os.WriteFile(filepath.Join(folder, images.KernelName), random(9, 5000), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Pack(t.Context(), []string{folder}, to, PackOptions{}); !fail.Is(err, fail.ChecksumMismatch) {
		t.Errorf("got error %v, want %s", err, fail.ChecksumMismatch)
	}
	if left := tree(t, filepath.Dir(to)); len(left) > 0 {
		t.Errorf("left: %v", slices.Sorted(maps.Keys(left)))
	}
}

// TestPrograms: programs that only the disk has are found in its file system.
func TestPrograms(t *testing.T) {
	t.Parallel()
	mke2fs, err := exec.LookPath("mke2fs")
	if err != nil {
		t.Skip("mke2fs of Debian's e2fsprogs is not here")
	}
	root, disk, runc := t.TempDir(), filepath.Join(t.TempDir(), "disk"), program(8, 30)
	if err := errors.Join(os.MkdirAll(filepath.Join(root, "usr/local/bin"), 0o755), os.WriteFile(filepath.Join(root, "usr/local/bin/runc"), runc, 0o755)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), mke2fs, "-q", "-F", "-t", "ext4", "-b", "4096", "-O", "^has_journal", "-d", root, disk, "4m").CombinedOutput(); err != nil {
		t.Fatalf("mke2fs: %v: %s", err, out)
	}
	content, err := os.ReadFile(disk)
	if err != nil {
		t.Fatal(err)
	}
	folder := writeFolder(t, "v1.37.2", content, nil, map[string][]byte{images.KubectlName: nil})
	manifest, err := images.ReadManifest(folder)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(runc)
	manifest.Components = append(manifest.Components, images.Component{Name: "runc", Module: "github.com/opencontainers/runc", Digest: hex.EncodeToString(sum[:])})
	text, err := manifest.Encode()
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, images.ManifestName), text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	to := pack(t, folder)
	a := read(t, os.DirFS(to))
	if got := a.Recipe.Parts[0]; got.Name != "runc-cni" || got.Size != int64(len(runc)) {
		t.Errorf("got the first part %+v, want runc-cni of %d bytes", got, len(runc))
	}
	image := filepath.Join(t.TempDir(), "image")
	if err := Assemble(t.Context(), os.DirFS(to), a, image, nil); err != nil {
		t.Fatal(err)
	}
	equalTrees(t, image, folder)
}

// TestAssemble: an image comes out as it went in, with its holes, from a folder and from a bundle of it.
func TestAssemble(t *testing.T) {
	t.Parallel()
	folder := testFolder(t)
	layout := pack(t, folder)
	for name, path := range map[string]string{"folder": layout, "bundle": bundleOf(t, layout)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fsys, done, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer done()
			a, to := read(t, fsys), filepath.Join(t.TempDir(), "image")
			var last, total int64
			progress := func(done, of int64) {
				if done < last || done > of {
					t.Errorf("progress went from %d to %d of %d", last, done, of)
				}
				last, total = done, of
			}
			if err := Assemble(t.Context(), fsys, a, to, progress); err != nil {
				t.Fatal(err)
			}
			if last != total || total == 0 {
				t.Errorf("told of %d of %d bytes", last, total)
			}
			equalTrees(t, to, folder)
			if err := images.Reread(t.Context(), to); err != nil {
				t.Error(err)
			}
			info, err := os.Stat(filepath.Join(to, images.DiskName))
			if err != nil {
				t.Fatal(err)
			}
			if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Blocks*512 > 600<<10 {
				t.Errorf("the disk takes %d bytes: its holes are gone", stat.Blocks*512)
			}
			if info, err := os.Stat(filepath.Join(to, images.KubectlName)); err != nil || info.Mode() != 0o555 {
				t.Errorf("kubectl has mode %v, error %v, want 0555", info.Mode(), err)
			}
			if left, err := os.ReadDir(filepath.Dir(to)); err != nil || len(left) != 1 {
				t.Errorf("left beside the image: %v, error %v", left, err)
			}
			// One that is there and whole needs no blobs.
			if err := Assemble(t.Context(), os.DirFS(t.TempDir()), a, to, nil); err != nil {
				t.Errorf("assemble once more: %v", err)
			}
		})
	}
}

func bundleOf(t testing.TB, layout string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image.tar")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := Bundle(context.Background(), os.DirFS(layout), file, nil); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestBundleTwice: the same layout gives the same bundle, and one of a bundle is that bundle.
func TestBundleTwice(t *testing.T) {
	t.Parallel()
	layout := pack(t, testFolder(t))
	first, err := os.ReadFile(bundleOf(t, layout))
	if err != nil {
		t.Fatal(err)
	}
	second := bundleOf(t, layout)
	fsys, done, err := Open(second)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	var again bytes.Buffer
	if err := Bundle(t.Context(), fsys, &again, nil); err != nil {
		t.Fatal(err)
	}
	if content, err := os.ReadFile(second); err != nil || !bytes.Equal(content, first) || !bytes.Equal(again.Bytes(), first) {
		t.Errorf("got other bytes, error %v", err)
	}
}

// nothing checks that a failed Assemble has left nothing.
func nothing(t *testing.T, to string) {
	t.Helper()
	if left, err := os.ReadDir(filepath.Dir(to)); err != nil || len(left) > 0 {
		t.Errorf("left: %v, error %v", left, err)
	}
}

// TestDamagedBlobs: a blob that is damaged, cut off, too long or not there is told of by its name, and no image comes of it.
func TestDamagedBlobs(t *testing.T) {
	t.Parallel()
	layout := pack(t, testFolder(t))
	files := slices.Sorted(maps.Keys(tree(t, layout)))
	harm := map[string]func([]byte) []byte{
		"first bit":    func(b []byte) []byte { b[0] ^= 1; return b },
		"middle bit":   func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"last bit":     func(b []byte) []byte { b[len(b)-1] ^= 0x80; return b },
		"cut":          func(b []byte) []byte { return b[:len(b)-1] },
		"cut in half":  func(b []byte) []byte { return b[:len(b)/2] },
		"empty":        func(b []byte) []byte { return b[:0] },
		"one too many": func(b []byte) []byte { return append(b, 0) },
		"gone":         nil,
	}
	for _, name := range files {
		if !strings.HasPrefix(name, "blobs/") {
			continue
		}
		for what, change := range harm {
			t.Run(name[len(name)-6:]+" "+what, func(t *testing.T) {
				t.Parallel()
				fsys, to := memory(t, layout), filepath.Join(t.TempDir(), "image")
				want := fail.ChecksumMismatch
				if change == nil {
					want = fail.ImageMissing
					delete(fsys, name)
				} else {
					fsys[name].Data = change(slices.Clone(fsys[name].Data))
				}
				a, err := readOnly(fsys)
				if err == nil {
					err = Assemble(t.Context(), fsys, a, to, nil)
				}
				if !fail.Is(err, want) || !strings.Contains(err.Error(), filepath.Base(name)) {
					t.Errorf("got error %v, want %s that names %s", err, want, filepath.Base(name))
				}
				nothing(t, to)
			})
		}
	}
}

// TestDamagedBundles: wherever a bundle is cut off, or a bit of it is flipped, it is refused, or the image is whole.
func TestDamagedBundles(t *testing.T) {
	t.Parallel()
	folder := testFolder(t)
	path := bundleOf(t, pack(t, folder))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	load := func(content []byte) error {
		to := filepath.Join(t.TempDir(), "image")
		fsys, err := readBundle("open", bytes.NewReader(content), int64(len(content)))
		if err != nil {
			return err
		}
		a, err := readOnly(fsys)
		if err == nil {
			err = Assemble(t.Context(), fsys, a, to, nil)
		}
		if err == nil {
			equalTrees(t, to, folder)
		} else {
			nothing(t, to)
		}
		return err
	}
	const end = 1024 // two blocks of zeros, which say nothing
	for cut := 0; cut < len(whole)-end; cut += 19997 {
		if err := load(whole[:cut]); !fail.Known(err) {
			t.Errorf("cut at %d of %d: got error %v, want one with an ID", cut, len(whole), err)
		}
	}
	for at := 0; at < len(whole); at += 4001 {
		flipped := slices.Clone(whole)
		flipped[at] ^= 4
		if err := load(flipped); err != nil && !fail.Known(err) {
			t.Errorf("a bit at %d: got error %v, want one with an ID, or none", at, err)
		}
	}
}

// memoryFS is a layout whose files tests change.
type memoryFS map[string]*memoryFile

type memoryFile struct{ Data []byte }

func (m memoryFS) Open(name string) (fs.File, error) {
	file, ok := m[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	at := extent{0, int64(len(file.Data))}
	return bundle{bytes.NewReader(file.Data), map[string]extent{name: at}}.Open(name)
}

func memory(t testing.TB, layout string) memoryFS {
	t.Helper()
	all := memoryFS{}
	for name, content := range tree(t, layout) {
		all[filepath.ToSlash(name)] = &memoryFile{[]byte(content)}
	}
	return all
}

// set puts a blob in, and returns what describes it.
func (m memoryFS) set(mediaType string, content []byte) v1.Descriptor {
	d := v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
	m[BlobPath(d.Digest)] = &memoryFile{content}
	return d
}

// publish makes a whole index around a changed configuration and changed layers.
func (m memoryFS) publish(t testing.TB, a Artifact) {
	t.Helper()
	config, err := encode(a.Recipe)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := encode(v1.Manifest{MediaType: v1.MediaTypeImageManifest, ArtifactType: ArtifactType, Config: m.set(ConfigType, config), Layers: a.Layers})
	if err != nil {
		t.Fatal(err)
	}
	own := m.set(v1.MediaTypeImageManifest, manifest)
	own.ArtifactType, own.Annotations, own.Platform = ArtifactType, a.Descriptor.Annotations, a.Descriptor.Platform
	index, err := encode(newIndex([]v1.Descriptor{own}))
	if err != nil {
		t.Fatal(err)
	}
	m[v1.ImageIndexFile] = &memoryFile{index}
}

// evil changes the image's manifest and gives it the digest that it then has.
func evil(t *testing.T, a *Artifact, change func(m *images.Manifest)) {
	t.Helper()
	m := a.Image
	m.Files = maps.Clone(m.Files)
	change(&m)
	content, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	a.Recipe.Manifest = content
}

// TestEvilArtifacts: whole blobs of somebody who means harm make no file outside of the folder, nor a large one.
func TestEvilArtifacts(t *testing.T) {
	t.Parallel()
	layout := pack(t, testFolder(t))
	disk := images.DiskName
	rename := func(to string) func(*testing.T, memoryFS, *Artifact) {
		return func(t *testing.T, _ memoryFS, a *Artifact) {
			t.Helper()
			evil(t, a, func(m *images.Manifest) {
				file := m.Files[images.KernelName]
				file.Name = to
				m.Files[to] = file
			})
			a.Recipe.Files[to] = a.Recipe.Files[images.KernelName]
		}
	}
	pieces := func(all ...Piece) func(*testing.T, memoryFS, *Artifact) {
		return func(_ *testing.T, _ memoryFS, a *Artifact) { a.Recipe.Files[disk] = all }
	}
	size := int64(8 << 20)
	for name, test := range map[string]struct {
		change func(t *testing.T, fsys memoryFS, a *Artifact)
		want   string
	}{
		"a path upwards":            {rename("../../etc/passwd"), "no name for a file"},
		"an absolute path":          {rename("/etc/passwd"), "no name for a file"},
		"a path with a backslash":   {rename(`..\x`), "no name for a file"},
		"the manifest's own name":   {rename(images.ManifestName), "is itself"},
		"a file that is a folder":   {rename(images.KernelName + "/x"), "as a file and as a folder"},
		"a file without a recipe":   {func(_ *testing.T, _ memoryFS, a *Artifact) { delete(a.Recipe.Files, disk) }, "recipe"},
		"a recipe without its file": {func(_ *testing.T, _ memoryFS, a *Artifact) { a.Recipe.Files["x"] = nil }, "recipe"},
		"too short":                 {pieces(Piece{hole, 0, size - 1}), "make 8388607 of its 8388608 bytes"},
		"too long":                  {pieces(Piece{hole, 0, size + 1}), "does not fit"},
		"overflow":                  {pieces(Piece{hole, 0, size - 1}, Piece{hole, 0, 1<<63 - 1}), "does not fit"},
		"a piece of nothing":        {pieces(Piece{hole, 0, 0}, Piece{hole, 0, size}), "does not fit"},
		"a negative piece":          {pieces(Piece{hole, 0, -1}, Piece{hole, 0, size}), "does not fit"},
		"beyond its part":           {pieces(Piece{0, 0, size}), "are not in part"},
		"far beyond its part":       {pieces(Piece{0, 1<<63 - 1, size}), "are not in part"},
		"before its part":           {pieces(Piece{0, -1, size}), "are not in part"},
		"a part that is not there":  {pieces(Piece{99, 0, size}), "needs part 99"},
		"a huge file": {func(t *testing.T, _ memoryFS, a *Artifact) {
			t.Helper()
			evil(t, a, func(m *images.Manifest) {
				file := m.Files[disk]
				file.Size = 1 << 62
				m.Files[disk] = file
			})
			a.Recipe.Files[disk] = []Piece{{hole, 0, 1 << 62}}
		}, "at most"},
		"a huge part":  {func(_ *testing.T, _ memoryFS, a *Artifact) { a.Recipe.Parts[0].Size = 1 << 50 }, "at most"},
		"a huge layer": {func(_ *testing.T, _ memoryFS, a *Artifact) { a.Layers[0].Size = 1 << 50 }, "at most"},
		"a digest that is a path": {func(_ *testing.T, _ memoryFS, a *Artifact) {
			a.Layers[0].Digest = "sha256:../../../../../../../../etc/passwd"
		}, "no SHA-256 digest"},
		"another kind of digest": {func(_ *testing.T, _ memoryFS, a *Artifact) {
			a.Layers[0].Digest = "sha512:" + digest.Digest(strings.Repeat("0", 128))
		}, "no SHA-256 digest"},
		"a layer too many":       {func(_ *testing.T, _ memoryFS, a *Artifact) { a.Layers = append(a.Layers, a.Layers[0]) }, "layers"},
		"a layer of a container": {func(_ *testing.T, _ memoryFS, a *Artifact) { a.Layers[0].MediaType = v1.MediaTypeImageLayerGzip }, "is of type"},
		"another manifest":       {func(_ *testing.T, _ memoryFS, a *Artifact) { a.Recipe.Manifest = json.RawMessage(`{"digest":"x"}`) }, "the content has"},
		"other bytes": {func(_ *testing.T, fsys memoryFS, a *Artifact) {
			a.Layers[0] = fsys.set(PartType, zstdOf(bytes.NewReader(random(77, int(a.Recipe.Parts[0].Size)))))
		}, "has the digest"},
		"other bytes that the image does not have": {func(_ *testing.T, fsys memoryFS, a *Artifact) {
			content := random(77, int(a.Recipe.Parts[0].Size))
			a.Layers[0], a.Recipe.Parts[0].Digest = fsys.set(PartType, zstdOf(bytes.NewReader(content))), digest.FromBytes(content)
		}, "the recipe of the image is wrong"},
		"too few bytes": {func(_ *testing.T, fsys memoryFS, a *Artifact) {
			a.Layers[0] = fsys.set(PartType, zstdOf(bytes.NewReader(random(77, 100))))
		}, "it holds 100 bytes"},
		"a bomb": {func(_ *testing.T, fsys memoryFS, a *Artifact) {
			a.Layers[0] = fsys.set(PartType, zstdOf(&zeroReader{64 << 20}))
		}, "more than its size"},
		"a window that takes too much memory": {func(_ *testing.T, fsys memoryFS, a *Artifact) {
			// Magic number, no flags, a window of 1 GiB, and one empty last block (RFC 8878, 3.1.1).
			a.Layers[0] = fsys.set(PartType, []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 20 << 3, 1, 0, 0})
		}, "window size exceeded"},
		"no zstd": {func(_ *testing.T, fsys memoryFS, a *Artifact) { a.Layers[0] = fsys.set(PartType, []byte("<html>")) }, "it is whole, but not"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fsys := memory(t, layout)
			a, to := read(t, fsys), filepath.Join(t.TempDir(), "image")
			test.change(t, fsys, &a)
			fsys.publish(t, a)
			a, err := readOnly(fsys)
			if err == nil {
				err = Assemble(t.Context(), fsys, a, to, nil)
			}
			if !fail.Is(err, fail.ChecksumMismatch) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want %s with %q", err, fail.ChecksumMismatch, test.want)
			}
			nothing(t, to)
		})
	}
}

func zstdOf(from io.Reader) []byte {
	var out bytes.Buffer
	_ = Fast(context.Background(), &out, from, 0) // a buffer takes everything
	return out.Bytes()
}

type zeroReader struct{ left int }

func (z *zeroReader) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), z.left)
	clear(p[:n])
	z.left -= n
	return n, nil
}

// TestAssembleCutOff: a cancelled one leaves nothing, and what a killed one left is no image and goes.
func TestAssembleCutOff(t *testing.T) {
	t.Parallel()
	layout := pack(t, testFolder(t))
	fsys := os.DirFS(layout)
	a, to := read(t, fsys), filepath.Join(t.TempDir(), "image")
	ctx, cancel := context.WithCancel(t.Context())
	if err := Assemble(ctx, fsys, a, to, func(done, total int64) {
		if done > total/2 {
			cancel()
		}
	}); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want that it was cancelled", err)
	}
	nothing(t, to)
	left := to + suffix
	if err := errors.Join(os.Mkdir(left, 0o755), os.WriteFile(filepath.Join(left, images.DiskName), []byte("half"), 0o444)); err != nil {
		t.Fatal(err)
	}
	if err := Sweep(filepath.Dir(to)); err != nil {
		t.Fatal(err)
	}
	nothing(t, to)
	if err := os.Mkdir(left, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Assemble(t.Context(), fsys, a, to, nil); err != nil {
		t.Error(err)
	}
	if err := images.Verify(t.Context(), to); err != nil {
		t.Error(err)
	}
}

// TestAssembleDiskFull: a full disk is told of with the room that it takes, and nothing is left there.
func TestAssembleDiskFull(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("it mounts a file system in memory")
	}
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size=256k", "none", dir).CombinedOutput(); err != nil {
		t.Skipf("mounting is not allowed here: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.CommandContext(context.Background(), "umount", dir).Run() })
	fsys := os.DirFS(pack(t, testFolder(t)))
	a, to := read(t, fsys), filepath.Join(dir, "image")
	err := Assemble(t.Context(), fsys, a, to, nil)
	if !fail.Is(err, fail.HostDiskFull) || !strings.Contains(err.Error(), "MiB are free") {
		t.Errorf("got error %v, want %s with the room", err, fail.HostDiskFull)
	}
	nothing(t, to)
	// And where the room goes while it works.
	s, err := newAssembly(a, to)
	if err != nil {
		t.Fatal(err)
	}
	defer s.decoder.Close()
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, file := range a.Image.Files {
		if err := s.create(name, file); err != nil {
			t.Fatal(err)
		}
	}
	defer s.close()
	var full error
	for i, uses := range s.uses() {
		full = errors.Join(full, s.part(t.Context(), fsys, i, uses))
	}
	if !errors.Is(full, syscall.ENOSPC) || fail.Is(full, fail.ChecksumMismatch) {
		t.Errorf("got error %v, want that the disk is full and no blob to blame", full)
	}
}

// TestChoose: the newest Kubernetes for the architecture, or the one that is asked for; else the error lists what there is.
func TestChoose(t *testing.T) {
	t.Parallel()
	kube := program(1, 5)
	var folders []string
	for _, version := range []string{"v1.9.3", "v1.37.2", "v1.36.10"} {
		folders = append(folders, writeFolder(t, version, make([]byte, block), kube, map[string][]byte{images.KubectlName: random(6, 9000)}))
	}
	layout := pack(t, folders...)
	index, err := ReadIndex(os.DirFS(layout))
	if err != nil {
		t.Fatal(err)
	}
	for wanted, want := range map[string]string{"": "v1.37.2-amd64", "v1.36.10": "v1.36.10-amd64"} {
		got, err := Choose(index, "amd64", wanted)
		if err != nil || got.Annotations[v1.AnnotationRefName] != want {
			t.Errorf("%q: got %s, error %v, want %s", wanted, got.Annotations[v1.AnnotationRefName], err, want)
		}
		a, err := ReadArtifact(os.DirFS(layout), got)
		if err != nil || a.Image.KubernetesVersion+"-amd64" != want {
			t.Errorf("%q: got the image of %s, error %v", wanted, a.Image.KubernetesVersion, err)
		}
	}
	for _, wrong := range [][2]string{{"arm64", ""}, {"amd64", "v1.20.0"}} {
		if _, err := Choose(index, wrong[0], wrong[1]); !fail.Is(err, fail.K8sVersionUnsupported) || !strings.Contains(err.Error(), "v1.36.10-amd64, v1.37.2-amd64, v1.9.3-amd64") {
			t.Errorf("%v: got error %v, want %s with a list", wrong, err, fail.K8sVersionUnsupported)
		}
	}
}

// TestNoIndex: what is no index of guest images is told of as such.
func TestNoIndex(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		content string
		want    string
	}{
		"a web page":         {"<html>log in</html>", "invalid character"},
		"container images":   {`{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json"}]}`, "has no artifact of type"},
		"a digest of nobody": {`{"manifests":[{"artifactType":"` + ArtifactType + `","digest":"sha256:x","size":1}]}`, "no SHA-256 digest"},
		"far too long":       {strings.Repeat(" ", maxIndex+1), "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := ParseIndex([]byte(test.content)); !fail.Is(err, fail.ChecksumMismatch) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want %s with %q", err, fail.ChecksumMismatch, test.want)
			}
		})
	}
	if _, err := ReadIndex(os.DirFS(t.TempDir())); !fail.Is(err, fail.ImageMissing) {
		t.Errorf("no index: got error %v, want %s", err, fail.ImageMissing)
	}
}

// TestOpenNoLayout: what is neither a layout nor a bundle is refused before anything is read of it.
func TestOpenNoLayout(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text, other := filepath.Join(dir, "text"), filepath.Join(dir, "other.tar")
	if err := errors.Join(os.WriteFile(text, bytes.Repeat([]byte("text"), 1000), 0o644), os.WriteFile(other, archive(t, map[string][]byte{"x": nil}), 0o644)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, text, other} {
		if _, _, err := Open(path); !fail.Is(err, fail.FlagInvalid) {
			t.Errorf("%s: got error %v, want %s", path, err, fail.FlagInvalid)
		}
	}
	if _, _, err := Open(filepath.Join(dir, "nothing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got error %v, want fs.ErrNotExist", err)
	}
}

// TestRegistry: a tool that knows nothing of skiff carries a layout into a registry, and every blob is there as it was.
func TestRegistry(t *testing.T) {
	t.Parallel()
	packed := pack(t, testFolder(t))
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	from, err := ggcrlayout.ImageIndexFromPath(packed)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(strings.TrimPrefix(server.URL, "http://")+"/skiff/image:v1", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(tag, from); err != nil {
		t.Fatal(err)
	}
	a := read(t, os.DirFS(packed))
	for _, d := range append([]v1.Descriptor{a.Config}, a.Layers...) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/v2/skiff/image/blobs/"+d.Digest.String(), http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		sum, err := digest.FromReader(answer.Body)
		if closed := answer.Body.Close(); err != nil || closed != nil || sum != d.Digest {
			t.Errorf("blob %s: got digest %s, error %v", d.Digest, sum, err)
		}
	}
	got, err := remote.Index(tag)
	if err != nil {
		t.Fatal(err)
	}
	content, err := got.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	if index, err := ParseIndex(content); err != nil || index.Manifests[0].Digest != a.Descriptor.Digest || index.Manifests[0].Annotations[AnnotationImage] != a.Image.Digest {
		t.Errorf("got the index %s, error %v", content, err)
	}
}
