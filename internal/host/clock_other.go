//go:build !linux

package host

// Synchronized is not known here.
func Synchronized() (synchronized, known bool) { return false, false }
