package download

import (
	"slices"
	"testing"
)

func TestPlaces(t *testing.T) {
	t.Parallel()
	all := Where{
		Program: "/opt/skiff/bin/skiff", Installed: "/s/base", Built: "/c/images/current", Cache: "/c/images/layout",
		Mirrors: []string{"https://user:" + secret + "@mirror.example/skiff?sig=" + secret, "oci://harbor.example/skiff/images", "file:///srv/skiff", "/mnt/skiff"},
		Release: "https://releases.example/v0.1.0",
	}
	offline, named, namedOffline, folder := all, all, all, all
	offline.Offline, named.Image, folder.Image = true, "oci://registry.example/mine", "/home/me/image.tar"
	namedOffline.Image, namedOffline.Offline = "https://x:"+secret+"@images.example/", true
	tests := []struct {
		name    string
		where   Where
		want    string
		sources []string
	}{
		{"nothing", Where{}, "", nil},
		{"everything", all, `program: /opt/skiff/share/skiff/image
installed: /s/base
built: /c/images/current
cache: /c/images/layout
mirror: https://mirror.example/skiff
mirror: oci://harbor.example/skiff/images
mirror: file:///srv/skiff
mirror: /mnt/skiff
release: https://releases.example/v0.1.0
`, append(slices.Clone(all.Mirrors), all.Release)},
		{"offline", offline, `program: /opt/skiff/share/skiff/image
installed: /s/base
built: /c/images/current
cache: /c/images/layout
mirror: https://mirror.example/skiff (not asked: --offline or SKIFF_OFFLINE forbids the network)
mirror: oci://harbor.example/skiff/images (not asked: --offline or SKIFF_OFFLINE forbids the network)
mirror: file:///srv/skiff
mirror: /mnt/skiff
release: https://releases.example/v0.1.0 (not asked: --offline or SKIFF_OFFLINE forbids the network)
`, append(slices.Clone(all.Mirrors), all.Release)},
		{"named", named, "--image: oci://registry.example/mine\n", []string{"oci://registry.example/mine"}},
		{"named, a file", folder, "--image: /home/me/image.tar\n", nil},
		{"named and offline", namedOffline, "--image: https://images.example/ (not asked: --offline or SKIFF_OFFLINE forbids the network)\n", []string{namedOffline.Image}},
		{"before the first release", Where{Program: "/usr/bin/skiff", Installed: "/s/base"}, "program: /usr/share/skiff/image\ninstalled: /s/base\n", nil},
	}
	for _, test := range tests {
		places := test.where.Places()
		if got := places.String(); got != test.want {
			t.Errorf("%s: got\n%swant\n%s", test.name, got, test.want)
		}
		if got := places.Sources(); !slices.Equal(got, test.sources) {
			t.Errorf("%s: got the sources %q, want %q", test.name, got, test.sources)
		}
	}
}
