package provision

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/skiff-k8s/skiff/machine"
)

// lookUp asks the DNS server at addr, from the machine, for an IPv4 address of name, over TCP (RFC 1035, section
// 4.2.2).
func lookUp(ctx context.Context, runner machine.Runner, server netip.Addr, name string) (netip.Addr, error) {
	id := uint16(rand.Uint32()) //nolint:gosec // tells answers apart, keeps no secret
	query, err := question(id, name)
	if err != nil {
		return netip.Addr{}, err
	}
	reply, err := exchange(ctx, runner, server, query)
	if errors.Is(err, errors.ErrUnsupported) {
		reply, err = exchangeBy(ctx, runner, server, query)
	}
	if err != nil {
		return netip.Addr{}, err
	}
	return answer(id, reply)
}

// apiServerName is the full name of the API server's Service in cluster DNS.
func (c Config) apiServerName() string { return "kubernetes.default.svc." + c.DNSDomain + "." }

func question(id uint16, name string) ([]byte, error) {
	host, err := dnsmessage.NewName(name)
	if err != nil {
		return nil, fmt.Errorf("look up %q: %w", name, err)
	}
	message := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: host, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	}
	packed, err := message.AppendPack(make([]byte, 2, 128)) // two bytes for the length
	if err != nil {
		return nil, fmt.Errorf("look up %q: %w", name, err)
	}
	binary.BigEndian.PutUint16(packed, uint16(len(packed)-2))
	return packed, nil
}

// exchange speaks over a connection forwarded by the Runner.
func exchange(ctx context.Context, runner machine.Runner, server netip.Addr, query []byte) ([]byte, error) {
	conn, err := machine.Dial(ctx, runner, "tcp", netip.AddrPortFrom(server, 53).String())
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer conn.Close()
	if _, err := conn.Write(query); err != nil {
		return nil, fmt.Errorf("send: %w", err)
	}
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, fmt.Errorf("receive: %w", err)
	}
	reply := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, reply); err != nil {
		return nil, fmt.Errorf("receive: %w", err)
	}
	return reply, nil
}

// exchangeBy speaks by way of bash on the machine, for Runners that cannot forward. The first two bytes of a reply are
// its length; no reply to our question has more than 512 bytes.
func exchangeBy(ctx context.Context, runner machine.Runner, server netip.Addr, query []byte) ([]byte, error) {
	const script = `exec 3<>"/dev/tcp/$1/53" && cat >&3 && timeout 3 dd bs=514 count=1 <&3 2>/dev/null`
	result, err := runner.Run(ctx, machine.Cmd{Args: []string{"bash", "-c", script, "bash", server.String()}, Stdin: bytes.NewReader(query)})
	if err != nil {
		return nil, err
	}
	if len(result.Stdout) < 2 {
		return nil, errors.New("no reply")
	}
	return result.Stdout[2:], nil
}

func answer(id uint16, reply []byte) (netip.Addr, error) {
	var message dnsmessage.Message
	if err := message.Unpack(reply); err != nil {
		return netip.Addr{}, fmt.Errorf("read reply: %w", err)
	}
	if message.ID != id || !message.Response {
		return netip.Addr{}, errors.New("the reply is to another question")
	}
	if message.RCode != dnsmessage.RCodeSuccess {
		return netip.Addr{}, fmt.Errorf("it says %s", message.RCode)
	}
	for _, record := range message.Answers {
		if a, ok := record.Body.(*dnsmessage.AResource); ok {
			return netip.AddrFrom4(a.A), nil
		}
	}
	return netip.Addr{}, errors.New("the reply has no address")
}
