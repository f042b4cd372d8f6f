package host

import "runtime"

// SetClock is the command that lets the network set the clock.
func SetClock() string {
	if runtime.GOOS == "darwin" {
		return "sudo sntp -sS time.apple.com"
	}
	return "sudo timedatectl set-ntp true"
}
