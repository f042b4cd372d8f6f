package build

import (
	"encoding/binary"
	"fmt"
	"os"
)

// Fields of ext4 (Linux: Documentation/filesystems/ext4/{super,group_descr,inodes,bitmaps}.rst), offsets in bytes.
const (
	superOffset       = 1024
	superBlocksLo     = 0x04
	superLogBlock     = 0x18
	superInodesGroup  = 0x28
	superBlocksGroup  = 0x20
	superMagic        = 0x38
	superInodeSize    = 0x58
	superIncompat     = 0x60
	superCompatRO     = 0x64
	superDescSize     = 0xfe
	groupInodeBitmap  = 0x04
	groupInodeTable   = 0x08
	groupFlags        = 0x12
	groupBitmapHi     = 0x24
	groupTableHi      = 0x28
	inodeAtime        = 0x08
	inodeCtime        = 0x0c
	inodeMtime        = 0x10
	inodeCtimeExtra   = 0x84
	inodeMtimeExtra   = 0x88
	inodeAtimeExtra   = 0x8c
	inodeCrtime       = 0x90
	inodeCrtimeExtra  = 0x94
	featureMetaCsum   = 0x400
	feature64Bit      = 0x80
	groupInodeUninit  = 0x1
	ext4Magic         = 0xef53
	defaultDescSize   = 32
	smallestWithTimes = 256
)

// stampInodes sets all times of all files in the ext4 file system at path to the epoch. mke2fs takes them from the folder that
// it reads, and the time of an inode's change cannot be set there. Checksums of inodes must be off.
func stampInodes(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	super := make([]byte, 1024)
	if _, err := file.ReadAt(super, superOffset); err != nil {
		return err
	}
	u32 := func(at int) int64 { return int64(binary.LittleEndian.Uint32(super[at:])) }
	u16 := func(at int) int64 { return int64(binary.LittleEndian.Uint16(super[at:])) }
	if u16(superMagic) != ext4Magic || u32(superCompatRO)&featureMetaCsum != 0 || u16(superInodeSize) < smallestWithTimes {
		return fmt.Errorf("%q is not an ext4 file system without checksums of metadata", path)
	}
	t := inodeTables{
		file: file, block: 1024 << u32(superLogBlock), inodeSize: u16(superInodeSize), inodes: u32(superInodesGroup),
		wide: u32(superIncompat)&feature64Bit != 0, descriptor: defaultDescSize,
	}
	if t.wide {
		t.descriptor = u16(superDescSize)
	}
	groups := (u32(superBlocksLo) + u32(superBlocksGroup) - 1) / u32(superBlocksGroup)
	descriptors := make([]byte, groups*t.descriptor)
	// They follow the superblock's block.
	first := (int64(superOffset)/t.block + 1) * t.block
	if _, err := file.ReadAt(descriptors, first); err != nil {
		return err
	}
	for group := range groups {
		if err := t.stamp(descriptors[group*t.descriptor:][:t.descriptor]); err != nil {
			return fmt.Errorf("block group %d: %w", group, err)
		}
	}
	return file.Close()
}

type inodeTables struct {
	file                                 *os.File
	block, inodeSize, inodes, descriptor int64
	wide                                 bool
}

// stamp sets the times of the inodes in use of the group with the given descriptor.
func (t inodeTables) stamp(descriptor []byte) error {
	if binary.LittleEndian.Uint16(descriptor[groupFlags:])&groupInodeUninit != 0 {
		return nil
	}
	at := func(low, high int) int64 {
		number := int64(binary.LittleEndian.Uint32(descriptor[low:]))
		if t.wide {
			number |= int64(binary.LittleEndian.Uint32(descriptor[high:])) << 32
		}
		return number * t.block
	}
	bitmap := make([]byte, t.inodes/8)
	if _, err := t.file.ReadAt(bitmap, at(groupInodeBitmap, groupBitmapHi)); err != nil {
		return err
	}
	table := at(groupInodeTable, groupTableHi)
	inode := make([]byte, t.inodeSize)
	seconds := uint32(epoch.Unix())
	for i := range t.inodes {
		if bitmap[i/8]&(1<<(i%8)) == 0 {
			continue
		}
		if _, err := t.file.ReadAt(inode, table+i*t.inodeSize); err != nil {
			return err
		}
		if binary.LittleEndian.Uint32(inode[inodeCtime:]) == 0 {
			continue // reserved and unused
		}
		for _, field := range []int{inodeAtime, inodeCtime, inodeMtime, inodeCrtime} {
			binary.LittleEndian.PutUint32(inode[field:], seconds)
		}
		for _, field := range []int{inodeAtimeExtra, inodeCtimeExtra, inodeMtimeExtra, inodeCrtimeExtra} {
			binary.LittleEndian.PutUint32(inode[field:], 0)
		}
		if _, err := t.file.WriteAt(inode, table+i*t.inodeSize); err != nil {
			return err
		}
	}
	return nil
}
