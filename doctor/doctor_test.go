package doctor_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/skiff-k8s/skiff/agent"
	"github.com/skiff-k8s/skiff/cluster/clustertest"
	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/doctor"
	"github.com/skiff-k8s/skiff/drivers"
	"github.com/skiff-k8s/skiff/drivers/fake"
	"github.com/skiff-k8s/skiff/images"
	"github.com/skiff-k8s/skiff/internal/golden"
	"github.com/skiff-k8s/skiff/internal/host"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/provision/kubeconfig"
	"github.com/skiff-k8s/skiff/store"
)

// patient is a host on which nothing is wrong, until a test changes that.
type patient struct {
	doctor.Host
	t   *testing.T
	dir string
	env map[string]string
}

// newPatient returns a host with a guest image that is installed and no cluster.
func newPatient(t *testing.T) *patient {
	t.Helper()
	dir := t.TempDir()
	p := &patient{t: t, dir: dir, env: map[string]string{}}
	home := filepath.Join(dir, "home")
	p.Host = doctor.Host{
		Version: "v1.2.3",
		Home: store.Home{
			Config: filepath.Join(home, "config"), State: filepath.Join(home, "state"),
			Cache: filepath.Join(home, "cache"), Run: filepath.Join(home, "run"),
		},
		Built:        filepath.Join(dir, "image"),
		Facts:        host.Facts{CPUs: 8, MemoryMiB: 16384, AvailableMiB: 12000},
		Env:          func(name string) string { return p.env[name] },
		Kubeconfig:   filepath.Join(dir, "kubeconfig"),
		Drivers:      []drivers.Driver{fake.New(fake.Options{Registry: filepath.Join(dir, "registry")})},
		Agents:       clustertest.Agents{},
		Root:         filepath.Join(dir, "root"),
		Now:          time.Now,
		Synchronized: func() (synchronized, known bool) { return true, true },
		FreeBytes:    func(string) (int64, error) { return 100 << 30, nil },
		Listen:       new(net.ListenConfig).Listen,
	}
	p.must(clustertest.Image(t.Context(), p.Built))
	p.must(images.Install(t.Context(), p.Built, p.Home.BaseImage(p.image()), nil))
	p.system("etc/resolv.conf", "nameserver 192.0.2.53\n")
	p.system("proc/self/cgroup", "0::/user.slice/app.scope\n")
	p.system("proc/net/route", routes("eth0 192.0.2.0/24", "eth0 0.0.0.0/0"))
	return p
}

func (p *patient) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// image is the digest of the guest image.
func (p *patient) image() string {
	p.t.Helper()
	manifest, err := images.ReadManifest(filepath.Join(p.dir, "image"))
	p.must(err)
	return manifest.Digest
}

func (p *patient) write(path, content string) {
	p.t.Helper()
	p.must(store.Write(path, []byte(content), 0o600))
}

// system writes a file of the operating system.
func (p *patient) system(name, content string) {
	p.t.Helper()
	p.write(filepath.Join(p.Root, filepath.FromSlash(name)), content)
}

// cluster describes a cluster that has never been started.
func (p *patient) cluster(profile string) store.Cluster {
	p.t.Helper()
	files := p.Home.Cluster(profile)
	content, err := config.Cluster{
		Profile: profile, Driver: "fake", CPUs: 2, MemoryMiB: 2048, DiskBytes: 20 << 30, Image: p.image(), Address: netip.MustParseAddr("127.77.9.1"),
	}.Marshal()
	p.must(err)
	p.must(store.Write(files.File(), content, 0o600))
	p.must(store.Folder(files.Run))
	return files
}

// odd describes a cluster with a field that this version does not know; written is the line of the version that wrote it.
func (p *patient) odd(written string) {
	p.t.Helper()
	files := p.cluster("odd")
	content, err := os.ReadFile(files.File())
	p.must(err)
	p.write(files.File(), written+"gpus: 1\n"+string(content))
}

// entry puts a cluster into the user's kubeconfig.
func (p *patient) entry(profile, server string) {
	p.t.Helper()
	own := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}],
clusters: [{name: c, cluster: {server: %q}}], users: [{name: u, user: {token: x}}]}`, server)
	p.must(kubeconfig.Merge(p.t.Context(), p.Kubeconfig, profile, []byte(own), true))
}

// flip changes a byte of a file that is read-only.
func (p *patient) flip(path string) {
	p.t.Helper()
	content, err := os.ReadFile(path)
	p.must(err)
	content[0] ^= 1
	p.must(os.Remove(path)) // it may be linked to another
	p.must(os.WriteFile(path, content, 0o600))
}

// newer makes of the built image one that is not installed.
func (p *patient) newer() {
	p.t.Helper()
	manifest, err := images.ReadManifest(p.Built)
	p.must(err)
	manifest.Cmdline += " quiet"
	content, err := manifest.Encode()
	p.must(err)
	p.must(os.WriteFile(filepath.Join(p.Built, images.ManifestName), content, 0o600))
}

func (p *patient) examine() doctor.Report {
	p.t.Helper()
	report, err := p.Examine(p.t.Context())
	p.must(err)
	return report
}

// text is a report with the places of this test hidden.
func (p *patient) text(findings []doctor.Finding) []byte {
	var out bytes.Buffer
	for _, one := range findings {
		fmt.Fprintf(&out, "%s %s: %s\n", one.Level, one.Name, one.Text)
		if one.Remedy != "" {
			fmt.Fprintf(&out, "  -> %s\n", one.Remedy)
		}
		if one.Fix {
			out.WriteString("  (mended by --fix)\n")
		}
	}
	digest := p.image()
	text := regexp.MustCompile(`127\.77\.0\.1:\d+`).ReplaceAllString(strings.ReplaceAll(out.String(), digest, "DIGEST"), "ADDRESS")
	text = regexp.MustCompile(`/base/[0-9a-f]{64}`).ReplaceAllString(text, "/base/DIGEST")
	text = regexp.MustCompile(`du -xh -d 2 \S+`).ReplaceAllString(text, "du -xh -d 2 MOUNT")
	return []byte(strings.ReplaceAll(text, p.dir, "DIR"))
}

// routes is a table as of /proc/net/route with lines such as "tun0 10.0.0.0/8".
func routes(lines ...string) string {
	table := "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
	word := func(raw []byte) string { return fmt.Sprintf("%02X%02X%02X%02X", raw[3], raw[2], raw[1], raw[0]) }
	for _, line := range lines {
		device, text, _ := strings.Cut(line, " ")
		prefix := netip.MustParsePrefix(text)
		table += fmt.Sprintf("%s\t%s\t00000000\t0001\t0\t0\t0\t%s\t0\t0\t0\n", device, word(prefix.Addr().AsSlice()), word(net.CIDRMask(prefix.Bits(), 32)))
	}
	return table
}

// certificate is one that is valid for an hour from start.
func certificate(t *testing.T, start time.Time) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: start, NotAfter: start.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// refusing opens no port of the list, and takes others for given.
func refusing(err error, ports ...string) doctor.Listen {
	return func(ctx context.Context, network, address string) (net.Listener, error) {
		_, port, _ := net.SplitHostPort(address)
		if slices.Contains(ports, port) {
			return nil, &net.OpError{Op: "listen", Net: network, Err: os.NewSyscallError("bind", err)}
		}
		return new(net.ListenConfig).Listen(ctx, network, "127.77.0.1:0")
	}
}

// adopting is a driver that takes machines over.
type adopting struct{ drivers.Driver }

func (adopting) Inspect(context.Context, machine.Spec) (netip.Addr, error) {
	return netip.Addr{}, errors.New("nobody asks a machine")
}

// TestSizeOfAnAdopter: a host that is too small for a cluster does for one on a machine that exists, when nothing else is
// asked for.
func TestSizeOfAnAdopter(t *testing.T) {
	t.Parallel()
	for only, fails := range map[string]bool{"": true, "fake": true, "adopting": false} {
		p := newPatient(t)
		p.Listen = refusing(nil)
		p.Facts = host.Facts{CPUs: 1, MemoryMiB: 512, AvailableMiB: 100}
		p.system("sys/fs/cgroup/user.slice/memory.max", "268435456\n")
		p.Named = []drivers.Driver{adopting{fake.New(fake.Options{Name: "adopting"})}}
		p.Only = only
		report := p.examine()
		if report.Failed() != fails || (report.Count(drivers.Failure) == 3) != fails {
			t.Errorf("--driver %q: got %+v, want it to fail: %t", only, report.Checks, fails)
		}
	}
}

// TestChecks shows the doctor hosts with one thing wrong, and compares what the check says that is about it.
func TestChecks(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, time.November, 24, 12, 0, 0, 0, time.UTC)
	tests := map[string]struct {
		check string // empty: all of them
		sick  func(p *patient)
	}{
		"healthy": {"", func(p *patient) { p.Listen = refusing(nil) }},
		"one-cpu": {"cpus", func(p *patient) { p.Facts.CPUs = 1 }},
		"one-cpu-key": {"cpus", func(p *patient) {
			p.Facts.CPUs, p.SSHAddress, p.env["HOME"] = 1, "192.0.2.7", filepath.Join(p.dir, "my home")
			p.write(filepath.Join(p.env["HOME"], ".ssh", "id_rsa"), "")
		}},
		"memory-unknown": {"memory", func(p *patient) { p.Facts = host.Facts{CPUs: 2} }},
		"memory-small":   {"memory", func(p *patient) { p.Facts.MemoryMiB, p.Facts.AvailableMiB = 1024, 800 }},
		"memory-in-use":  {"memory", func(p *patient) { p.Facts.AvailableMiB = 1000; p.cluster("dev") }},
		"memory-short":   {"memory", func(p *patient) { p.Facts.AvailableMiB = 2000 }},
		"disk-full":      {"disk", func(p *patient) { p.FreeBytes = func(string) (int64, error) { return 1 << 28, nil } }},
		"disk-old-image": {"disk", func(p *patient) {
			p.FreeBytes = func(string) (int64, error) { return 1 << 28, nil }
			p.must(store.Folder(p.Home.BaseImage("older")))
		}},
		"disk-short": {"disk", func(p *patient) {
			p.FreeBytes = func(string) (int64, error) { return 3 << 30, nil }
			p.must(store.Folder(p.Home.MirrorCache()))
		}},
		"disk-unknown":     {"disk", func(p *patient) { p.FreeBytes = func(string) (int64, error) { return 0, errors.New("no idea") } }},
		"cgroup-none":      {"control-groups", func(p *patient) { p.must(os.Remove(filepath.Join(p.Root, "proc/self/cgroup"))) }},
		"cgroup-odd":       {"control-groups", func(p *patient) { p.system("proc/self/cgroup", "what\n") }},
		"cgroup-memory":    {"control-groups", func(p *patient) { p.system("sys/fs/cgroup/user.slice/memory.max", "1073741824\n") }},
		"cgroup-usual":     {"control-groups", func(p *patient) { p.system("sys/fs/cgroup/memory.max", "3221225472\n") }},
		"cgroup-unlimited": {"control-groups", func(p *patient) { p.system("sys/fs/cgroup/user.slice/memory.max", "max\n") }},
		"cgroup-cpu": {"control-groups", func(p *patient) {
			p.system("proc/self/cgroup", "0::/user.slice/user@7.service/app.slice/x.scope\n")
			p.system("sys/fs/cgroup/user.slice/user@7.service/app.slice/x.scope/cpu.max", "50000 100000\n")
		}},
		"cgroup-v1": {"control-groups", func(p *patient) {
			p.system("proc/self/cgroup", "3:cpu:/x\n2:memory:/docker/1\n")
			p.system("sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", "536870912\n")
			p.system("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
		}},
		"clock-of-old": {"clock", func(p *patient) { p.Now = func() time.Time { return time.Unix(0, 0).UTC() } }},
		"clock-behind-files": {"clock", func(p *patient) {
			p.Now = func() time.Time { return noon }
			p.must(os.Chtimes(p.cluster("dev").File(), noon.Add(time.Hour), noon.Add(time.Hour)))
			for _, path := range []string{filepath.Join(p.Built, images.ManifestName), filepath.Join(p.Home.BaseImage(p.image()), images.ManifestName)} {
				p.must(os.Chtimes(path, noon, noon))
			}
		}},
		"clock-adrift": {"clock", func(p *patient) { p.Synchronized = func() (synchronized, known bool) { return false, true } }},
		"clock-untold": {"clock", func(p *patient) { p.Synchronized = func() (synchronized, known bool) { return false, false } }},
		"clock-before-certificate": {"clock", func(p *patient) {
			p.Now = func() time.Time { return noon.AddDate(70, 0, 0) }
			p.write(filepath.Join(p.cluster("dev").PKI(), "apiserver.crt"), certificate(p.t, noon.AddDate(71, 0, 0)))
		}},
		"certificate-over": {"clock", func(p *patient) {
			p.write(filepath.Join(p.cluster("dev").PKI(), "apiserver.crt"), certificate(p.t, noon.AddDate(-1, 0, 0)))
		}},
		"certificate-odd": {"clock", func(p *patient) { p.write(filepath.Join(p.cluster("dev").PKI(), "apiserver.crt"), "what") }},
		"loopback-no-address": {"loopback", func(p *patient) {
			p.Listen = func(context.Context, string, string) (net.Listener, error) { return nil, syscall.EADDRNOTAVAIL }
		}},
		"loopback-no-files": {"loopback", func(p *patient) {
			p.Listen = func(context.Context, string, string) (net.Listener, error) { return nil, syscall.EMFILE }
		}},
		"loopback-refused": {"loopback", func(p *patient) {
			p.Listen = func(context.Context, string, string) (net.Listener, error) { return nil, syscall.EPERM }
		}},
		"loopback-lost": {"loopback", func(p *patient) {
			p.Listen = func(ctx context.Context, network, _ string) (net.Listener, error) {
				listener, err := new(net.ListenConfig).Listen(ctx, network, "127.77.0.1:0")
				p.must(err)
				p.must(listener.Close())
				return closed{listener}, nil
			}
		}},
		"ports-refused": {"ports", func(p *patient) { p.Listen = refusing(syscall.EACCES, "80", "443") }},
		"ports-taken":   {"ports", func(p *patient) { p.Listen = refusing(syscall.EADDRINUSE, "80", "6443") }},
		"ports-odd":     {"ports", func(p *patient) { p.Listen = refusing(syscall.EMFILE, "2222") }},
		"routes-hidden": {"routes", func(p *patient) {
			p.system("proc/net/route", routes("tun0 10.100.0.0/16", "tun0 192.168.0.0/16", "lo 10.96.0.0/12"))
		}},
		"routes-harmless": {"routes", func(p *patient) { p.system("proc/net/route", routes("eth0 127.77.0.0/16", "eth0 172.16.0.0/12")) }},
		"routes-odd":      {"routes", func(p *patient) { p.system("proc/net/route", "tun0 x 0 1 0 0 0 y\n") }},
		"dns-none":        {"dns", func(p *patient) { p.system("etc/resolv.conf", "# nameserver 192.0.2.1\n") }},
		"dns-gateway": {"dns", func(p *patient) {
			p.system("etc/resolv.conf", "")
			p.system("proc/net/route", strings.Replace(routes("eth0 192.0.2.0/24", "eth0 0.0.0.0/0"), "00000000\t00000000", "00000000\t010200C0", 1))
		}},
		"dns-resolved": {"dns", func(p *patient) {
			p.system("etc/resolv.conf", "")
			p.system("run/systemd/resolve/resolv.conf", "nameserver 192.0.2.53\n")
		}},
		"dns-unknown": {"dns", func(p *patient) { p.must(os.Remove(filepath.Join(p.Root, "etc/resolv.conf"))) }},
		"proxy-unspared": {"proxy", func(p *patient) {
			p.env["HTTPS_PROXY"] = "http://me:secret@proxy.example:3128"
			p.env["NO_PROXY"] = "example.com,10.0.0.0/8"
		}},
		"proxy-spared": {"proxy", func(p *patient) {
			p.env["https_proxy"] = "proxy.example:3128"
			p.env["no_proxy"] = "localhost, 127.0.0.0/8"
		}},
		"proxy-one": {"proxy", func(p *patient) {
			p.env["http_proxy"] = "proxy.example:3128"
			p.env["no_proxy"] = "127.77.9.1"
			p.cluster("dev")
		}},
		"proxy-bad": {"proxy", func(p *patient) {
			p.env["HTTP_PROXY"] = "ftp://me:secret@proxy"
			p.env["ALL_PROXY"] = "http://:1"
			p.env["NO_PROXY"] = "*"
		}},
		"folders-open": {"folders", func(p *patient) { p.must(os.Chmod(p.cluster("dev").Dir, 0o755)) }},
		"folders-file": {"folders", func(p *patient) { p.write(p.Home.Cache, "") }},
		"folders-below-file": {"folders", func(p *patient) {
			p.write(filepath.Join(p.dir, "a file"), "")
			p.Home.Cache = filepath.Join(p.dir, "a file", "cache")
		}},
		"folders-loop": {"folders", func(p *patient) { p.must(os.Symlink(p.Home.Cache, p.Home.Cache)) }},
		"image-absent": {"image", func(p *patient) { p.Built += "x"; p.must(os.RemoveAll(p.Home.Base())) }},
		"image-built":  {"image", func(p *patient) { p.must(os.RemoveAll(p.Home.Base())) }},
		"image-built-broken": {"image", func(p *patient) {
			p.must(os.RemoveAll(p.Home.Base()))
			p.flip(filepath.Join(p.Built, images.InitrdName))
		}},
		"image-newer":        {"image", func(p *patient) { p.newer() }},
		"image-newer-broken": {"image", func(p *patient) { p.newer(); p.flip(filepath.Join(p.Built, images.InitrdName)) }},
		"image-newer-half":   {"image", func(p *patient) { p.newer(); p.must(os.Remove(filepath.Join(p.Built, images.InitrdName))) }},
		"image-newer-absent": {"image", func(p *patient) { p.Built += "x" }},
		"image-both-broken": {"image", func(p *patient) {
			p.flip(filepath.Join(p.Home.BaseImage(p.image()), images.InitrdName))
			p.newer()
			p.flip(filepath.Join(p.Built, images.InitrdName))
		}},
		"image-broken": {"image", func(p *patient) {
			p.cluster("dev")
			p.flip(filepath.Join(p.Home.BaseImage(p.image()), images.InitrdName))
		}},
		"image-lost": {"image", func(p *patient) {
			files := p.cluster("dev")
			content, err := os.ReadFile(files.File())
			p.must(err)
			p.write(files.File(), strings.Replace(string(content), "provisioned: false", "provisioned: true", 1))
			p.must(os.RemoveAll(p.Home.Base()))
		}},
		"image-broken-unused": {"image", func(p *patient) { p.flip(filepath.Join(p.Home.BaseImage(p.image()), images.InitrdName)) }},
		"image-half-spaced":   {"image", func(p *patient) { p.must(store.Folder(p.Home.BaseImage("a b.partial"))) }},
		"image-half":          {"image", func(p *patient) { p.must(store.Folder(p.Home.BaseImage("abc.partial"))) }},
		"clusters-newer":      {"clusters", func(p *patient) { p.odd("skiff: v9\n") }},
		"clusters-field":      {"clusters", func(p *patient) { p.odd("skiff: v1.2.3\n") }},
		"clusters-odd":        {"clusters", func(p *patient) { p.cluster("dev"); p.write(p.Home.Cluster("bad").File(), "kind: x\n") }},
		"kubeconfig-odd":      {"kubeconfig", func(p *patient) { p.write(p.Kubeconfig, "what\n") }},
		"kubeconfig-folder": {"kubeconfig", func(p *patient) {
			p.must(os.Mkdir(p.Kubeconfig, 0o700)) // so it cannot be read, not even by root
		}},
		"kubeconfig-below-file": {"kubeconfig", func(p *patient) {
			p.write(filepath.Join(p.dir, "file"), "")
			p.Kubeconfig = filepath.Join(p.dir, "file", "kubeconfig")
		}},
		"kubeconfig-ours": {"kubeconfig", func(p *patient) {
			p.cluster("dev")
			p.entry("dev", "https://127.77.9.1:6443")
			p.entry("other", "https://192.0.2.1:6443")
		}},
		"kubeconfig-stale": {"kubeconfig", func(p *patient) { p.entry("gone", "https://127.77.254.1:6443") }},
		"kubeconfig-open": {"kubeconfig", func(p *patient) {
			p.cluster("dev")
			p.entry("dev", "https://127.77.9.1:6443")
			p.must(os.Chmod(p.Kubeconfig, 0o644))
		}},
		"kubeconfig-locked": {"kubeconfig", func(p *patient) {
			p.write(p.Kubeconfig+".lock", "")
			p.must(os.Chtimes(p.Kubeconfig+".lock", time.Now(), time.Now().Add(-time.Hour)))
		}},
		"leftovers": {"leftovers", func(p *patient) { p.leave() }},
		"leftovers-unknown": {"leftovers", func(p *patient) {
			p.Drivers = []drivers.Driver{fake.New(fake.Options{Failures: map[fake.Op]fake.Failure{fake.List: {Error: "no answer"}}})}
		}},
		"leftovers-unusable": {"leftovers", func(p *patient) {
			p.Drivers = []drivers.Driver{fake.New(fake.Options{
				Findings: []drivers.Finding{{Name: "fake", Level: drivers.Failure, Text: "It is not there."}},
				Failures: map[fake.Op]fake.Failure{fake.List: {Error: "no answer"}},
			})}
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPatient(t)
			test.sick(p)
			var findings []doctor.Finding
			for _, one := range p.examine().Checks {
				if test.check == "" || one.Name == test.check {
					findings = append(findings, one)
				}
			}
			golden.Compare(t, filepath.Join("testdata", name+".golden"), p.text(findings))
		})
	}
}

// closed is a listener that tells its address and listens no more.
type closed struct{ net.Listener }

func (closed) Accept() (net.Conn, error) { return nil, net.ErrClosed }

// leave leaves of clusters what their end by force leaves: a machine, an agent and its sockets, and a lock.
func (p *patient) leave() {
	p.t.Helper()
	files := p.Home.Cluster("gone")
	node := files.Node("skiff")
	p.must(store.Folder(node.Dir))
	p.must(store.Folder(node.Run))
	spec := machine.Spec{Cluster: "gone", Name: "skiff", Dir: node.Dir, RunDir: node.Run}
	vm, err := p.Drivers[0].Create(p.t.Context(), spec)
	p.must(err)
	p.must(vm.Start(p.t.Context()))
	p.must(os.RemoveAll(files.Dir))
	p.must(clustertest.Agents{}.Start(p.t.Context(), filepath.Join(p.dir, "agent.json"), agent.Config{Profile: "gone", APISocket: files.AgentSocket(), LogFile: files.AgentLog()}))
	content, err := os.ReadFile(files.AgentSocket())
	p.must(err)
	p.must(os.WriteFile(files.AgentSocket(), bytes.ReplaceAll(content, fmt.Append(nil, os.Getpid()), []byte("4711")), 0o600))
	p.must(store.Folder(p.Home.Cluster("older").Run))
	p.write(p.Home.Cluster("older").Lock(), "")
	// Another SKIFF_HOME's machine is none of ours.
	foreign := machine.Spec{Cluster: "foreign", Name: "skiff", Dir: filepath.Join(p.dir, "foreign"), RunDir: filepath.Join(p.dir, "foreign")}
	p.must(store.Folder(foreign.Dir))
	_, err = p.Drivers[0].Create(p.t.Context(), foreign)
	p.must(err)
}

// TestFailuresHaveARemedy: what fails keeps skiff from working, so its reader is told what to run.
func TestFailuresHaveARemedy(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob(filepath.Join("testdata", "*.golden"))
	if err != nil {
		t.Fatal(err)
	}
	failures := 0
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(content), "\n")
		for i, line := range lines {
			if !strings.HasPrefix(line, "fail ") {
				continue
			}
			failures++
			if command, ok := strings.CutPrefix(lines[i+1], "  -> "); !ok || command == "" {
				t.Errorf("%s: got no command below %q", path, line)
			}
		}
	}
	if failures == 0 {
		t.Error("got no golden file with a failure, want some")
	}
}
