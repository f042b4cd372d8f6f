package sshtest

import (
	"context"
	"io"
	"net"
	"sync"

	xssh "golang.org/x/crypto/ssh"
)

// serveRequests answers the requests that belong to no channel: keepalives, and those for a port to listen on (RFC 4254,
// section 7.1). Listeners end with the connection.
func serveRequests(ctx context.Context, client xssh.Conn, requests <-chan *xssh.Request) {
	var running sync.WaitGroup
	defer running.Wait()
	listeners := map[string]net.Listener{}
	defer func() {
		for _, listener := range listeners {
			_ = listener.Close()
		}
	}()
	for request := range requests {
		var at struct {
			Host string
			Port uint32
		}
		ok := false
		switch request.Type {
		case "tcpip-forward":
			if xssh.Unmarshal(request.Payload, &at) != nil {
				break
			}
			address := net.JoinHostPort(at.Host, portText(at.Port))
			listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
			if ok = err == nil; ok {
				listeners[address] = listener
				running.Go(func() { hand(client, listener, at.Host, at.Port) })
			}
		case "cancel-tcpip-forward":
			if xssh.Unmarshal(request.Payload, &at) != nil {
				break
			}
			address := net.JoinHostPort(at.Host, portText(at.Port))
			listener := listeners[address]
			if ok = listener != nil; ok {
				_ = listener.Close()
				delete(listeners, address)
			}
		}
		if request.WantReply {
			_ = request.Reply(ok, nil)
		}
	}
}

// hand gives each connection of listener to the client (RFC 4254, section 7.2).
func hand(client xssh.Conn, listener net.Listener, host string, port uint32) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			channel, requests, err := client.OpenChannel("forwarded-tcpip", xssh.Marshal(struct {
				Host       string
				Port       uint32
				OriginHost string
				OriginPort uint32
			}{host, port, "127.0.0.1", 1}))
			if err != nil {
				return
			}
			defer channel.Close()
			go xssh.DiscardRequests(requests)
			go func() {
				_, _ = io.Copy(channel, conn)
				_ = channel.CloseWrite()
			}()
			_, _ = io.Copy(conn, channel)
		}()
	}
}
