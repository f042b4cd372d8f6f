// Package counting tells how much of something has been read.
package counting

import "io"

// Reader calls Count after each read of the Reader in it, with the number of bytes, which may be 0.
type Reader struct {
	io.Reader
	Count func(n int)
}

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.Count(n)
	return n, err
}
