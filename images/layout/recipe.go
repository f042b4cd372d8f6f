package layout

import (
	"bytes"
	"context"
	"os"

	"github.com/skiff-k8s/skiff/images"
)

// line is a Piece whose part is named, as the parts have no numbers before all are known.
type line struct {
	part   string // empty for a hole
	offset int64
	length int64
}

// lines is a recipe that grows at its end.
type lines []line

func (l *lines) add(next line) {
	if next.length == 0 {
		return
	}
	if n := len(*l); n > 0 {
		last := &(*l)[n-1]
		if last.part == next.part && (next.part == "" || last.offset+last.length == next.offset) {
			last.length += next.length
			return
		}
	}
	*l = append(*l, next)
}

// recipe makes the recipe of one file. What is in no source is carried in the part that the file has, or in rest.
func (p *packer) recipe(ctx context.Context, name string) (lines, error) {
	if p.manifest.Files[name].Sparse {
		return p.recipeOfSparse(ctx, name)
	}
	var made lines
	var at int64
	gap := func(to int64) error {
		if to == at {
			return nil
		}
		file, err := p.open(name)
		if err != nil {
			return err
		}
		in := partOf(name)
		s := &source{from: file, at: at, size: to - at}
		p.part(in).add(s)
		made.add(line{in, s.base, s.size})
		return nil
	}
	for _, span := range p.spans[name] {
		if err := gap(span.at); err != nil {
			return nil, err
		}
		made.add(line{span.what.part, span.what.base, span.what.size})
		at = span.at + span.what.size
	}
	return made, gap(p.manifest.Files[name].Size)
}

// recipeOfSparse compares the file with all sources, block by block. Blocks of zeros are holes, whether the file has them on this
// disk or not, so that the recipe is the same wherever it is made.
func (p *packer) recipeOfSparse(ctx context.Context, name string) (lines, error) {
	file, err := p.open(name)
	if err != nil {
		return nil, err
	}
	scan := scan{packer: p, file: file, scratch: make([]byte, block)}
	err = images.ReadSparse(ctx, file, nil, func(data []byte, offset int64) error {
		scan.made.add(line{length: offset - scan.at})
		scan.at = offset
		for len(data) > 0 {
			n := min(len(data), block)
			if err := scan.block(data[:n]); err != nil {
				return err
			}
			data = data[n:]
		}
		return nil
	})
	scan.made.add(line{length: p.manifest.Files[name].Size - scan.at})
	return scan.made, err
}

// scan is where the comparison is.
type scan struct {
	packer  *packer
	file    *os.File
	at      int64
	last    place // what follows the block before; no source when that was in none
	scratch []byte
	made    lines
}

// block adds the next block to the recipe.
func (s *scan) block(content []byte) error {
	defer func() { s.at += int64(len(content)) }()
	if zeros(content) {
		s.made.add(line{length: int64(len(content))})
		if s.last.source != nil { // a program has zeros, too
			s.last.at += int64(len(content))
		}
		return nil
	}
	found := s.packer.index[keyOf(content)]
	for _, candidate := range []place{s.last, found} {
		length, err := s.equal(candidate, content)
		if err != nil {
			return err
		}
		if length > 0 {
			own := candidate.source
			s.made.add(line{own.part, own.base + candidate.at, length})
			s.made.add(line{length: int64(len(content)) - length})
			s.last = place{own, candidate.at + block}
			return nil
		}
	}
	s.last = place{}
	own := s.packer.part(rest)
	s.made.add(line{rest, own.size, int64(len(content))})
	own.extend(s.file, s.at, int64(len(content)))
	return nil
}

// equal returns how many bytes of content lie at that place, if all but zeros at the end does, and else 0.
func (s *scan) equal(at place, content []byte) (int64, error) {
	if at.source == nil || at.at >= at.source.size {
		return 0, nil
	}
	length := min(int64(len(content)), at.source.size-at.at)
	if _, err := at.source.from.ReadAt(s.scratch[:length], at.source.at+at.at); err != nil {
		return 0, err
	}
	if !bytes.Equal(s.scratch[:length], content[:length]) || !zeros(content[length:]) {
		return 0, nil
	}
	return length, nil
}
