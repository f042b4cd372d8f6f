package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/skiff-k8s/skiff/agent/publish"
	"github.com/skiff-k8s/skiff/config"
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
	if s.config.Address, err = s.unclaimed(); err != nil {
		return err
	}
	return s.save(s.config)
}

// claimAgain gives a new cluster another address, and reports whether there was one, when a start of another user, or in another
// state folder, had the same idea and was faster. What a warm spare brought along is issued again.
func (s *start) claimAgain(ctx context.Context) bool {
	if s.stored != nil {
		return false
	}
	old := s.config.Address
	s.config.Address = netip.Addr{}
	err := s.claim()
	if err == nil && s.spare != nil {
		err = s.Kubernetes.Prepare(ctx, s.target(s.config))
	}
	if err == nil && free(s.config.Address) {
		s.vm = nil // its handle leads to the old address
		return true
	}
	s.config.Address = old
	return false
}

// unclaimed chooses an address that no cluster and no warm spare has. It is theirs who then save it under AddressLock.
func (m *Manager) unclaimed() (netip.Addr, error) {
	taken := map[netip.Addr]bool{}
	for _, home := range m.Home.Both() {
		profiles, err := home.Profiles()
		if err != nil {
			return netip.Addr{}, err
		}
		for _, profile := range profiles {
			if c, err := (&Manager{Home: home}).Load(profile); err == nil { // one that cannot be read is found by its ports, if it runs
				taken[c.Address] = true
			}
		}
	}
	return choose(taken, free)
}

// refuge returns an address to which a cluster without an agent moves, because another process listens where its agent has to,
// and that place. Without a reason to move both are zero: also when the process is the cluster's own agent, which start replaces,
// when no other address is free either, as of a program that listens on all of them, and when the address was not chosen by
// skiff. Nothing is changed.
func (m *Manager) refuge(ctx context.Context, c config.Cluster) (to netip.Addr, held netip.AddrPort, err error) {
	if !chosen(c.Address) {
		return to, held, nil
	}
	for _, port := range m.agentConfig(c).Ports {
		if at := netip.AddrPortFrom(c.Address, port.Host); errors.Is(bind(at), unix.EADDRINUSE) {
			held = at
			break
		}
	}
	if !held.IsValid() {
		return to, held, nil
	}
	if own, err := m.Agents.Runs(ctx, m.Home.Cluster(c.Profile).AgentConfig()); err != nil || own {
		return to, netip.AddrPort{}, wrap(fail.AgentFailed, err, "start cluster %s", c.Profile)
	}
	to, err = m.unclaimed()
	if err != nil || !free(to) {
		return netip.Addr{}, netip.AddrPort{}, nil //nolint:nilerr // the error of the port that is taken says more
	}
	return to, held, nil
}

// chosen reports whether an address is one of those that choose gives.
func chosen(address netip.Addr) bool {
	if !address.Is4() {
		return false
	}
	bytes := address.As4()
	return bytes[0] == 127 && bytes[1] == 77 && bytes[3] == 1
}

// readdressed reports whether a cluster that exists gets another address.
func (s *start) readdressed() bool { return s.stored != nil && s.stored.Address != s.config.Address }

// readdress is the step by which a cluster moves to another address. The API server's certificate and the cluster's kubeconfig are
// issued for it by the same authority; what runs in the machine has its new certificate once the machine answers. The file is
// written last, so that a run that is cut off begins again. It is not taken back: the old address is as taken as before.
func (s *start) readdress() Step {
	if !s.readdressed() {
		return Step{}
	}
	from, held := s.stored.Address, s.seen.held
	return Step{
		ID: "address", Text: fmt.Sprintf("Move cluster %s from %s to %s", s.config.Profile, from, s.config.Address),
		Why: fmt.Sprintf("another process holds %s", held),
		Do: func(ctx context.Context, _ Report) error {
			release, err := store.Wait(s.Home.AddressLock())
			if err != nil {
				return store.NoSpace("choose an address", err)
			}
			defer release()
			if s.config.Address, err = s.unclaimed(); err != nil { // another start may have been faster
				return err
			}
			moved := *s.stored // all else may still fail
			moved.Address = s.config.Address
			if err := s.Kubernetes.Prepare(ctx, s.target(moved)); err != nil {
				return err
			}
			if err := s.save(moved); err != nil {
				return err
			}
			s.vm = nil // its handle leads to the old address
			s.warn("address", "%s is held by %s, so the address of cluster %s is %s from now on", held, cmp.Or(publish.Holder(publish.TCP, held), "another process"), s.config.Profile, s.config.Address)
			return nil
		},
	}
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
	for _, port := range []uint16{sshPort, apiPort} {
		if errors.Is(bind(netip.AddrPortFrom(address, port)), unix.EADDRINUSE) {
			return false
		}
	}
	return true
}

// bind gives a socket an address that it shares with all who do not listen there (ip(7), SO_REUSEADDR), and takes it back.
func bind(at netip.AddrPort) error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(socket) }()
	if err := unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	return unix.Bind(socket, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()})
}
