package domain

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"

	"github.com/skiff-k8s/skiff/machine"
)

// Namespace is that of the element by which skiff's domains are known.
const Namespace = "https://skiff.dev/libvirt/1.0"

// Mark is skiff's element among a domain's metadata. It says which machine the domain is.
type Mark struct {
	XMLName xml.Name `xml:"https://skiff.dev/libvirt/1.0 machine"`
	Cluster string   `xml:"cluster"`
	Name    string   `xml:"name"`
	Dir     string   `xml:"dir"`               // folder of the machine's files
	Network string   `xml:"network,omitempty"` // that it has joined
}

func markOf(spec machine.Spec, network string) Mark {
	return Mark{Cluster: spec.Cluster, Name: spec.Name, Dir: spec.Dir, Network: network}
}

// ReadMark reads the element as libvirt returns it when it is asked for the one of Namespace: without its namespace.
func ReadMark(text string) (Mark, error) {
	var m struct {
		XMLName xml.Name `xml:"machine"`
		Cluster string   `xml:"cluster"`
		Name    string   `xml:"name"`
		Dir     string   `xml:"dir"`
		Network string   `xml:"network"`
	}
	if err := xml.Unmarshal([]byte(text), &m); err != nil {
		return Mark{}, fmt.Errorf("read the mark of a domain: %w", err)
	}
	if m.Cluster == "" || m.Name == "" || m.Dir == "" {
		return Mark{}, errors.New("read the mark of a domain: it does not name a machine")
	}
	return Mark{Cluster: m.Cluster, Name: m.Name, Dir: m.Dir, Network: m.Network}, nil
}

// Of reports whether the mark is that of the machine.
func (m Mark) Of(spec machine.Spec) bool {
	return m.Cluster == spec.Cluster && m.Name == spec.Name && m.Dir == spec.Dir
}

// Name returns the name of the machine's domain. It begins with names for people, and ends with a number for the folder:
// two skiffs with folders of their own may have a cluster of the same name under one libvirt.
func Name(spec machine.Spec) string {
	sum := identity(spec)
	return "skiff-" + spec.Cluster + "-" + spec.Name + "-" + hex.EncodeToString(sum[:4])
}

// UUID returns the domain's UUID, which is the same for the same machine (RFC 9562, section 5.8).
func UUID(spec machine.Spec) string {
	sum := identity(spec)
	const version, variant = 0x80, 0x80
	sum[6] = sum[6]&0x0f | version
	sum[8] = sum[8]&0x3f | variant
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[0:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

func identity(spec machine.Spec) [sha256.Size]byte {
	return sha256.Sum256([]byte(spec.Cluster + "\x00" + spec.Name + "\x00" + spec.Dir))
}
