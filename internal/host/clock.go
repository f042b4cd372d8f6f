package host

import (
	"fmt"
	"os"
	"runtime"
	"time"
)

// SetClock is the command that lets the network set the clock.
func SetClock() string {
	if runtime.GOOS == "darwin" {
		return "sudo sntp -sS time.apple.com"
	}
	return "sudo timedatectl set-ntp true"
}

// tolerance is how far the clock may be behind a file of skiff's: file systems and network time move it a little.
const tolerance = time.Minute

// ClockImpossible says in a sentence why the clock cannot be right; empty when it may be.
func ClockImpossible(now time.Time) string {
	if beginnings := time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC); now.Before(beginnings) {
		return fmt.Sprintf("The clock says %s, which is before skiff was written; certificates and downloads will be refused.", now.Format(time.DateTime))
	}
	return ""
}

// ClockBehind says in a sentence that the clock is behind the time of change of one of the files in paths, which must lie in the
// past; empty when it is not. It does not prove the clock wrong: it may have been wrong when the file was written.
func ClockBehind(now time.Time, paths []string) string {
	for _, path := range paths {
		info, err := os.Stat(path)
		if err == nil && info.ModTime().Sub(now) > tolerance {
			return fmt.Sprintf("The clock says %s, and %s was written at %s: it was set back, or was wrong then.",
				now.Format(time.DateTime), path, info.ModTime().In(now.Location()).Format(time.DateTime))
		}
	}
	return ""
}
