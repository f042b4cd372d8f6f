package build

import (
	"embed"
	"io/fs"
)

//go:embed all:guest
var guestFiles embed.FS

// guest returns skiff's own files of the root file system.
func guest() (fs.FS, error) { return fs.Sub(guestFiles, "guest") }
