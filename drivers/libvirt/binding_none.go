//go:build !linux || !cgo || !libvirt_dlopen

package libvirt

// connect says that this build cannot reach any libvirt.
func connect(string) (connection, error) { return nil, errNotBuilt }
