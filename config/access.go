package config

import (
	"encoding"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// HostAccess says which services on this computer's 127.0.0.1 pods may reach. The zero HostAccess is none; files have it as
// ParseHostAccess reads it.
type HostAccess struct {
	All   bool
	Ports []uint16 // ascending, each once; nil with All
}

var (
	_ encoding.TextMarshaler   = HostAccess{}
	_ encoding.TextUnmarshaler = (*HostAccess)(nil)
)

// None reports whether pods reach nothing.
func (h HostAccess) None() bool { return !h.All && len(h.Ports) == 0 }

// String is none, all, or the ports, as in 5432,8080.
func (h HostAccess) String() string {
	switch {
	case h.All:
		return "all"
	case h.None():
		return "none"
	}
	ports := make([]string, 0, len(h.Ports))
	for _, port := range h.Ports {
		ports = append(ports, strconv.Itoa(int(port)))
	}
	return strings.Join(ports, ",")
}

// MarshalText implements encoding.TextMarshaler.
func (h HostAccess) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *HostAccess) UnmarshalText(text []byte) (err error) {
	*h, err = readHostAccess(string(text))
	return err
}

// ParseHostAccess reads ports that are separated by commas, "all", or "none", "off" and nothing for none. Else it gives
// fail.FlagInvalid. A range is refused: each service that pods may reach is to be named.
func ParseHostAccess(text string) (HostAccess, error) {
	access, err := readHostAccess(text)
	if err != nil {
		return HostAccess{}, refuse("host-access", text, "%w", err)
	}
	return access, nil
}

func readHostAccess(text string) (HostAccess, error) {
	switch strings.TrimSpace(text) {
	case "", "none", "off":
		return HostAccess{}, nil
	case "all":
		return HostAccess{All: true}, nil
	}
	var access HostAccess
	var problems []error
	for word := range strings.SplitSeq(text, ",") {
		word = strings.TrimSpace(word)
		port, err := strconv.ParseUint(word, 10, 16)
		switch {
		case slices.Contains([]string{"all", "none", "off"}, word):
			problems = append(problems, fmt.Errorf("%s stands alone", word))
		case err != nil || port == 0:
			problems = append(problems, fmt.Errorf("%q is not a port, which is a number from 1 to 65535", word))
		default:
			access.Ports = append(access.Ports, uint16(port))
		}
	}
	slices.Sort(access.Ports)
	access.Ports = slices.Compact(access.Ports)
	return access, errors.Join(problems...)
}
