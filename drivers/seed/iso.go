package seed

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/diskfs/go-diskfs/backend"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"
)

// diskBytes is the size of every seed disk: a machine that goes on with another disk than it has booted with still knows the
// size of the first.
const diskBytes = 128 << 10

// file is a file in the root folder of the disk.
type file struct {
	name    string
	content []byte
}

// iso returns an ISO 9660 image with Rock Ridge names, as plain ISO 9660 has neither lower case nor a dash. Its dates are
// all the same.
func iso(files []file) (image []byte, err error) {
	work, err := os.MkdirTemp("", "skiff-seed-") // mode 0700: a private key passes through it
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(work, f.name), f.content, 0o600); err != nil {
			return nil, err
		}
	}
	var memory memory
	system, err := iso9660.Create(&memory, 0, 0, sector, work)
	if err != nil {
		return nil, err
	}
	if err := system.Finalize(iso9660.FinalizeOptions{RockRidge: true, VolumeIdentifier: label}); err != nil {
		return nil, err
	}
	if err := settle(memory.bytes); err != nil {
		return nil, err
	}
	if len(memory.bytes) > diskBytes {
		return nil, fmt.Errorf("the image has %d bytes, more than %d", len(memory.bytes), diskBytes)
	}
	return append(memory.bytes, make([]byte, diskBytes-len(memory.bytes))...), nil
}

// memory is the part of a storage backend that writing an image needs. The image is put together in memory because the
// library does not look at errors of its writes.
type memory struct {
	backend.Storage // nil: the rest is not called
	bytes           []byte
}

func (m *memory) Writable() (backend.WritableFile, error) { return m, nil }

func (m *memory) WriteAt(p []byte, at int64) (int, error) {
	if missing := int(at) + len(p) - len(m.bytes); missing > 0 {
		m.bytes = append(m.bytes, make([]byte, missing)...)
	}
	return copy(m.bytes[at:], p), nil
}

// Places in an image; see ECMA-119 (ISO 9660), 8.4 for the primary volume descriptor and 9.1 for directory records.
const (
	sector         = 2048
	descriptor     = 16 * sector
	rootRecord     = descriptor + 156 // the root folder's record within the descriptor
	volumeName     = descriptor + 40  // 32 bytes
	volumeDates    = descriptor + 813 // four dates, 17 bytes each
	recordExtent   = 2                // first sector of what the record names
	recordSize     = 10               // its bytes
	recordDate     = 18
	recordName     = 32 // length of the name; the name follows
	recordDateSize = 7
)

// settle sets all dates of the image to the beginning of 2000, as the library takes those of its temporary files, and
// fills the volume's name with blanks, as the standard wants, where the library leaves zeros.
func settle(image []byte) error {
	if len(image) < descriptor+sector {
		return errors.New("the image is too short")
	}
	copy(image[volumeName:], fmt.Sprintf("%-32s", label))
	for i := range 4 {
		copy(image[volumeDates+17*i:], "2000010100000000\x00") // the last byte is the time zone
	}
	date := []byte{100, 1, 1, 0, 0, 0, 0} // years since 1900, month, day, hour, minute, second, time zone
	copy(image[rootRecord+recordDate:], date)
	start := int(binary.LittleEndian.Uint32(image[rootRecord+recordExtent:])) * sector
	size := int(binary.LittleEndian.Uint32(image[rootRecord+recordSize:]))
	if start < descriptor || start+size > len(image) {
		return fmt.Errorf("the root folder lies at %d, outside of the image", start)
	}
	for folder := image[start : start+size]; len(folder) > recordName && folder[0] > recordName; folder = folder[folder[0]:] {
		record := folder[:min(int(folder[0]), len(folder))]
		copy(record[recordDate:], date)
		settleSystemUse(record, date)
	}
	return nil
}

// settleSystemUse sets the dates in a record's Rock Ridge field TF (Rock Ridge Interchange Protocol, 4.1.6): signature,
// length, version, flags, then dates of 7 bytes.
func settleSystemUse(record, date []byte) {
	name := int(record[recordName])
	at := recordName + 1 + name + (name+1)%2 // a pad byte makes the length of record and name even
	for at+4 <= len(record) {
		field := record[at:]
		length := int(field[2])
		if length < 4 || length > len(field) {
			return
		}
		if bytes.HasPrefix(field, []byte("TF")) {
			for stamp := 5; stamp+recordDateSize <= length; stamp += recordDateSize {
				copy(field[stamp:], date)
			}
		}
		at += length
	}
}
