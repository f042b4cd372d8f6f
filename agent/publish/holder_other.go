//go:build !linux

package publish

import "net/netip"

// Holder is not known here: only Linux lists the sockets of processes in files.
func Holder(Protocol, netip.AddrPort) string { return "" }
