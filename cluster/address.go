package cluster

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/store"
)

// claim gives a new cluster a loopback address of its own and writes its file, under a lock, so that two clusters made at
// once differ. Warm spares have theirs too: it is in their certificates, and becomes the cluster's.
func (s *start) claim() error {
	if s.config.Address.IsValid() {
		return s.save(s.config)
	}
	release, err := store.Wait(s.Home.AddressLock())
	if err != nil {
		return store.NoSpace("choose an address", err)
	}
	defer release()
	taken := map[netip.Addr]bool{}
	for _, home := range s.Home.Both() {
		profiles, err := home.Profiles()
		if err != nil {
			return err
		}
		for _, profile := range profiles {
			if c, err := (&Manager{Home: home}).Load(profile); err == nil { // one that cannot be read is found by its ports, if it runs
				taken[c.Address] = true
			}
		}
	}
	s.config.Address, err = choose(taken, free)
	if err != nil {
		return err
	}
	return s.save(s.config)
}

// choose returns the first of 127.77.N.1 that no cluster has and whose ports are free. When the ports of all are taken, as
// by a program that listens on every address, it returns the first that no cluster has: the agent then names the port.
func choose(taken map[netip.Addr]bool, free func(netip.Addr) bool) (netip.Addr, error) {
	var fallback netip.Addr
	for n := 1; n <= 254; n++ {
		address := netip.AddrFrom4([4]byte{127, 77, byte(n), 1})
		if taken[address] {
			continue
		}
		if free(address) {
			return address, nil
		}
		if !fallback.IsValid() {
			fallback = address
		}
	}
	if !fallback.IsValid() {
		return fallback, fail.New(fail.PortInUse, "choose an address", "all 254 addresses from 127.77.1.1 to 127.77.254.1 belong to clusters").
			WithNext("skiff profile list")
	}
	return fallback, nil
}

// free reports whether the ports that every cluster publishes are free at address. It binds and does not listen: one who listens
// for a moment is, to another start at that moment, an agent.
func free(address netip.Addr) bool {
	for _, port := range []int{sshPort, apiPort} {
		if errors.Is(bind(address, port), unix.EADDRINUSE) {
			return false
		}
	}
	return true
}

// bind gives a socket an address that it shares with all who do not listen there (ip(7), SO_REUSEADDR), and takes it back.
func bind(address netip.Addr, port int) error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(socket) }()
	if err := unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	return unix.Bind(socket, &unix.SockaddrInet4{Port: port, Addr: address.As4()})
}
