// Package layers names the one layer that gvisor-tap-vsock asks for.
package layers

// LayerType is the protocol that a packet begins with.
type LayerType int

// LayerTypeEthernet is a frame of Ethernet.
const LayerTypeEthernet LayerType = 17
