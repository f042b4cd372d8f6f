package qemu

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/skiff-k8s/skiff/drivers/hostfiles"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/internal/host"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/store"
)

// A saved state is a folder with a manifest, and the files that it describes when the machine had memory: the memory as a
// sparse file, and the state of the devices. Its files never change; two folders may share them by hard links. The folder
// gets its name when all of it is there.

const (
	manifestName = "manifest.json"
	memoryName   = "memory"
	devicesName  = "devices"
)

// manifest describes a saved state.
type manifest struct {
	Version int       `json:"version"`
	Skiff   string    `json:"skiff,omitempty"` // version that wrote it; empty in files from before it was noted
	Created time.Time `json:"created"`
	Running bool      `json:"running"`           // the machine ran or was paused when it was saved
	Layer   string    `json:"layer,omitempty"`   // of a snapshot: the topmost layer of its disk
	Note    []byte    `json:"note,omitempty"`    // of a snapshot
	Unquiet string    `json:"unquiet,omitempty"` // of a snapshot: as of drivers.Snapshot
	Memory  *memory   `json:"memory,omitempty"`  // nil when the machine had none
	Disk    *disk     `json:"disk,omitempty"`    // of a saved boot: its layer of the disk
}

// memory is the part of a manifest that a machine needs to go on.
type memory struct {
	Key     key    `json:"key"`
	Bytes   int64  `json:"bytes"` // of the memory's file
	Sums    []byte `json:"sums"`  // of its chunks, four bytes each, the lowest first
	Devices string `json:"devices"`
}

// disk is the part of a manifest that a machine needs to have the disk of another one.
type disk struct {
	Bytes  int64  `json:"bytes"`  // as the guest sees it
	SHA256 string `json:"sha256"` // of the layer's file, in hexadecimal
}

// manifestVersion changes with the meaning of the files.
const manifestVersion = 1

// key is all that must be the same for a saved memory to be of use. Its words are for people.
type key struct {
	QEMU        string `json:"qemu"`
	Accelerator string `json:"accelerator"`
	Processor   string `json:"processor,omitempty"` // of the host: its features, or under emulation the pace of its clock
	CPUs        int    `json:"cpus"`
	MemoryMiB   int    `json:"memoryMiB"`
	Image       string `json:"image"`
	Devices     string `json:"devices"` // stands for all of QEMU's arguments, but for names and paths
}

// keyOf returns the key of a machine as QEMU of that version runs it.
func keyOf(spec machine.Spec, accel accelerator, version string) key {
	k := key{
		QEMU: version, Accelerator: string(accel), CPUs: spec.CPUs, MemoryMiB: spec.MemoryMiB,
		Image: spec.Image.Digest, Processor: host.Processor(),
	}
	// What says where things are is the same for all machines, so that a saved one can be moved.
	plain := machine.Spec{CPUs: spec.CPUs, MemoryMiB: spec.MemoryMiB, Network: machine.Network{MAC: spec.Network.MAC}}
	plain.Image.Cmdline = spec.Image.Cmdline
	list := args(plain, accel, []string{firstLayer})
	// A kernel that runs has read its command line long ago, so memory fits whatever the accelerator's tuning is by now.
	list[slices.Index(list, "-append")+1] = spec.Image.Cmdline
	sum := sha256.Sum256([]byte(strings.Join(list, "\x00")))
	k.Devices = hex.EncodeToString(sum[:])
	return k
}

// differs says what of the key is not as it is now; empty when all is.
func (k key) differs(now key) string {
	var parts []string
	changed := func(format string, then, now any) {
		if then != now {
			parts = append(parts, fmt.Sprintf(format, now, then))
		}
	}
	changed("QEMU is %v and was %v", k.QEMU, now.QEMU)
	changed("the accelerator is %v and was %v", k.Accelerator, now.Accelerator)
	changed("the processor is %v and was %v", k.Processor, now.Processor)
	changed("there are %v CPUs and were %v", k.CPUs, now.CPUs)
	changed("there are %v MiB of memory and were %v", k.MemoryMiB, now.MemoryMiB)
	changed("the guest image is %v and was %v", k.Image, now.Image)
	if len(parts) == 0 && k != now {
		parts = append(parts, "this version of skiff gives the machine other devices")
	}
	return strings.Join(parts, ", ")
}

// writeManifest makes a saved state of the files in dir: from then on it is one, once dir has its name. The file's first
// line is the sum of the others.
func (f files) writeManifest(dir string, m manifest) error {
	m.Version, m.Skiff = manifestVersion, f.skiff
	content, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	sum := sha256.Sum256(content)
	return os.WriteFile(filepath.Join(dir, manifestName), fmt.Appendf(nil, "%x\n%s", sum, content), 0o600)
}

// readManifest reads the manifest of the saved state in dir. None gives an error that wraps fs.ErrNotExist, one that only a
// newer skiff can read fail.StateNewer, and one that is not as it was written *damageError.
func (f files) readManifest(dir string) (manifest, error) {
	path := filepath.Join(dir, manifestName)
	raw, err := os.ReadFile(path)
	if err != nil {
		return manifest{}, err
	}
	line, content, _ := bytes.Cut(raw, []byte("\n"))
	sum := sha256.Sum256(content)
	var m manifest
	if string(line) != hex.EncodeToString(sum[:]) {
		return m, &damageError{what: "its manifest is not as it was written"}
	}
	err = store.ReadJSON(content, &m)
	if err == nil && m.Version != manifestVersion {
		err = store.MadeBy(fmt.Errorf("it is of version %d, not %d", m.Version, manifestVersion), content)
	}
	if err = store.RefuseOther("read "+path, f.skiff, err); err != nil && !fail.Is(err, fail.StateNewer) {
		err = &damageError{what: fmt.Sprintf("its manifest %s cannot be read: %v", path, err), cause: err}
	}
	return m, err
}

// writeDevices writes the state of the devices and returns its sum.
func writeDevices(dir string, devices []byte) (sum string, err error) {
	digest := sha256.Sum256(devices)
	return hex.EncodeToString(digest[:]), os.WriteFile(filepath.Join(dir, devicesName), devices, 0o600)
}

// readDevices reads the state of the devices, whole, so that what was looked at is what is used.
func readDevices(dir, sum string) ([]byte, error) {
	devices, err := os.ReadFile(filepath.Join(dir, devicesName))
	if err != nil {
		return nil, &damageError{what: err.Error()}
	}
	if digest := sha256.Sum256(devices); hex.EncodeToString(digest[:]) != sum {
		return nil, &damageError{what: "the state of the devices is not as it was written"}
	}
	return devices, nil
}

func (s memorySums) bytes() []byte {
	raw := make([]byte, 0, 4*len(s))
	for _, sum := range s {
		raw = append(raw, byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)) //nolint:gosec // the four bytes of it
	}
	return raw
}

func sumsOf(raw []byte) memorySums {
	sums := make(memorySums, 0, len(raw)/4)
	for four := range slices.Chunk(raw, 4) {
		if len(four) == 4 {
			sums = append(sums, uint32(four[0])|uint32(four[1])<<8|uint32(four[2])<<16|uint32(four[3])<<24)
		}
	}
	return sums
}

// newFolder makes an empty folder for a state that is to become path, in the place of one that was not finished.
func newFolder(path string) (string, error) {
	dir := part(path)
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	return dir, os.MkdirAll(dir, 0o700)
}

// settle gives a finished folder its name. What had it before is removed. When it returns, no crash and no loss of power
// takes the folder away or any of its files. A folder has its name only when all that it describes is on the disk.
func (d *Driver) settle(path string) error {
	dir := part(path)
	for _, name := range []string{memoryName, devicesName, manifestName, "."} {
		if err := d.sync(filepath.Join(dir, name)); absent(err) != nil { // a machine that is off has no memory
			return err
		}
	}
	if err := discard(path); err != nil {
		return err
	}
	if err := os.Rename(dir, path); err != nil {
		return err
	}
	// The folder of all snapshots may be as new as the first one in it.
	return errors.Join(d.sync(filepath.Dir(path)), d.sync(filepath.Dir(filepath.Dir(path))))
}

// discard takes a saved state away: when it returns, no crash and no loss of power brings it back.
func discard(path string) error {
	if !hostfiles.Exists(path) {
		return nil
	}
	if err := invalidate(path); err != nil {
		return err
	}
	return os.RemoveAll(path)
}

// invalidate is the part of discard that counts.
func invalidate(path string) error {
	if err := os.Remove(filepath.Join(path, manifestName)); absent(err) != nil {
		return err
	}
	return hostfiles.Sync(path)
}

// share makes a folder at path's part that has the files of another saved state, by hard links.
func share(from, path string) (string, error) {
	dir, err := newFolder(path)
	if err != nil {
		return "", err
	}
	for _, name := range []string{memoryName, devicesName} {
		if err := os.Link(filepath.Join(from, name), filepath.Join(dir, name)); err != nil {
			return "", errors.Join(err, os.RemoveAll(dir))
		}
	}
	return dir, nil
}

// allocated returns the bytes that a file takes on the disk; 0 when there is none.
func allocated(path string) int64 {
	info, err := os.Lstat(path)
	if err != nil {
		return 0
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Blocks * 512 // stat(2): the unit is always 512 bytes
	}
	return info.Size()
}

// mismatch makes a saved state's fault a fail.SnapshotMismatch; other errors stay as they are.
func mismatch(err error) error {
	damage, damaged := errors.AsType[*damageError](err)
	if damaged {
		return fail.New(fail.SnapshotMismatch, "use the saved memory", "it is damaged: %w", damage)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fail.New(fail.SnapshotMismatch, "use the saved memory", "it is not complete: %w", err)
	}
	return err
}
