package domain

import (
	"encoding/xml"
	"fmt"
)

// Label is how a security driver of libvirt treats the domain's QEMU.
type Label struct {
	Type    string `xml:"type,attr"` // static, or none for no confinement
	Model   string `xml:"model,attr"`
	Relabel string `xml:"relabel,attr,omitempty"`
	Label   string `xml:"label,omitempty"`
}

// Labels returns the labels with which the QEMU of a domain runs as the given user, as a QEMU that the user started by
// hand, and changes the owner of no file. capabilities is what libvirt tells of the host. The libvirt of the system would
// otherwise run QEMU as a user of its own, who cannot reach into skiff's private folders, and let its security drivers
// guard it from what the definition does not name, such as the socket of the cluster's network. A libvirt that runs as
// the user has none of these drivers, and gets no labels.
func Labels(capabilities string, uid, gid int) ([]Label, error) {
	var host struct {
		Models []string `xml:"host>secmodel>model"`
	}
	if err := xml.Unmarshal([]byte(capabilities), &host); err != nil {
		return nil, fmt.Errorf("read what libvirt tells of the host: %w", err)
	}
	var labels []Label
	for _, model := range host.Models {
		switch model {
		case "none":
		case "dac":
			labels = append(labels, Label{Type: "static", Model: model, Relabel: "no", Label: fmt.Sprintf("+%d:+%d", uid, gid)})
		default: // apparmor, selinux
			labels = append(labels, Label{Type: "none", Model: model})
		}
	}
	return labels, nil
}
