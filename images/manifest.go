// Package images knows what a guest image is: a folder of files that machines boot from, and the manifest that
// describes them. It reads, installs and verifies such folders; package images/build makes them.
package images

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/store"
)

// Names of the parts of an image folder.
const (
	ManifestName = "manifest.json"
	DiskName     = "disk.raw" // ext4 root file system, sparse
	KernelName   = "vmlinuz"
	InitrdName   = "initrd"
	KubectlName  = "kubectl" // for the host, with the subcommand "convert" built in
	MirrorName   = "mirror"  // folder: OCI image layout for the registry mirror
	// EmulatorFolder has the program EmulatorProgram, a QEMU for hosts without hardware virtualisation, and its firmware.
	EmulatorFolder  = "qemu"
	EmulatorProgram = "qemu-system-x86_64"
	// BootstrapName is the list of what the API server would create at its first start, each with its key in etcd.
	BootstrapName = "bootstrap.json"
	// BootsName is the folder of saved boots beside the files of the image. No two of them are the same, so that they are no
	// part of what the manifest describes, and have sums of their own.
	BootsName = "boots"
)

// Manifest describes an image folder. Two builds of the same inputs have the same digest, by whatever version of skiff.
type Manifest struct {
	Skiff             string `json:"skiff,omitempty"`   // version that wrote it; empty in manifests from before it was noted
	KubernetesVersion string `json:"kubernetesVersion"` // with its v: v1.37.2
	Architecture      string `json:"architecture"`      // as Go says it: amd64
	Cmdline           string `json:"cmdline"`           // kernel command line; drivers add the words of package tuning
	DiskBytes         int64  `json:"diskBytes"`         // size of the disk as the guest sees it
	// Digest names the image: SHA-256, in hexadecimal, over everything in the manifest as it is stored, but for the values of Digest
	// and Skiff; see digestOf.
	Digest string `json:"digest"`
	// Files holds every file of the folder but the manifest, by its slash-separated path in the folder.
	Files      map[string]File `json:"files"`
	Components []Component     `json:"components"`
	Images     []Image         `json:"images"`
}

// File is one file of an image folder.
type File struct {
	Name string `json:"name"` // slash-separated path in the folder; the key in Manifest.Files
	Size int64  `json:"size"` // bytes, holes included
	// SHA256 is the digest of the content in hexadecimal, as sha256sum prints it. For a file with Sparse set it is the
	// digest of its data, see HashSparse: hashing 20 GiB of zeros would take most of a minute.
	SHA256 string `json:"sha256"`
	Sparse bool   `json:"sparse,omitempty"`
	Mode   uint32 `json:"mode"` // permission bits
}

// Component is one program of the guest, and where it was built from.
type Component struct {
	Name    string `json:"name"`
	Module  string `json:"module"` // Go module, or the Debian package
	Version string `json:"version"`
	Digest  string `json:"digest"` // SHA-256 of the program, hexadecimal; empty for a Debian package
}

// Image is a container image that clusters find without a network.
type Image struct {
	Reference string `json:"reference"` // complete: docker.io/library/traefik:v3.7.13
	Digest    string `json:"digest"`    // of its manifest: sha256:…
	// StandIn says that skiff's own program answers to this name, because the original cannot be had.
	StandIn bool `json:"standIn,omitempty"`
}

// Remake is the command that brings a guest image, and brings it anew where one is damaged.
const Remake = "make image"

// ReadManifest reads the manifest of the image folder dir. A folder without one gives fail.ImageMissing, one that does
// not describe itself consistently fail.ChecksumMismatch. One that does, and has fields that this version of skiff does not know,
// gives fail.StateNewer, which wraps *store.OtherError: another version made it, and it is not damaged.
func ReadManifest(dir string) (Manifest, error) {
	m, _, err := readManifest(dir)
	return m, err
}

// readManifest is ReadManifest that also returns the bytes of the file: what a copy of the image must have, as another version
// of skiff may have written more than this one knows.
func readManifest(dir string) (Manifest, []byte, error) {
	op := fmt.Sprintf("read the guest image in %q", dir)
	content, err := os.ReadFile(filepath.Join(dir, ManifestName))
	if errors.Is(err, fs.ErrNotExist) {
		return Manifest{}, nil, fail.New(fail.ImageMissing, op, "%w", err).WithNext(Remake)
	}
	if err != nil {
		return Manifest{}, nil, fmt.Errorf("%s: %w", op, err)
	}
	m, err := classify(op, content)
	if damaged, ok := errors.AsType[*fail.Error](err); ok && damaged.ID == fail.ChecksumMismatch {
		err = damaged.WithNext(Remake)
	}
	return m, content, err
}

// ParseManifest reads a manifest that does not lie in a folder, such as that of a download. It fails as ReadManifest does.
func ParseManifest(content []byte) (Manifest, error) {
	return classify("read the manifest of a guest image", content)
}

// classify is parse whose errors have their IDs.
func classify(op string, content []byte) (Manifest, error) {
	m, err := parse(content)
	if _, whole := errors.AsType[*store.FieldError](err); whole {
		return Manifest{}, fail.New(fail.StateNewer, op, "%s: %w", ManifestName, err).WithNext("skiff version")
	}
	if err != nil {
		return Manifest{}, fail.New(fail.ChecksumMismatch, op, "%s: %w", ManifestName, err)
	}
	return m, nil
}

func parse(content []byte) (Manifest, error) {
	var m Manifest
	if err := json.Unmarshal(content, &m); err != nil {
		return m, err
	}
	digest, err := digestOf(content)
	if err != nil {
		return m, err
	}
	if err := m.validate(digest); err != nil {
		return m, err
	}
	return m, store.ReadJSON(content, &Manifest{})
}

// Encode returns the manifest as it lies in the folder, with Digest filled in from the rest.
func (m Manifest) Encode() ([]byte, error) {
	digest, err := m.sum()
	if err != nil {
		return nil, err
	}
	m.Digest = digest
	content, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode the manifest: %w", err)
	}
	return append(content, '\n'), nil
}

// Emulator returns the path of the QEMU in the image folder dir, or nothing if the image has none that runs on this host.
func (m Manifest) Emulator(dir string) string {
	const name = EmulatorFolder + "/" + EmulatorProgram
	if _, there := m.Files[name]; !there || runtime.GOOS != "linux" || runtime.GOARCH != m.Architecture {
		return ""
	}
	return filepath.Join(dir, filepath.FromSlash(name))
}

// Tag returns the tag of the image's container image with that name, such as registry.k8s.io/etcd. None is an error.
func (m Manifest) Tag(name string) (string, error) {
	for _, image := range m.Images {
		if tag, ok := strings.CutPrefix(image.Reference, name+":"); ok {
			return tag, nil
		}
	}
	return "", fail.New(fail.ImageMissing, "use the guest image "+m.Digest, "it has no container image %s", name).WithNext(Remake)
}

// sum returns the digest of a manifest that is about to be stored. encoding/json sorts the keys of maps, so that equal
// manifests have equal text.
func (m Manifest) sum() (string, error) {
	content, err := json.Marshal(m)
	if err != nil {
		return "", fmt.Errorf("encode the manifest: %w", err)
	}
	return digestOf(content)
}

// digestOf returns the digest of a stored manifest: SHA-256 over its JSON without white space, in which the values of digest and
// skiff are empty: who wrote it changes nothing of the image. It is over the bytes that are stored and not over what this version of skiff reads of them, so that a field more or
// less in Manifest changes nothing for images that are there.
func digestOf(content []byte) (string, error) {
	var text bytes.Buffer
	if err := json.Compact(&text, content); err != nil {
		return "", err
	}
	decoder := json.NewDecoder(bytes.NewReader(text.Bytes()))
	if begin, err := decoder.Token(); err != nil || begin != json.Delim('{') {
		return "", errors.Join(errors.New("it is not a JSON object"), err)
	}
	var plain []byte
	at := int64(0)
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return "", err
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return "", err
		}
		if name == "digest" || name == "skiff" {
			end := decoder.InputOffset()
			plain = append(append(plain, text.Bytes()[at:end-int64(len(value))]...), `""`...)
			at = end
		}
	}
	return hashBytes(append(plain, text.Bytes()[at:]...)), nil
}

func (m Manifest) validate(digest string) error {
	var problems []error
	if m.Digest != digest {
		problems = append(problems, fmt.Errorf("digest: is %q, the content has %q", m.Digest, digest))
	}
	for path, file := range m.Files {
		// Names become paths: nothing may lead out of the folder.
		if file.Name != path || !fs.ValidPath(path) || path == "." || strings.ContainsRune(path, '\\') {
			problems = append(problems, fmt.Errorf("files: %q is no name for a file of the folder", path))
		}
	}
	return errors.Join(problems...)
}
