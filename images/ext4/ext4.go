// Package ext4 reads files out of an ext4 file system that lies in a file, without mounting it: parts of the guest image
// are needed on machines that do not boot from it. Of the features of ext4 it knows those that the image has (package
// images/build): extents, and neither inline data nor encryption. It never writes.
package ext4

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// Offsets of fields in bytes, and values of them (Linux: Documentation/filesystems/ext4/{super,group_descr,inodes,
// ifork,directory}.rst).
const (
	superOffset     = 1024
	superSize       = 1024
	superLogBlock   = 0x18
	superFirstBlock = 0x14
	superPerGroup   = 0x28
	superMagic      = 0x38
	superInodeSize  = 0x58
	superIncompat   = 0x60
	superDescSize   = 0xfe

	groupTableLow  = 0x08
	groupTableHigh = 0x28

	inodeMode     = 0x00
	inodeSizeLow  = 0x04
	inodeFlags    = 0x20
	inodeBlock    = 0x28
	inodeSizeHigh = 0x6c
	blockBytes    = 60 // of inodeBlock

	magic         = 0xef53
	extentMagic   = 0xf30a
	feature64Bit  = 0x80
	flagExtents   = 0x80000
	unwritten     = 0x8000 // added to the length of an extent that reads as zeros
	rootInode     = 2
	smallestInode = 128
	maxDepth      = 5 // of a tree of extents, according to ifork.rst
)

// FS is an open file system. It is safe for concurrent use.
type FS struct {
	source     io.ReaderAt
	close      func() error
	block      int64
	firstTable int64 // block of the group descriptors
	perGroup   int64
	inodeSize  int64
	descriptor int64
	wide       bool
}

// Open opens the file system in the file at path.
func Open(path string) (*FS, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	f := &FS{source: file, close: file.Close}
	if err := f.readSuper(); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("read the file system in %q: %w", path, err)
	}
	return f, nil
}

// Close closes the file; Files must not be read after it.
func (f *FS) Close() error { return f.close() }

func (f *FS) readSuper() error {
	super := make([]byte, superSize)
	if _, err := f.source.ReadAt(super, superOffset); err != nil {
		return err
	}
	u32 := func(at int) int64 { return int64(binary.LittleEndian.Uint32(super[at:])) }
	u16 := func(at int) int64 { return int64(binary.LittleEndian.Uint16(super[at:])) }
	const largestLog = 6 // 64 KiB
	if u16(superMagic) != magic || u32(superLogBlock) > largestLog || u32(superPerGroup) == 0 || u16(superInodeSize) < smallestInode {
		return errors.New("it is not ext4")
	}
	f.block = 1024 << u32(superLogBlock)
	f.firstTable = u32(superFirstBlock) + 1
	f.perGroup, f.inodeSize = u32(superPerGroup), u16(superInodeSize)
	f.wide = u32(superIncompat)&feature64Bit != 0
	f.descriptor = 32
	if f.wide {
		f.descriptor = max(f.descriptor, u16(superDescSize))
	}
	return nil
}

// File is one file, folder or symbolic link.
type File struct {
	Mode   fs.FileMode // type and permission bits
	Size   int64       // bytes
	fs     *FS
	inline []byte // target of a short symbolic link
	runs   []run
}

// run is a piece of a file that lies in one piece on the disk; what no run covers is zeros.
type run struct{ at, length, disk int64 } // bytes

// Lookup returns the file with that slash-separated path below the root. Symbolic links are not followed, neither at its
// end nor on the way. One that is not there gives an error that wraps fs.ErrNotExist.
func (f *FS) Lookup(name string) (*File, error) {
	found, err := f.inode(rootInode)
	for part := range strings.SplitSeq(strings.Trim(path.Clean("/"+name), "/"), "/") {
		if err != nil || part == "" {
			break
		}
		found, err = f.child(found, part)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "look up", Path: name, Err: err}
	}
	return found, nil
}

// child looks a name up in a folder.
func (f *FS) child(folder *File, name string) (*File, error) {
	if !folder.Mode.IsDir() {
		return nil, fs.ErrNotExist
	}
	const largest = 64 << 20
	if folder.Size > largest {
		return nil, errors.New("the folder is damaged")
	}
	content, err := io.ReadAll(folder.Reader())
	if err != nil {
		return nil, err
	}
	// Each entry: number of the inode, length of the entry, length of the name, type, name. Inner nodes of the index of a
	// large folder look like entries without an inode.
	const head = 8
	for len(content) >= head {
		length := int(binary.LittleEndian.Uint16(content[4:]))
		number, nameLength := binary.LittleEndian.Uint32(content), int(content[6])
		if length < head || length > len(content) || head+nameLength > length {
			return nil, errors.New("the folder is damaged")
		}
		if number != 0 && string(content[head:head+nameLength]) == name {
			return f.inode(int64(number))
		}
		content = content[length:]
	}
	return nil, fs.ErrNotExist
}

// inode reads the inode with that number.
func (f *FS) inode(number int64) (*File, error) {
	group, index := (number-1)/f.perGroup, (number-1)%f.perGroup
	descriptor := make([]byte, f.descriptor)
	if _, err := f.source.ReadAt(descriptor, f.firstTable*f.block+group*f.descriptor); err != nil {
		return nil, err
	}
	table := int64(binary.LittleEndian.Uint32(descriptor[groupTableLow:]))
	if f.wide && f.descriptor > groupTableHigh+4 {
		table |= int64(binary.LittleEndian.Uint32(descriptor[groupTableHigh:])) << 32
	}
	raw := make([]byte, smallestInode)
	if _, err := f.source.ReadAt(raw, table*f.block+index*f.inodeSize); err != nil {
		return nil, err
	}
	file := &File{
		fs:   f,
		Mode: mode(binary.LittleEndian.Uint16(raw[inodeMode:])),
		Size: int64(binary.LittleEndian.Uint32(raw[inodeSizeLow:])) | int64(binary.LittleEndian.Uint32(raw[inodeSizeHigh:]))<<32,
	}
	pointers := raw[inodeBlock : inodeBlock+blockBytes]
	if binary.LittleEndian.Uint32(raw[inodeFlags:])&flagExtents == 0 {
		if file.Mode.Type() == fs.ModeSymlink && file.Size < blockBytes {
			file.inline = pointers[:file.Size]
			return file, nil
		}
		if file.Size > 0 {
			return nil, fmt.Errorf("inode %d is not made of extents", number)
		}
		return file, nil
	}
	if err := f.extents(file, pointers, maxDepth); err != nil {
		return nil, fmt.Errorf("inode %d: %w", number, err)
	}
	return file, nil
}

// extents collects the runs of a file from one node of its tree.
func (f *FS) extents(file *File, node []byte, depth int) error {
	const entry = 12 // bytes, those of the head too
	u16 := func(at int) int64 { return int64(binary.LittleEndian.Uint16(node[at:])) }
	u32 := func(at int) int64 { return int64(binary.LittleEndian.Uint32(node[at:])) }
	count, below := int(u16(2)), u16(6)
	if u16(0) != extentMagic || entry+count*entry > len(node) || depth < 0 {
		return errors.New("its tree of extents is damaged")
	}
	for at := entry; at < entry+count*entry; at += entry {
		if below > 0 {
			child := make([]byte, f.block)
			if _, err := f.source.ReadAt(child, (u32(at+4)|u16(at+8)<<32)*f.block); err != nil {
				return err
			}
			if err := f.extents(file, child, depth-1); err != nil {
				return err
			}
			continue
		}
		length := u16(at + 4)
		if length > unwritten {
			continue
		}
		file.runs = append(file.runs, run{at: u32(at) * f.block, length: length * f.block, disk: (u32(at+8) | u16(at+6)<<32) * f.block})
	}
	return nil
}

// Reader returns a reader of the whole content, holes as zeros.
func (f *File) Reader() io.Reader { return io.NewSectionReader(f, 0, f.Size) }

// Target returns where a symbolic link leads.
func (f *File) Target() (string, error) {
	if f.Mode.Type() != fs.ModeSymlink {
		return "", fs.ErrInvalid
	}
	if f.inline != nil {
		return string(f.inline), nil
	}
	target, err := io.ReadAll(f.Reader())
	return string(target), err
}

// ReadAt implements io.ReaderAt.
func (f *File) ReadAt(p []byte, at int64) (int, error) {
	if at >= f.Size {
		return 0, io.EOF
	}
	end := io.EOF
	if most := f.Size - at; int64(len(p)) <= most {
		end = nil
	} else {
		p = p[:most]
	}
	clear(p)
	for _, run := range f.runs {
		from, to := max(at, run.at), min(at+int64(len(p)), run.at+run.length)
		if from >= to {
			continue
		}
		if n, err := f.fs.source.ReadAt(p[from-at:to-at], run.disk+from-run.at); err != nil && int64(n) < to-from {
			return 0, err
		}
	}
	return len(p), end
}

// mode translates the bits of an inode.
func mode(bits uint16) fs.FileMode {
	mode := fs.FileMode(bits & 0o777)
	switch bits & 0xf000 {
	case 0x4000:
		mode |= fs.ModeDir
	case 0xa000:
		mode |= fs.ModeSymlink
	case 0x8000:
	default:
		mode |= fs.ModeIrregular // devices, pipes and sockets have no content
	}
	return mode
}
