package cluster

import (
	"net"
	"net/netip"
	"strconv"
	"sync"
	"testing"
)

// TestFree: a port is taken while somebody listens on it, and looking is in nobody's way.
func TestFree(t *testing.T) {
	t.Parallel()
	address := netip.MustParseAddr("127.77.251.1")
	for _, port := range []uint16{sshPort, apiPort} {
		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", net.JoinHostPort(address.String(), strconv.Itoa(int(port))))
		if err != nil {
			t.Fatal(err)
		}
		if free(address) {
			t.Errorf("%s is free while somebody listens on port %d", address, port)
		}
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var looking sync.WaitGroup
	for range 2 {
		looking.Go(func() {
			for range 2000 {
				if !free(address) {
					t.Errorf("%s is not free while others look", address)
					return
				}
			}
		})
	}
	looking.Wait()
}
