// Package images knows what a guest image is: a folder of files that machines boot from, and the manifest that
// describes them. It reads, installs and verifies such folders; package images/build makes them.
package images

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/skiff-k8s/skiff/fail"
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

// Manifest describes an image folder. Two builds of the same inputs have the same manifest.
type Manifest struct {
	KubernetesVersion string `json:"kubernetesVersion"` // with its v: v1.37.2
	Architecture      string `json:"architecture"`      // as Go says it: amd64
	Cmdline           string `json:"cmdline"`           // complete kernel command line
	DiskBytes         int64  `json:"diskBytes"`         // size of the disk as the guest sees it
	// Digest names the image: SHA-256, in hexadecimal, over everything else in the manifest.
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
// not describe itself consistently fail.ChecksumMismatch.
func ReadManifest(dir string) (Manifest, error) {
	op := fmt.Sprintf("read the guest image in %q", dir)
	content, err := os.ReadFile(filepath.Join(dir, ManifestName))
	if errors.Is(err, fs.ErrNotExist) {
		return Manifest{}, fail.New(fail.ImageMissing, op, "%w", err).WithNext(Remake)
	}
	if err != nil {
		return Manifest{}, fmt.Errorf("%s: %w", op, err)
	}
	var m Manifest
	if err := json.Unmarshal(content, &m); err != nil {
		return Manifest{}, fail.New(fail.ChecksumMismatch, op, "%s: %w", ManifestName, err).WithNext(Remake)
	}
	if err := m.validate(); err != nil {
		return Manifest{}, fail.New(fail.ChecksumMismatch, op, "%s: %w", ManifestName, err).WithNext(Remake)
	}
	return m, nil
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

// sum returns the digest of the manifest without its Digest. encoding/json sorts the keys of maps, so that equal
// manifests have equal text.
func (m Manifest) sum() (string, error) {
	m.Digest = ""
	content, err := json.Marshal(m)
	if err != nil {
		return "", fmt.Errorf("encode the manifest: %w", err)
	}
	return hashBytes(content), nil
}

func (m Manifest) validate() error {
	digest, err := m.sum()
	if err != nil {
		return err
	}
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
