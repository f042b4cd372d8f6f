package addons

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/internal/golden"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

// A certificate that is the same in each run; nobody trusts it, and its key is not here.
const testCertificate = `-----BEGIN CERTIFICATE-----
MIIBgjCCASegAwIBAgIUBnp/IQZXeLtsf625zvcnGLT/Xi0wCgYIKoZIzj0EAwIw
FTETMBEGA1UEAwwKc2tpZmYgdGVzdDAgFw0yNjExMjQwMDI1MTZaGA8yMTI2MTAz
MTAwMjUxNlowFTETMBEGA1UEAwwKc2tpZmYgdGVzdDBZMBMGByqGSM49AgEGCCqG
SM49AwEHA0IABNnqtqqjwWhB4D2H4SUKUzq8GgI1iOTQBC8ROUsty6n0J+raIDEI
RrcmJqCHYnuKt3gIgK9m2l3tciZQpoSQSDujUzBRMB0GA1UdDgQWBBT9sQwFHEQE
FTYEtBvyZBuJFnNR7DAfBgNVHSMEGDAWgBT9sQwFHEQEFTYEtBvyZBuJFnNR7DAP
BgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0kAMEYCIQC/4pphsod7CRbdcSl0
M2FLfq/m6kN/n0H4CkSVUQNmOQIhAKqGdz50YdAS2ZKVcEOPQOSCn73j0ANKI55C
EHJedmrL
-----END CERTIFICATE-----
`

var (
	testAddress = netip.MustParseAddr("127.77.3.1")
	testValues  = Values{Address: testAddress, Certificate: KeyPair{Cert: []byte(testCertificate), Key: []byte("key\n")}}
)

// TestCatalog renders every addon: the golden file is what the cluster gets.
func TestCatalog(t *testing.T) {
	t.Parallel()
	addons, err := Catalog()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(addons, func(a Addon) bool { return a.Name == "ingress" }) {
		t.Error("got no addon ingress")
	}
	for _, addon := range addons {
		t.Run(addon.Name, func(t *testing.T) {
			t.Parallel()
			objects, err := Render(addon, testValues)
			if err != nil {
				t.Fatal(err)
			}
			var text bytes.Buffer
			for _, object := range objects {
				checkKind(t, object)
				encoded, err := yaml.Marshal(object.Object)
				if err != nil {
					t.Fatal(err)
				}
				text.WriteString("---\n")
				text.Write(encoded)
			}
			golden.Compare(t, "testdata/"+addon.Name+".golden", text.Bytes())
		})
	}
}

// checkKind reads the object as its type, strictly, so that a misspelt field is found here and not by the API server; and
// compares its scope with the table of kinds.
func checkKind(t *testing.T, object *unstructured.Unstructured) {
	t.Helper()
	encoded, err := object.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	strict := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	if _, _, err := strict.Decode(encoded, nil, nil); err != nil {
		t.Errorf("%s: %v", referenceTo(object), err)
	}
	resource, namespaced := builtin(object.GroupVersionKind().GroupVersion(), object.GetKind())
	if resource == "" {
		t.Errorf("%s: the table of kinds lacks it", referenceTo(object))
	}
	if namespaced != (object.GetNamespace() != "") {
		t.Errorf("%s: got namespace %q, want one only for kinds that have them", referenceTo(object), object.GetNamespace())
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	if addon, err := Find("ingress"); err != nil || addon.Name != "ingress" {
		t.Errorf("got %q and error %v, want ingress", addon.Name, err)
	}
	for word, hint := range map[string]string{"ingres": "ingress", "ing": "ingress", "ingress-dns": "ingress", "xyz": ""} {
		_, err := Find(word)
		var failure *fail.Error
		if !errors.As(err, &failure) || failure.ID != fail.AddonNotFound || failure.Next != "skiff addons list" {
			t.Errorf("%s: got error %#v, want AddonNotFound", word, err)
			continue
		}
		if hint == "" && failure.Hint != "" || !strings.Contains(failure.Hint, hint) {
			t.Errorf("%s: got hint %q, want %q in it", word, failure.Hint, hint)
		}
	}
}

func TestLoadFindsMistakes(t *testing.T) {
	t.Parallel()
	const good = "name: a\ndescription: b\nready: [{apiVersion: v1, kind: Secret, namespace: ns, name: s}]\n"
	for name, tc := range map[string]struct{ description, want string }{
		"good":        {good, ""},
		"unknown key": {good + "colour: red\n", "colour"},
		"other name":  {strings.Replace(good, "name: a", "name: b", 1), `name is "b", and the folder "a"`},
		"not ready":   {"name: a\ndescription: b\n", "ready is empty"},
		"half ready":  {"name: a\ndescription: b\nready: [{kind: Secret}]\n", "ready[0]"},
		"two lines":   {strings.Replace(good, "description: b", `description: "b\nc"`, 1), "one line"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := load(fstest.MapFS{
				"a/addon.yaml":  {Data: []byte(tc.description)},
				"a/secret.yaml": {Data: []byte("x")},
			})
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got error %v, want %q", err, tc.want)
			}
		})
	}
}

func TestRenderFindsMistakes(t *testing.T) {
	t.Parallel()
	const secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: ns}\n"
	ready := []Reference{{APIVersion: "v1", Kind: "Secret", Namespace: "ns", Name: "s"}}
	for name, tc := range map[string]struct {
		text, want string
		images     []string
		values     Values
	}{
		"good":          {text: secret, values: testValues},
		"no address":    {text: secret, want: "address"},
		"unknown value": {text: secret + "x: {{ .Nope }}\n", values: testValues, want: "Nope"},
		"not yaml":      {text: secret + "---\na: [\n", values: testValues, want: "document 2"},
		"nameless":      {text: secret + "---\napiVersion: v1\nkind: Secret\n", values: testValues, want: "no name"},
		"unlisted":      {text: secret + "x: [{image: i}]\n", values: testValues, want: "image i is not in addon.yaml"},
		"unused":        {text: secret, images: []string{"i"}, values: testValues, want: "image i of addon.yaml is used nowhere"},
		"absent":        {text: strings.Replace(secret, "name: s", "name: t", 1), values: testValues, want: "Secret ns/s of addon.yaml is in no manifest"},
		"setting":       {text: secret, values: Values{Address: testAddress, Settings: map[string]string{"b": "c"}}, want: `no setting "b"; there are: a`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addon := Addon{Name: "a", Images: tc.images, Ready: ready, Settings: map[string]string{"a": "1"}, files: []file{{"x.yaml", tc.text}}}
			_, err := Render(addon, tc.values)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got error %v, want %q", err, tc.want)
			}
		})
	}
}

func TestRenderTakesSettings(t *testing.T) {
	t.Parallel()
	addon, err := Find("ingress")
	if err != nil {
		t.Fatal(err)
	}
	objects, err := Render(addon, Values{Address: testAddress, Settings: map[string]string{"logLevel": "DEBUG"}})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(objects, func(object *unstructured.Unstructured) bool {
		encoded, err := object.MarshalJSON()
		return err == nil && bytes.Contains(encoded, []byte("--log.level=DEBUG"))
	}) {
		t.Error("got no object with the setting in it")
	}
	if addon.Settings["logLevel"] != "WARN" {
		t.Errorf("got default %q, want it unchanged", addon.Settings["logLevel"])
	}
}

func TestNewKeyPair(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	pair, err := NewKeyPair(testAddress, now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tls.X509KeyPair(pair.Cert, pair.Key); err != nil {
		t.Errorf("the pair does not fit: %v", err)
	}
	block, _ := pem.Decode(pair.Cert)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	for _, name := range []string{"127.77.3.1", "skiff.local", "meow.skiff.local"} {
		if _, err := cert.Verify(x509.VerifyOptions{Roots: pool, DNSName: name, CurrentTime: now}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	renew, err := pair.renewAfter()
	if want := now.Add(1065 * 24 * time.Hour); err != nil || !renew.Equal(want) {
		t.Errorf("got renewal at %v and error %v, want %v", renew, err, want)
	}
	other, err := NewKeyPair(testAddress, now)
	if err != nil || bytes.Equal(other.Key, pair.Key) {
		t.Errorf("got the same key twice, or error %v", err)
	}
}

func TestOrdered(t *testing.T) {
	t.Parallel()
	var objects []*unstructured.Unstructured
	for _, kind := range []string{"apps/v1 Deployment", "v1 Secret", "example.org/v1 Widget", "v1 Namespace", "apiextensions.k8s.io/v1 CustomResourceDefinition"} {
		apiVersion, name, _ := strings.Cut(kind, " ")
		object := &unstructured.Unstructured{}
		object.SetAPIVersion(apiVersion)
		object.SetKind(name)
		objects = append(objects, object)
	}
	var got []string
	for _, group := range ordered(objects) {
		var kinds []string
		for _, object := range group {
			kinds = append(kinds, object.GetKind())
		}
		got = append(got, strings.Join(kinds, " "))
	}
	if diff := cmp.Diff([]string{"Namespace", "CustomResourceDefinition", "Secret", "Deployment Widget"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
