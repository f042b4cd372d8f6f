package host

import "golang.org/x/sys/unix"

// Synchronized reports whether something keeps the clock right, as the kernel was told by it (adjtimex(2)). known is false
// where the system does not say.
func Synchronized() (synchronized, known bool) {
	var state unix.Timex
	if _, err := unix.Adjtimex(&state); err != nil {
		return false, false
	}
	return state.Status&unix.STA_UNSYNC == 0, true
}
