package images

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
)

// block is the unit in which HashSparse decides whether there is data, in bytes. File systems have holes of their own
// block size; a fixed unit keeps the digest independent of where the file lies.
const block = 64 << 10

func hashBytes(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// Hash returns the SHA-256 of the file at path, in hexadecimal: as HashSparse does when sparse, else over its content.
// Bytes read are told to progress, which may be nil. A cancelled ctx ends it.
func Hash(ctx context.Context, path string, sparse bool, progress func(n int64)) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	return copyHashed(ctx, file, nil, sparse, progress)
}

// copyHashed returns the digest of file as Hash does, and writes its content to the file to on the way, unless that is nil.
func copyHashed(ctx context.Context, file, to *os.File, sparse bool, progress func(n int64)) (string, error) {
	if sparse {
		return HashSparse(ctx, file, to, progress)
	}
	sum := sha256.New()
	var target io.Writer = sum
	if to != nil {
		target = io.MultiWriter(sum, to)
	}
	if err := transfer(ctx, target, file, progress); err != nil {
		return "", fmt.Errorf("read %q: %w", file.Name(), err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// HashSparse returns the digest of the data of file, in hexadecimal: SHA-256 over, for each block of 64 KiB that is not
// all zeros, its offset (64 bits, big-endian) and its bytes (the last block may be short), and then the file's size. It
// depends on the content alone, not on where the holes are; holes are skipped without being read.
// When to is not nil the data is also written there, at the same offsets, and to gets the same size, so that the copy has at
// least the holes of the original.
func HashSparse(ctx context.Context, file, to *os.File, progress func(n int64)) (string, error) {
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	size, sum := info.Size(), sha256.New()
	if to != nil {
		if err := to.Truncate(size); err != nil {
			return "", fmt.Errorf("set the size of %q: %w", to.Name(), err)
		}
	}
	err = ReadSparse(ctx, file, progress, func(data []byte, offset int64) error { return hashBlocks(sum, to, data, offset) })
	if err != nil {
		return "", err
	}
	sum.Write(binary.BigEndian.AppendUint64(nil, uint64(size)))
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// ReadSparse calls do with all data of file, in order and in pieces that begin at a multiple of 64 KiB. What is not passed is
// zeros; so may be some of what is. Bytes passed and skipped are told to progress, which may be nil.
func ReadSparse(ctx context.Context, file *os.File, progress func(n int64), do func(data []byte, offset int64) error) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	size, buffer := info.Size(), make([]byte, 4<<20)
	for offset := int64(0); offset < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		next, err := nextData(file, offset)
		if err != nil {
			return fmt.Errorf("find the data of %q: %w", file.Name(), err)
		}
		if next -= next % block; next > offset {
			report(progress, min(next, size)-offset)
			offset = next
			continue
		}
		n, err := file.ReadAt(buffer[:min(int64(len(buffer)), size-offset)], offset)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if err := do(buffer[:n], offset); err != nil {
			return err
		}
		report(progress, int64(n))
		offset += int64(n)
		if n == 0 {
			return fmt.Errorf("read %q: %w", file.Name(), io.ErrUnexpectedEOF)
		}
	}
	return nil
}

// hashBlocks adds the blocks of data, which begins at offset, to sum, and writes those that are not zeros to the file.
func hashBlocks(sum hash.Hash, to *os.File, data []byte, offset int64) error {
	for len(data) > 0 {
		n := min(len(data), block)
		if !zeros(data[:n]) {
			sum.Write(binary.BigEndian.AppendUint64(nil, uint64(offset)))
			sum.Write(data[:n])
			if to != nil {
				if _, err := to.WriteAt(data[:n], offset); err != nil {
					return err
				}
			}
		}
		data, offset = data[n:], offset+int64(n)
	}
	return nil
}

func zeros(data []byte) bool {
	for len(data) >= 8 {
		if binary.NativeEndian.Uint64(data) != 0 {
			return false
		}
		data = data[8:]
	}
	for _, b := range data {
		if b != 0 {
			return false
		}
	}
	return true
}

// transfer copies from to to until the end, or until ctx is cancelled.
func transfer(ctx context.Context, to io.Writer, from io.Reader, progress func(n int64)) error {
	buffer := make([]byte, 1<<20)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := from.Read(buffer)
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return err
			}
			report(progress, int64(n))
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func report(progress func(n int64), n int64) {
	if progress != nil {
		progress(n)
	}
}
