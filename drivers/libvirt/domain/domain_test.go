package domain_test

import (
	"encoding/xml"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/skiff-k8s/skiff/drivers/libvirt/domain"
	"github.com/skiff-k8s/skiff/internal/golden"
	"github.com/skiff-k8s/skiff/machine"
)

// testSpec has all characters that XML or QEMU reads otherwise.
func testSpec() machine.Spec {
	return machine.Spec{
		Cluster: "dev", Name: "skiff", CPUs: 2, MemoryMiB: 4096, DiskBytes: 20 << 30,
		Dir: "/state/a,b <c> & \"d\" 'e'/skiff", RunDir: "/run/a,b/skiff",
		Image: machine.Image{
			Disk: "/base/disk.raw", Kernel: "/base/vmlinuz", Initrd: "/base/initrd", Cmdline: "console=ttyS0 root=/dev/vda x=\"<&>\"",
		},
		Network: machine.Network{
			Socket: "/run/a,b/net.sock", MAC: "5a:94:ef:e4:0c:ee",
			Address: netip.MustParsePrefix("192.168.127.2/24"), Gateway: netip.MustParseAddr("192.168.127.1"),
		},
	}
}

func options(kind domain.Type, spec machine.Spec) domain.Options {
	return domain.Options{Type: kind, Files: domain.Files{
		Disk: spec.Dir + "/disk.qcow2", Seed: spec.Dir + "/seed.iso", Console: spec.Dir + "/console.log",
	}}
}

func TestXML(t *testing.T) {
	t.Parallel()
	for _, kind := range []domain.Type{domain.KVM, domain.QEMU} {
		o := options(kind, testSpec())
		if kind == domain.KVM {
			o.Labels = []domain.Label{{Type: "static", Model: "dac", Relabel: "no", Label: "+1000:+1000"}, {Type: "none", Model: "apparmor"}}
		}
		text, err := domain.XML(testSpec(), o)
		if err != nil {
			t.Fatal(err)
		}
		golden.Compare(t, "testdata/"+string(kind)+".golden.xml", text)
	}
}

// TestHardwareKeepsItsClock: a KVM guest gets none of the kernel's words for emulation, also from an older image that has them.
func TestHardwareKeepsItsClock(t *testing.T) {
	t.Parallel()
	spec := testSpec()
	spec.Image.Cmdline = "console=ttyS0 mitigations=off tsc=reliable highres=off rcupdate.rcu_expedited=1 audit=0"
	for kind, want := range map[domain.Type]int{domain.KVM: 0, domain.QEMU: 1} {
		text, err := domain.XML(spec, options(kind, spec))
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"tsc=reliable", "highres=off", "mitigations=off", "rcupdate.rcu_expedited=1"} {
			if got := strings.Count(string(text), word); got != want {
				t.Errorf("domain of type %s: got %q %d times, want %d", kind, word, got, want)
			}
		}
	}
}

func TestXMLWithNetwork(t *testing.T) {
	t.Parallel()
	o := options(domain.KVM, testSpec())
	o.Network = "a <b> & \"c\""
	text, err := domain.XML(testSpec(), o)
	if err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, "testdata/network.golden.xml", text)
}

func TestMark(t *testing.T) {
	t.Parallel()
	o := options(domain.KVM, testSpec())
	o.Network = "lan"
	text, err := domain.XML(testSpec(), o)
	if err != nil {
		t.Fatal(err)
	}
	var whole struct {
		Metadata struct {
			Inner string `xml:",innerxml"`
		} `xml:"metadata"`
	}
	if err := xml.Unmarshal(text, &whole); err != nil {
		t.Fatal(err)
	}
	mark, err := domain.ReadMark(whole.Metadata.Inner)
	if err != nil || !mark.Of(testSpec()) || mark.Network != "lan" {
		t.Errorf("got %+v (%v) from %s, want the mark of the machine", mark, err, whole.Metadata.Inner)
	}
	other := testSpec()
	other.Dir = "/elsewhere"
	if mark.Of(other) {
		t.Error("the mark is taken for that of a machine in another folder")
	}
	for name, text := range map[string]string{
		"nothing": "", "no XML": "<machine", "another element": `<cat><cluster>a</cluster><name>b</name><dir>/c</dir></cat>`,
		"a part": `<machine><cluster>a</cluster></machine>`,
	} {
		if mark, err := domain.ReadMark(text); err == nil {
			t.Errorf("%s: got %+v, want an error", name, mark)
		}
	}
	// This is what libvirt 9.0 gives.
	stripped := "<machine>\n  <cluster>a</cluster>\n  <name>b</name>\n  <dir>/c &amp; d</dir>\n</machine>\n"
	if mark, err := domain.ReadMark(stripped); err != nil || mark.Dir != "/c & d" {
		t.Errorf("without the namespace: got %+v (%v), want one with the folder /c & d", mark, err)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	spec := func(cluster, name, dir string) machine.Spec {
		return machine.Spec{Cluster: cluster, Name: name, Dir: dir}
	}
	specs := []machine.Spec{spec("dev", "skiff", "/a"), spec("dev", "skiff", "/b"), spec("dev-skiff", "m02", "/a"), spec("dev", "skiff-m02", "/a")}
	var names, ids []string
	for _, s := range specs {
		names, ids = append(names, domain.Name(s)), append(ids, domain.UUID(s))
		if again := domain.UUID(s); again != ids[len(ids)-1] {
			t.Errorf("the UUID is once %s and once %s", ids[len(ids)-1], again)
		}
	}
	slices.Sort(names)
	slices.Sort(ids)
	if len(slices.Compact(names)) != len(specs) || len(slices.Compact(ids)) != len(specs) {
		t.Errorf("got names %q and UUIDs %q, want all different", names, ids)
	}
	if name := domain.Name(specs[0]); !strings.HasPrefix(name, "skiff-dev-skiff-") {
		t.Errorf("got name %q, want one that begins with profile and node", name)
	}
	long := domain.Name(spec(strings.Repeat("a", 63), strings.Repeat("b", 63), "/a"))
	const most = 200 // bytes; libvirt makes file names of it
	if len(long) > most {
		t.Errorf("the longest name has %d bytes", len(long))
	}
}

func TestLabels(t *testing.T) {
	t.Parallel()
	host := func(models ...string) string {
		text := "<capabilities><host>"
		for _, model := range models {
			text += "<secmodel><model>" + model + "</model><doi>0</doi></secmodel>"
		}
		return text + "</host></capabilities>"
	}
	dac := domain.Label{Type: "static", Model: "dac", Relabel: "no", Label: "+1000:+100"}
	for _, test := range []struct {
		capabilities string
		want         []domain.Label
	}{
		{host(), nil},
		{host("none"), nil},
		{host("none", "dac"), []domain.Label{dac}},
		{host("apparmor", "dac"), []domain.Label{{Type: "none", Model: "apparmor"}, dac}},
	} {
		got, err := domain.Labels(test.capabilities, 1000, 100)
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%s: got %+v (%v), want %+v", test.capabilities, got, err, test.want)
		}
	}
	if got, err := domain.Labels("<capabilities", 0, 0); err == nil {
		t.Errorf("got %+v of what cannot be read, want an error", got)
	}
}
