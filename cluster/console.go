package cluster

import (
	"bytes"
	"context"
	"io"
	"os"
	"time"

	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/machine"
)

// consoleTick is how often the file of a console is looked at.
const consoleTick = 20 * time.Millisecond

// console is what a machine says on its console from a moment on.
type console struct {
	path string
	from int64 // bytes that were there before
}

// consoleOf listens from now on; nil when nothing is kept of what the machine says.
func consoleOf(vm machine.Machine) *console {
	consoler, ok := vm.(drivers.Consoler)
	if !ok {
		return nil
	}
	c := &console{path: consoler.ConsoleLog()}
	if info, err := os.Stat(c.path); err == nil {
		c.from = info.Size()
	}
	return c
}

// until returns nil once wanted is true of a whole line. When ctx ends first, or the file cannot be read, it gives that.
func (c *console) until(ctx context.Context, wanted func(line string) bool) error {
	ticker := time.NewTicker(consoleTick)
	defer ticker.Stop()
	for {
		said, err := c.read()
		if err != nil {
			return err
		}
		for {
			line, rest, whole := bytes.Cut(said, []byte("\n"))
			if !whole {
				break
			}
			c.from += int64(len(said) - len(rest))
			if said = rest; wanted(string(line)) {
				return nil
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// read returns what was said since. A file that has become shorter was begun anew.
func (c *console) read() ([]byte, error) {
	file, err := os.Open(c.path)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() < c.from {
		c.from = 0
	}
	return io.ReadAll(io.NewSectionReader(file, c.from, info.Size()-c.from))
}
