package libvirt

import (
	"errors"
	"io/fs"
	"net"
	"net/url"
	"slices"

	"github.com/skiff-k8s/skiff/fail"
)

// SessionURI is the libvirt of the user, which needs neither root nor a group (libvirt documentation, "Connection URIs").
const SessionURI = "qemu:///session"

// SystemURI is the libvirt of the host.
const SystemURI = "qemu:///system"

// checkURI refuses what is not QEMU on this host: disks, sockets and the guest's network are here.
func checkURI(uri string) error {
	parsed, err := url.Parse(uri)
	if err == nil && parsed.Host == "" && parsed.User == nil &&
		slices.Contains([]string{"qemu", "qemu+unix"}, parsed.Scheme) && slices.Contains([]string{"/session", "/system"}, parsed.Path) {
		return nil
	}
	return fail.New(fail.LibvirtURIInvalid, "use libvirt at "+uri, "it is not the QEMU of this host").
		WithHint("Use %s or %s.", SessionURI, SystemURI).About("libvirt-uri")
}

// ofSystem reports whether a URI is of the libvirt of the host, and not of the user's.
func ofSystem(uri string) bool {
	parsed, err := url.Parse(uri)
	return err == nil && parsed.Path == "/system"
}

// refused reports whether this user may not even connect to the socket of the host's libvirt. The library tells that only
// in words.
func refused(uri string) bool {
	sockets := []string{"/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock"}
	parsed, err := url.Parse(uri)
	switch {
	case err != nil:
		return false
	case parsed.Query().Get("socket") != "":
		sockets = []string{parsed.Query().Get("socket")}
	case parsed.Path != "/system":
		return false
	}
	return slices.ContainsFunc(sockets, func(path string) bool {
		conn, err := net.Dial("unix", path) //nolint:noctx // a local socket answers at once
		if err == nil {
			_ = conn.Close()
		}
		return errors.Is(err, fs.ErrPermission)
	})
}
