package doctor

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/skiff-k8s/skiff/images"
	"github.com/skiff-k8s/skiff/internal/host"
	"github.com/skiff-k8s/skiff/store"
)

// soon is how long before their end certificates are worth a word.
const soon = 30 * 24 * time.Hour

// clock holds the host's clock, which guests and certificates follow, to what must lie in the past: skiff's own
// beginnings, the installation of its images, and the first day of its clusters' certificates. That nothing sets it by the
// network's time is a warning: on some hosts the hypervisor does so unseen.
func (h Host) clock(context.Context) []Finding {
	now := h.Now()
	for _, why := range []string{host.ClockImpossible(now), host.ClockBehind(now, h.dated())} {
		if why != "" {
			return []Finding{failure(host.SetClock(), "%s", why)}
		}
	}
	var findings []Finding
	for _, cluster := range h.described() {
		findings = append(findings, certificate(h.Home.Cluster(cluster.profile), now)...)
	}
	if synchronized, known := h.Synchronized(); known && !synchronized {
		findings = append(findings, warning(host.SetClock(), "Nothing keeps the clock right, as far as the kernel knows: certificates and downloads are refused when it has gone too far wrong."))
	}
	if len(findings) == 0 {
		findings = append(findings, good("The clock agrees with the files and certificates of skiff's that are here."))
	}
	return findings
}

// dated are files whose time of change is that of an event on this host.
func (h Host) dated() []string {
	paths, _ := filepath.Glob(filepath.Join(h.Home.Base(), "*", images.ManifestName))
	for _, cluster := range h.described() {
		paths = append(paths, h.Home.Cluster(cluster.profile).File())
	}
	return append(paths, filepath.Join(h.Built, images.ManifestName))
}

// certificate returns what is wrong, by the clock, with the certificate of a cluster's API server.
func certificate(files store.Cluster, now time.Time) []Finding {
	raw, err := os.ReadFile(filepath.Join(files.PKI(), "apiserver.crt"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // none was made yet
	}
	if err != nil {
		return []Finding{unknown("%v.", err)}
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		return []Finding{unknown("the certificate of cluster %s cannot be read.", files.Profile)}
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	renew := "skiff start -p " + files.Profile
	switch {
	case err != nil:
		return []Finding{unknown("the certificate of cluster %s cannot be read: %v.", files.Profile, err)}
	case now.Before(cert.NotBefore):
		return []Finding{failure(host.SetClock(), "The clock says %s, and the certificate of cluster %s is valid from %s on.",
			now.Format(time.DateTime), files.Profile, cert.NotBefore.In(now.Location()).Format(time.DateTime))}
	case now.After(cert.NotAfter):
		return []Finding{warning(renew, "The certificates of cluster %s ended at %s; a start renews them.", files.Profile, cert.NotAfter.In(now.Location()).Format(time.DateTime))}
	case cert.NotAfter.Sub(now) < soon:
		return []Finding{warning(renew, "The certificates of cluster %s end at %s; a start renews them.", files.Profile, cert.NotAfter.In(now.Location()).Format(time.DateTime))}
	}
	return nil
}
