// Package gopacket stands in for the library of that name, which gvisor-tap-vsock uses for nothing but the words of its
// debugging log. The library fills tables of all protocols when a program starts, which takes a third of the time of a short
// command such as "skiff ip" (site/content/design/short-commands.md).
package gopacket

import (
	"encoding/hex"

	"github.com/google/gopacket/layers"
)

// DecodeOptions says how to read a packet; here there is one way.
type DecodeOptions struct{}

// Default reads a packet in the only way.
var Default DecodeOptions

// Packet is a packet for people to see.
type Packet struct{ data []byte }

// NewPacket returns the packet with these bytes.
func NewPacket(data []byte, _ layers.LayerType, _ DecodeOptions) Packet { return Packet{data} }

// String returns the bytes in hexadecimal, 16 in a line, and as text.
func (p Packet) String() string { return hex.Dump(p.data) }
