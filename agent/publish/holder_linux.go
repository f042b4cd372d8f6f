package publish

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// States of a socket in /proc/net/tcp and udp (Linux, include/net/tcp_states.h); a bound UDP socket has TCP_CLOSE.
const (
	listening = "0A"
	bound     = "07"
)

// Holder names the process that listens at address, such as "nginx (process 123)"; empty when it cannot be found, as of
// another user's.
func Holder(protocol Protocol, address netip.AddrPort) string {
	for _, table := range []string{string(protocol), string(protocol) + "6"} {
		if inode := socketInode("/proc/net/"+table, protocol, address); inode != "" {
			return ownerOf("socket:[" + inode + "]")
		}
	}
	return ""
}

// socketInode finds the socket bound to address or to all addresses in a table of proc(5).
func socketInode(table string, protocol Protocol, address netip.AddrPort) string {
	file, err := os.Open(table)
	if err != nil {
		return ""
	}
	defer func() { _ = file.Close() }()
	state := listening
	if protocol == UDP {
		state = bound
	}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 || fields[3] != state {
			continue
		}
		local, ok := parseLocal(fields[1])
		if ok && local.Port() == address.Port() && (local.Addr().IsUnspecified() || local.Addr() == address.Addr()) {
			return fields[9]
		}
	}
	return ""
}

// parseLocal reads an address such as 0100007F:0016: words in the order of the host's bytes, and the port.
func parseLocal(text string) (netip.AddrPort, bool) {
	words, number, ok := strings.Cut(text, ":")
	if !ok || len(words)%8 != 0 {
		return netip.AddrPort{}, false
	}
	number16, err := strconv.ParseUint(number, 16, 16)
	if err != nil {
		return netip.AddrPort{}, false
	}
	var raw []byte
	for ; words != ""; words = words[8:] {
		word, err := strconv.ParseUint(words[:8], 16, 32)
		if err != nil {
			return netip.AddrPort{}, false
		}
		raw = binary.NativeEndian.AppendUint32(raw, uint32(word))
	}
	address, ok := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(address.Unmap(), uint16(number16)), ok
}

// ownerOf looks for the process that has the link among its open files.
func ownerOf(link string) string {
	files, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return ""
	}
	for _, file := range files {
		if target, err := os.Readlink(file); err != nil || target != link {
			continue
		}
		pid := strings.Split(file, "/")[2]
		name, err := os.ReadFile(filepath.Join("/proc", pid, "comm"))
		if err != nil {
			return "process " + pid
		}
		return fmt.Sprintf("%s (process %s)", strings.TrimSpace(string(name)), pid)
	}
	return ""
}
