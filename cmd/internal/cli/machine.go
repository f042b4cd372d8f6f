package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	xssh "golang.org/x/crypto/ssh"

	"github.com/skiff-k8s/skiff/cmd/internal/ui"
	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision/ssh"
)

// machineFlags are those that say which machine the ssh driver takes over. Minikube's generic driver has the same.
func machineFlags(flags *pflag.FlagSet) {
	flags.String("ssh-ip-address", "", "with --driver ssh: address of the machine to use")
	flags.String("ssh-user", "root", "with --driver ssh: user to log in as: root, or a user with sudo without a password")
	flags.String("ssh-key", "", "with --driver ssh: file of the user's private key")
	flags.Int("ssh-port", 22, "with --driver ssh: port of the machine's SSH server")
}

// machineKeys are the names of these flags.
func machineKeys() []string { return []string{"ssh-ip-address", "ssh-user", "ssh-key", "ssh-port"} }

// existing is the machine that the user named; nil when none of its flags was used. What can be seen without going there is
// checked.
func (a *app) existing(asked func(key string) bool) (*config.SSH, error) {
	used := false
	for _, key := range machineKeys() {
		used = used || asked(key)
	}
	if !used {
		return nil, nil
	}
	s := a.settings
	target := &config.SSH{User: s.text("ssh-user")}
	var problems []error
	if text := s.text("ssh-ip-address"); text != "" {
		address, badAddress := sshAddress(text)
		port, badPort := sshPort(s.text("ssh-port"))
		problems = append(problems, badAddress, badPort, config.CheckUser(target.User))
		target.Address = netip.AddrPortFrom(address, port)
	} else if asked("ssh-user") || asked("ssh-port") {
		problems = append(problems, badValue("ssh-ip-address", text, errors.New("--ssh-user and --ssh-port say how the machine is reached, and this flag which it is")))
	}
	if text := s.text("ssh-key"); text != "" {
		var err error
		target.KeyFile, err = sshKey(text)
		problems = append(problems, err)
	}
	return target, errors.Join(problems...)
}

// sshAddress reads --ssh-ip-address.
func sshAddress(text string) (netip.Addr, error) {
	address, err := netip.ParseAddr(text)
	if err != nil {
		return address, badValue("ssh-ip-address", text, errors.New("it is not an IP address, such as 192.0.2.7"))
	}
	return address.Unmap(), nil
}

// sshPort reads --ssh-port.
func sshPort(text string) (uint16, error) {
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return 0, badValue("ssh-port", text, errors.New("a port is a number from 1 to 65535"))
	}
	return uint16(port), nil
}

// sshKey reads --ssh-key, and the file.
func sshKey(text string) (path string, err error) {
	if path, err = filepath.Abs(text); err == nil {
		err = checkKey(path)
	}
	if err != nil {
		return path, badValue("ssh-key", text, err)
	}
	return path, nil
}

// checkKey refuses what is not a private key that can be used without asking.
func checkKey(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	_, err = xssh.ParsePrivateKey(content)
	var locked *xssh.PassphraseMissingError
	switch {
	case errors.As(err, &locked):
		return errors.New("the key has a passphrase, and the cluster's agent must be able to connect at any time: make a key without one for this machine, with `ssh-keygen -t ed25519 -N '' -f FILE`")
	case err != nil:
		return errors.New("it is not a private SSH key; the file with .pub at its end is the public half")
	}
	return nil
}

// hostKey finds out the host key of a machine that is new to skiff. One that known_hosts has is taken; another is asked
// for on a terminal, and refused elsewhere.
func (a *app) hostKey(ctx context.Context, address netip.AddrPort) ([]byte, error) {
	own := filepath.Join(a.deps.Env("HOME"), ".ssh", "known_hosts")
	op := "trust the machine at " + address.String()
	key, err := ssh.FindHostKey(ctx, address, []string{own, "/etc/ssh/ssh_known_hosts"})
	var unknown *ssh.UnknownHostKeyError
	var changed *ssh.HostKeyError
	switch {
	case err == nil:
		return key, nil
	case errors.As(err, &changed):
		return nil, fail.New(fail.SSHHostKeyChanged, op, "%w", err).
			WithHint("Either the machine was reinstalled, or another one answers in its place. Once you know that it is the right one, remove the old key.").
			WithNext("ssh-keygen -f %s -R %s", machine.Quote(changed.File), machine.Quote(hostOf(address)))
	case errors.As(err, &unknown):
		yes, err := a.ask(ctx, fmt.Sprintf("The machine at %s shows the %s host key\n  %s\nIs it the machine's own (`ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub` there tells)? [yes/no] ", address, unknown.Kind, unknown.Fingerprint))
		if err != nil {
			return nil, err
		}
		if yes {
			return unknown.Key, nil
		}
		return nil, fail.New(fail.SSHHostKeyUnknown, op, "%w", unknown).
			WithHint("Compare the fingerprint with what `ssh-keygen -lf` tells of the machine's /etc/ssh/ssh_host_*_key.pub. If they are the same, add the key.").
			WithNext("echo %s >> %s", machine.Quote(unknown.Line), machine.Quote(own))
	case ssh.Lost(err) && ctx.Err() == nil:
		return nil, fail.New(fail.SSHUnreachable, op, "%w", err).
			WithHint("See that the machine runs, that an SSH server listens at %s, and that no firewall is in between.", address)
	case ctx.Err() == nil:
		return nil, fail.New(fail.ConfigInvalid, op, "%w", err).WithHint("Mend the line that the message names; nothing was changed.")
	}
	return nil, err
}

// hostOf is how known_hosts files call an address.
func hostOf(address netip.AddrPort) string {
	if address.Port() == 22 {
		return address.Addr().String()
	}
	return fmt.Sprintf("[%s]:%d", address.Addr(), address.Port())
}

// ask puts a question and reports whether the answer is "yes". Without a terminal on both sides nobody is asked. The error is
// that of ctx alone; what is typed after ctx has ended is read all the same, as a read of a terminal cannot be cut off.
func (a *app) ask(ctx context.Context, question string) (yes bool, err error) {
	if !ui.IsTerminal(a.streams.In) || !ui.IsTerminal(a.streams.Err) {
		return false, ctx.Err()
	}
	_, _ = fmt.Fprint(a.streams.Err, question)
	answers := make(chan string, 1)
	go func() {
		answer, _ := bufio.NewReader(a.streams.In).ReadString('\n')
		answers <- answer
	}()
	select {
	case answer := <-answers:
		return strings.EqualFold(strings.TrimSpace(answer), "yes"), nil
	case <-ctx.Done():
		_, _ = fmt.Fprintln(a.streams.Err)
		return false, ctx.Err()
	}
}
