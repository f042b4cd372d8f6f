package sshtest

import (
	"context"
	"strconv"

	xssh "golang.org/x/crypto/ssh"

	"github.com/skiff-k8s/skiff/provision/ssh"
)

// session serves one session channel (RFC 4254, section 6).
func (s *Server) session(ctx context.Context, channel xssh.Channel, requests <-chan *xssh.Request) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	resize := make(chan ssh.Size, 16)
	cmd := Command{Stdin: channel, Stdout: channel, Stderr: channel.Stderr(), Resize: resize}
	started := false
	for request := range requests {
		ok := true
		switch request.Type {
		case "pty-req":
			var pty struct {
				Term                         string
				Columns, Rows, Width, Height uint32
				Modes                        string
			}
			ok = xssh.Unmarshal(request.Payload, &pty) == nil
			cmd.Terminal, cmd.Size = pty.Term, ssh.Size{Columns: int(pty.Columns), Rows: int(pty.Rows)}
		case "window-change":
			var size struct{ Columns, Rows, Width, Height uint32 }
			ok = xssh.Unmarshal(request.Payload, &size) == nil
			resize <- ssh.Size{Columns: int(size.Columns), Rows: int(size.Rows)}
		case "exec", "shell":
			var line struct{ Value string }
			if request.Type == "exec" {
				ok = xssh.Unmarshal(request.Payload, &line) == nil
			}
			if ok = ok && !started; ok {
				started = true
				cmd.Line = line.Value
				s.note(cmd.Line)
				_ = request.Reply(true, nil)
				go s.run(ctx, channel, cmd)
				continue
			}
		default: // "signal" too: OpenSSH refuses it for root
			ok = false
		}
		if request.WantReply {
			_ = request.Reply(ok, nil)
		}
	}
}

func (s *Server) run(ctx context.Context, channel xssh.Channel, cmd Command) {
	status := s.handler(ctx, cmd)
	if status < 0 {
		_, _ = channel.SendRequest("exit-signal", false, xssh.Marshal(struct {
			Signal     string
			CoreDumped bool
			Error      string
			Language   string
		}{"TERM", false, "", ""}))
	} else {
		_, _ = channel.SendRequest("exit-status", false, xssh.Marshal(struct{ Status uint32 }{uint32(status)}))
	}
	_ = channel.Close()
}

func (s *Server) note(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, trimMark(line))
}

func portText(port uint32) string { return strconv.FormatUint(uint64(port), 10) }
