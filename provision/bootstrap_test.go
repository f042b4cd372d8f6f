package provision

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// etcdServer keeps what it is given as etcd does, and refuses the first request as one does that is not ready.
type etcdServer struct {
	mu       sync.Mutex
	refused  bool
	requests int
	kept     map[string]string
}

func (e *etcdServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var asked txn
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || r.URL.Path != "/v3/kv/txn" {
		http.Error(w, fmt.Sprint(r.URL, err), http.StatusBadRequest)
		return
	}
	if !e.refused {
		e.refused = true
		http.Error(w, "etcdserver: no leader", http.StatusServiceUnavailable)
		return
	}
	e.requests++
	for _, compare := range asked.Compare {
		if _, there := e.kept[string(compare.Key)]; there && compare.Target == "VERSION" && compare.Version == "0" {
			_, _ = io.WriteString(w, `{"succeeded":false}`)
			return
		}
	}
	for _, op := range asked.Success {
		e.kept[string(op.Put.Key)] = string(op.Put.Value)
	}
	_, _ = io.WriteString(w, `{"succeeded":true}`)
}

// near is a guest whose etcd is the test's, asked with the certificates of pki.
type near struct {
	*guest
	addr string
}

func (n near) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if addr != "127.0.0.1:2379" {
		return nil, errors.New("nothing listens at " + addr)
	}
	return new(net.Dialer).DialContext(ctx, network, n.addr)
}

func startEtcd(t *testing.T, pki *PKI) (*etcdServer, near) {
	t.Helper()
	own, err := tls.X509KeyPair(pki.files["etcd/server.crt"], pki.files["etcd/server.key"])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pki.files["etcd/ca.crt"])
	etcd := &etcdServer{kept: map[string]string{}}
	server := httptest.NewUnstartedServer(etcd)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{own}, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert}
	server.StartTLS()
	t.Cleanup(server.Close)
	return etcd, near{&guest{}, server.Listener.Addr().String()}
}

// firstObjects is a list as an image has it, of count objects.
func firstObjects(count int) []byte {
	var b strings.Builder
	for i := range count {
		fmt.Fprintf(&b, `,{"key":"/registry/clusterroles/r%d","value":{"kind":"ClusterRole","metadata":{"name":"r%d"}}}`, i, i)
	}
	return []byte("[" + strings.TrimPrefix(b.String(), ",") + "]")
}

func TestBootstrap(t *testing.T) {
	t.Parallel()
	u, _ := newUp(t, &guest{}, io.Discard)
	etcd, runner := startEtcd(t, u.pki)
	u.runner, u.config.Bootstrap = runner, firstObjects(etcdBatch+50)
	if err := u.bootstrap(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(etcd.kept) != etcdBatch+50 || etcd.requests != 2 {
		t.Errorf("got %d objects by %d requests, want %d by 2", len(etcd.kept), etcd.requests, etcdBatch+50)
	}
	identities := map[string]bool{}
	for key, value := range etcd.kept {
		var object struct {
			Metadata struct {
				Name, UID         string
				CreationTimestamp time.Time
			}
		}
		if err := json.Unmarshal([]byte(value), &object); err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(key, "/"+object.Metadata.Name) || time.Since(object.Metadata.CreationTimestamp) > time.Hour {
			t.Errorf("%s has %s", key, value)
		}
		identities[object.Metadata.UID] = true
	}
	if len(identities) != len(etcd.kept) {
		t.Errorf("got %d different identities for %d objects", len(identities), len(etcd.kept))
	}
}

// What the API server was quicker with stays as it made it.
func TestBootstrapReplacesNothing(t *testing.T) {
	t.Parallel()
	u, _ := newUp(t, &guest{}, io.Discard)
	etcd, runner := startEtcd(t, u.pki)
	u.runner, u.config.Bootstrap = runner, firstObjects(3)
	etcd.kept["/registry/clusterroles/r1"] = "the API server's"
	if err := u.bootstrap(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(etcd.kept) != 1 || etcd.kept["/registry/clusterroles/r1"] != "the API server's" {
		t.Errorf("got %v, want the one object as it was", etcd.kept)
	}
}

// Without etcd's help the API server makes its objects itself, and the cluster comes up all the same.
func TestUpWithoutBootstrap(t *testing.T) {
	t.Parallel()
	for name, list := range map[string][]byte{"no list": nil, "a bad list": []byte("{"), "nobody to ask": firstObjects(1)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log strings.Builder
			u, _ := newUp(t, &guest{}, &log)
			u.config.Bootstrap = list
			if err := u.run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if said := strings.Contains(log.String(), "skiff: "); said != (list != nil) {
				t.Errorf("the log has %q", log.String())
			}
		})
	}
}
