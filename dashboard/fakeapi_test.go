//go:build browser

package dashboard

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"sigs.k8s.io/yaml"
)

type object = map[string]any

// fakeAPI is as much of an API server as the page asks for: objects that can be listed, watched, changed and deleted.
type fakeAPI struct {
	t       *testing.T
	server  *httptest.Server
	address string

	mu       sync.Mutex
	version  int
	objects  map[string]map[string]object // by the path of the list of all namespaces, then by namespace/name
	watchers map[chan []byte]string       // what happens to objects of that path
	past     []happened                   // everything that has happened, for watches that begin at a version
	denied   map[string]bool              // resources that may not be listed
	measures string                       // what becomes of a question for metrics: "" when there is no metrics-server, "no answer", "nothing yet" or "yes"
	watches  map[string]int               // how many have begun, by path
	logLines int                          // that the log of each pod has
	logMore  chan struct{}                // closed when there are more
}

type happened struct {
	version int
	path    string
	event   []byte // JSON: the object changes later
}

// resources are the kinds that there are, by the path of their lists.
func resources() map[string]string {
	return map[string]string{
		"api/v1/pods": "Pod", "api/v1/services": "Service", "api/v1/configmaps": "ConfigMap", "api/v1/events": "Event", "api/v1/endpoints": "Endpoints",
		"api/v1/nodes": "Node", "api/v1/namespaces": "Namespace", "api/v1/secrets": "Secret", "api/v1/replicationcontrollers": "ReplicationController",
		"api/v1/serviceaccounts": "ServiceAccount", "api/v1/persistentvolumes": "PersistentVolume", "api/v1/persistentvolumeclaims": "PersistentVolumeClaim",
		"apis/apps/v1/deployments": "Deployment", "apis/apps/v1/replicasets": "ReplicaSet", "apis/apps/v1/statefulsets": "StatefulSet", "apis/apps/v1/daemonsets": "DaemonSet",
		"apis/batch/v1/jobs": "Job", "apis/batch/v1/cronjobs": "CronJob", "apis/networking.k8s.io/v1/ingresses": "Ingress", "apis/networking.k8s.io/v1/ingressclasses": "IngressClass",
		"apis/networking.k8s.io/v1/networkpolicies": "NetworkPolicy", "apis/apiextensions.k8s.io/v1/customresourcedefinitions": "CustomResourceDefinition",
		"apis/storage.k8s.io/v1/storageclasses": "StorageClass", "apis/discovery.k8s.io/v1/endpointslices": "EndpointSlice",
	}
}

func newFakeAPI(t *testing.T) *fakeAPI {
	t.Helper()
	f := &fakeAPI{t: t, version: 1000, objects: map[string]map[string]object{}, watchers: map[chan []byte]string{}, denied: map[string]bool{}, watches: map[string]int{},
		logLines: 20, logMore: make(chan struct{})}
	for path := range resources() {
		f.objects[path] = map[string]object{}
	}
	f.start("127.0.0.1:0")
	t.Cleanup(f.stop)
	return f
}

func (f *fakeAPI) start(address string) {
	var listen net.ListenConfig
	listener, err := listen.Listen(f.t.Context(), "tcp", address)
	if err != nil {
		f.t.Error(err)
		return
	}
	f.server = &httptest.Server{Listener: listener, Config: &http.Server{Handler: f, ReadHeaderTimeout: time.Minute}, EnableHTTP2: true}
	f.server.StartTLS()
	f.address = listener.Addr().String()
}

// stop ends the API server as kill -9 does: connections break.
func (f *fakeAPI) stop() {
	f.server.CloseClientConnections()
	f.mu.Lock()
	for watcher := range f.watchers {
		close(watcher)
		delete(f.watchers, watcher)
	}
	f.mu.Unlock()
	_ = f.server.Listener.Close()
	go f.server.Close()
}

// put adds or replaces an object, and tells who watches.
func (f *fakeAPI) put(path string, o object) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.version++
	meta := o["metadata"].(object)
	meta["resourceVersion"] = strconv.Itoa(f.version)
	group := strings.TrimPrefix(strings.TrimPrefix(path[:strings.LastIndex(path, "/")], "apis/"), "api/")
	o["apiVersion"], o["kind"] = group, resources()[path]
	namespace, _ := meta["namespace"].(string)
	key := namespace + "/" + meta["name"].(string)
	if meta["uid"] == nil {
		meta["uid"] = path + "/" + key
	}
	if meta["creationTimestamp"] == nil {
		meta["creationTimestamp"] = time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	}
	kind := "ADDED"
	if _, there := f.objects[path][key]; there {
		kind = "MODIFIED"
	}
	f.objects[path][key] = o
	f.tell(path, kind, o)
}

// tell needs the lock.
func (f *fakeAPI) tell(path, kind string, o object) {
	content, _ := json.Marshal(object{"type": kind, "object": o})
	f.past = append(f.past, happened{f.version, path, content})
	for watcher, watched := range f.watchers {
		if watched == path {
			select {
			case watcher <- content:
			default:
			}
		}
	}
}

func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.Trim(r.URL.Path, "/")
	switch {
	case path == "readyz" || path == "healthz" || path == "livez":
		_, _ = io.WriteString(w, "ok")
	case path == "version":
		answer(w, 200, object{"gitVersion": "v1.37.2", "major": "1", "minor": "37", "platform": "linux/amd64", "goVersion": "go1.26", "gitCommit": "0", "buildDate": "2031-05-04T12:00:00Z"})
	case strings.Contains(path, "selfsubject"):
		var review object
		_ = json.NewDecoder(r.Body).Decode(&review)
		review["status"] = object{"allowed": true, "resourceRules": []any{}, "nonResourceRules": []any{}, "incomplete": false, "userInfo": object{"username": "kubernetes-admin"}}
		answer(w, 201, review)
	case path == "apis/metrics.k8s.io" || strings.HasPrefix(path, "apis/metrics.k8s.io/"):
		f.measure(w, r, strings.Split(path, "/")[1:])
	case f.discovery(w, path):
	default:
		f.resource(w, r, path)
	}
}

func (f *fakeAPI) discovery(w http.ResponseWriter, path string) bool {
	groups, lists := map[string][]object{}, []object{}
	for one, kind := range resources() {
		at := strings.LastIndex(one, "/")
		namespaced := !slices.Contains([]string{"Node", "Namespace", "PersistentVolume", "IngressClass", "CustomResourceDefinition", "StorageClass"}, kind)
		groups[one[:at]] = append(groups[one[:at]], object{"name": one[at+1:], "singularName": "", "kind": kind, "namespaced": namespaced, "verbs": []string{"get", "list", "watch", "create", "update", "patch", "delete"}})
	}
	for group := range groups {
		if rest, ok := strings.CutPrefix(group, "apis/"); ok {
			name, version, _ := strings.Cut(rest, "/")
			lists = append(lists, object{"name": name, "versions": []object{{"groupVersion": rest, "version": version}}, "preferredVersion": object{"groupVersion": rest, "version": version}})
		}
	}
	switch {
	case path == "api":
		answer(w, 200, object{"kind": "APIVersions", "versions": []string{"v1"}})
	case path == "apis":
		answer(w, 200, object{"kind": "APIGroupList", "apiVersion": "v1", "groups": lists})
	case groups[path] != nil:
		answer(w, 200, object{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": strings.TrimPrefix(strings.TrimPrefix(path, "apis/"), "api/"), "resources": groups[path]})
	default:
		return false
	}
	return true
}

func (f *fakeAPI) resource(w http.ResponseWriter, r *http.Request, path string) {
	parts := strings.Split(path, "/")
	head := 2
	if parts[0] == "apis" {
		head = 3
	}
	namespace := ""
	rest := parts[min(head, len(parts)):]
	if len(rest) > 2 && rest[0] == "namespaces" {
		namespace, rest = rest[1], rest[2:]
	}
	if len(rest) == 0 {
		http.NotFound(w, r)
		return
	}
	list := strings.Join(parts[:head], "/") + "/" + rest[0]
	if f.objects[list] == nil {
		answer(w, 404, object{"kind": "Status", "status": "Failure", "code": 404, "message": "the server could not find the requested resource"})
		return
	}
	switch {
	case len(rest) == 1 && r.Method == http.MethodGet && r.URL.Query().Get("watch") != "":
		f.watch(w, r, list, namespace)
	case len(rest) == 1:
		f.list(w, r, list, namespace)
	case len(rest) > 2 && rest[2] == "log":
		f.log(w, r)
	default:
		f.one(w, r, list, namespace+"/"+rest[1], rest[2:])
	}
}

func (f *fakeAPI) list(w http.ResponseWriter, r *http.Request, list, namespace string) {
	f.mu.Lock()
	if resource := list[strings.LastIndex(list, "/")+1:]; f.denied[resource] {
		f.mu.Unlock()
		answer(w, 403, object{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": 403,
			"message": fmt.Sprintf("%[1]s is forbidden: User \"guest\" cannot list resource \"%[1]s\" in API group \"\" at the cluster scope", resource)})
		return
	}
	items := []object{}
	for _, key := range slices.Sorted(maps.Keys(f.objects[list])) {
		if (namespace == "" || strings.HasPrefix(key, namespace+"/")) && selected(f.objects[list][key], r.URL.Query().Get("labelSelector")) {
			items = append(items, f.objects[list][key])
		}
	}
	version := strconv.Itoa(f.version)
	content, _ := json.Marshal(object{"kind": resources()[list] + "List", "apiVersion": "v1", "metadata": object{"resourceVersion": version}, "items": items})
	f.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(content)
}

// selected reports whether an object has the labels of a selector of the form a=b,c=d.
func selected(o object, selector string) bool {
	labels, _ := o["metadata"].(object)["labels"].(object)
	for one := range strings.SplitSeq(selector, ",") {
		if name, value, ok := strings.Cut(one, "="); ok && labels[name] != value {
			return false
		}
	}
	return true
}

// minRequestTimeout is when a watch ends that does not say how long it lasts: for the API server half an hour, or up to twice as
// much.
const minRequestTimeout = time.Second

func (f *fakeAPI) watch(w http.ResponseWriter, r *http.Request, list, namespace string) {
	if r.Header.Get("Origin") == "" { // as golang.org/x/net/websocket does, which the API server uses for watches
		http.Error(w, "null origin", http.StatusForbidden)
		return
	}
	upgrader := websocket.Upgrader{Subprotocols: []string{"base64.binary.k8s.io"}, CheckOrigin: func(*http.Request) bool { return true }}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	events := make(chan []byte, 20000)
	f.mu.Lock()
	if since, err := strconv.Atoi(r.URL.Query().Get("resourceVersion")); err == nil {
		for _, one := range f.past {
			if one.path == list && one.version > since {
				events <- one.event
			}
		}
	}
	f.watchers[events] = list
	f.watches[list]++
	f.mu.Unlock()
	lasts := minRequestTimeout
	if seconds, err := strconv.Atoi(r.URL.Query().Get("timeoutSeconds")); err == nil {
		lasts = time.Duration(seconds) * time.Second
	}
	end := time.NewTimer(lasts)
	defer end.Stop()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.watchers, events)
	}()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for {
			if _, _, err := conn.ReadMessage(); err != nil {
				return
			}
		}
	}()
	for {
		select {
		case <-gone:
			return
		case <-end.C:
			return
		case event, ok := <-events:
			if !ok {
				return
			}
			if namespace != "" && !strings.Contains(string(event), fmt.Sprintf(`"namespace":%q`, namespace)) {
				continue
			}
			if conn.WriteMessage(websocket.TextMessage, event) != nil {
				return
			}
		}
	}
}

// measure answers as metrics-server does; path is what follows apis.
func (f *fakeAPI) measure(w http.ResponseWriter, r *http.Request, path []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.measures == "":
		http.NotFound(w, r)
		return
	case f.measures == "no answer":
		http.Error(w, "service unavailable", http.StatusServiceUnavailable) // as of an APIService whose pod does not run
		return
	case len(path) == 1:
		answer(w, 200, object{"kind": "APIGroup", "apiVersion": "v1", "name": "metrics.k8s.io", "versions": []object{{"groupVersion": "metrics.k8s.io/v1beta1", "version": "v1beta1"}}})
		return
	}
	items := []object{}
	resource := path[len(path)-1]
	for key := range f.objects["api/v1/"+resource] {
		namespace, name, _ := strings.Cut(key, "/")
		one := object{"metadata": object{"name": name}, "timestamp": "2031-05-04T12:00:00Z", "window": "15s"}
		usage := object{"cpu": "250m", "memory": "128Mi"}
		switch resource {
		case "nodes":
			one["usage"] = object{"cpu": "500m", "memory": "1Gi"}
		default:
			one["metadata"].(object)["namespace"], one["containers"] = namespace, []object{{"name": "main", "usage": usage}}
		}
		if f.measures == "yes" && (len(path) < 5 || path[3] == namespace) {
			items = append(items, one)
		}
	}
	kind := map[string]string{"nodes": "NodeMetricsList", "pods": "PodMetricsList"}[resource]
	answer(w, 200, object{"kind": kind, "apiVersion": "metrics.k8s.io/v1beta1", "metadata": object{}, "items": items})
}

// logLine is a line of a log: each has its number and the same length, logLineSize bytes.
func logLine(i int) string {
	return fmt.Sprintf("2031-05-04T12:00:00Z line %09d %s\n", i, strings.Repeat("x", logLineSize-37))
}

const logLineSize = 128

// log answers with the log of a pod, which has as many lines as print has made: over a WebSocket, in messages of at most 2048
// bytes that end anywhere, as the API server sends them (k8s.io/apimachinery, pkg/util/httpstream/wsstream, Reader).
func (f *fakeAPI) log(w http.ResponseWriter, r *http.Request) {
	upgrader := websocket.Upgrader{Subprotocols: []string{"base64.binary.k8s.io"}, CheckOrigin: func(*http.Request) bool { return true }}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for {
			if _, _, err := conn.ReadMessage(); err != nil {
				return
			}
		}
	}()
	last, more := f.printed()
	first := 0
	if tail, err := strconv.Atoi(r.FormValue("tailLines")); err == nil {
		first = max(0, last-tail)
	}
	var ready []byte
	for i := first; ; {
		for ; i < last && len(ready) < 1<<20; i++ {
			ready = append(ready, logLine(i)...)
		}
		for ; len(ready) >= 2048 || i == last && len(ready) > 0; ready = ready[min(2048, len(ready)):] {
			message := base64.StdEncoding.EncodeToString(ready[:min(2048, len(ready))])
			if conn.WriteMessage(websocket.TextMessage, []byte(message)) != nil {
				return
			}
		}
		if i < last {
			continue
		}
		if r.FormValue("follow") != "true" {
			return
		}
		select {
		case <-gone:
			return
		case <-more:
			last, more = f.printed()
		}
	}
}

// printed returns how many lines the log of each pod has, and a channel that is closed when there are more.
func (f *fakeAPI) printed() (int, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.logLines, f.logMore
}

// print adds lines to the log of each pod.
func (f *fakeAPI) print(lines int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.logLines += lines
	close(f.logMore)
	f.logMore = make(chan struct{})
}

// one gets, changes or deletes an object; sub is what follows its name.
func (f *fakeAPI) one(w http.ResponseWriter, r *http.Request, list, key string, sub []string) {
	f.mu.Lock()
	there := f.objects[list][key]
	f.mu.Unlock()
	status := func(code int, message string) {
		answer(w, code, object{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message})
	}
	if there == nil {
		status(404, key+" not found")
		return
	}
	var body object
	if r.Body != nil {
		_ = json.NewDecoder(r.Body).Decode(&body)
	}
	switch r.Method {
	case http.MethodDelete:
		f.mu.Lock()
		delete(f.objects[list], key)
		f.version++
		f.tell(list, "DELETED", there)
		f.mu.Unlock()
		answer(w, 200, object{"kind": "Status", "status": "Success"})
	case http.MethodPut, http.MethodPatch:
		if len(sub) > 0 && sub[0] == "scale" {
			f.scale(there, body)
			f.put(list, there)
			answer(w, 200, there)
			return
		}
		if version, _ := body["metadata"].(object)["resourceVersion"].(string); version != "" && version != there["metadata"].(object)["resourceVersion"] {
			status(409, fmt.Sprintf("Operation cannot be fulfilled on %s: the object has been modified; please apply your changes to the latest version and try again", key))
			return
		}
		f.put(list, body)
		answer(w, 200, body)
	default:
		f.mu.Lock()
		content, _ := json.Marshal(there)
		f.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(content)
	}
}

// kubectl does what the program does with one object, and says what it would: to convert answers the object, to replace puts it.
func (f *fakeAPI) kubectl(w http.ResponseWriter, r *http.Request) {
	content, _ := io.ReadAll(r.Body)
	var o object
	if err := yaml.Unmarshal(content, &o); err != nil {
		http.Error(w, "error: "+err.Error(), http.StatusBadRequest)
		return
	}
	switch r.URL.Query().Get("verb") {
	case "convert":
		o["apiVersion"] = "apps/v1"
		answer(w, 200, object{"items": []any{o}})
	case "replace":
		if spec, _ := o["spec"].(object); spec["colour"] != nil {
			http.Error(w, `Error from server (BadRequest): Deployment in version "v1" cannot be handled: strict decoding error: unknown field "spec.colour"`, http.StatusBadRequest)
			return
		}
		f.replace(w, r, o)
	default:
		_, _ = io.WriteString(w, "applied\n")
	}
}

func (f *fakeAPI) replace(w http.ResponseWriter, r *http.Request, o object) {
	for list, kind := range resources() {
		at := strings.LastIndex(list, "/")
		if group := strings.TrimPrefix(strings.TrimPrefix(list[:at], "apis/"), "api/"); kind != o["kind"] || group != o["apiVersion"] {
			continue
		}
		meta := o["metadata"].(object)
		content, _ := json.Marshal(o)
		put, _ := http.NewRequestWithContext(r.Context(), http.MethodPut, fmt.Sprintf("/%s/namespaces/%s%s/%s", list[:at], meta["namespace"], list[at:], meta["name"]), bytes.NewReader(content))
		said := httptest.NewRecorder()
		f.ServeHTTP(said, put)
		if said.Code == http.StatusConflict {
			http.Error(w, `Error from server (Conflict): error when replacing "STDIN": `+said.Body.String(), said.Code)
		} else if said.Code != http.StatusOK {
			http.Error(w, said.Body.String(), said.Code)
		}
		return
	}
	http.Error(w, fmt.Sprintf("error: resource mapping not found: no matches for kind %q in version %q", o["kind"], o["apiVersion"]), http.StatusNotFound)
}

// scale does what the controllers do at once.
func (f *fakeAPI) scale(deployment, scale object) {
	f.mu.Lock()
	replicas := scale["spec"].(object)["replicas"]
	deployment["spec"].(object)["replicas"] = replicas
	deployment["status"] = object{"replicas": replicas, "readyReplicas": replicas, "updatedReplicas": replicas, "availableReplicas": replicas}
	f.mu.Unlock()
}

// fill makes what a young cluster has, and the Deployment web with its Pods.
func (f *fakeAPI) fill(pods int) {
	for _, name := range []string{"default", "kube-system"} {
		f.put("api/v1/namespaces", object{"metadata": object{"name": name}, "status": object{"phase": "Active"}})
	}
	ready := []any{object{"type": "Ready", "status": "True"}}
	f.put("api/v1/nodes", object{"metadata": object{"name": "skiff", "labels": object{"node-role.kubernetes.io/control-plane": ""}}, "spec": object{}, "status": object{
		"conditions": ready, "capacity": object{"cpu": "2", "memory": "4Gi", "pods": "110"}, "allocatable": object{"cpu": "2", "memory": "4Gi", "pods": "110"},
		"addresses": []any{object{"type": "InternalIP", "address": "192.168.127.2"}},
		"nodeInfo":  object{"kubeletVersion": "v1.37.2", "containerRuntimeVersion": "containerd://2.3.0", "osImage": "skiff", "architecture": "amd64", "kernelVersion": "6.18", "operatingSystem": "linux"},
	}})
	for component, image := range map[string]string{
		"kube-apiserver": "registry.k8s.io/kube-apiserver:v1.37.2", "etcd": "registry.k8s.io/etcd:3.6.6-0",
		"kube-controller-manager": "registry.k8s.io/kube-controller-manager:v1.37.2", "kube-scheduler": "registry.k8s.io/kube-scheduler:v1.37.2",
	} {
		f.put("api/v1/pods", pod("kube-system", component+"-skiff", image, object{"component": component, "tier": "control-plane"}))
	}
	f.put("api/v1/pods", pod("kube-system", "kube-proxy-x1", "registry.k8s.io/kube-proxy:v1.37.2", object{"k8s-app": "kube-proxy"}))
	f.put("apis/apps/v1/deployments", object{"metadata": object{"name": "web", "namespace": "default", "labels": object{"app": "web"}},
		"spec": object{"replicas": 2, "selector": object{"matchLabels": object{"app": "web"}}, "strategy": object{"type": "RollingUpdate", "rollingUpdate": object{"maxSurge": "25%", "maxUnavailable": "25%"}}, "template": object{
			"metadata": object{"labels": object{"app": "web"}}, "spec": object{"containers": []any{object{"name": "web", "image": "example.com/web:1"}}}}},
		"status": object{"replicas": 2, "readyReplicas": 2, "updatedReplicas": 2, "availableReplicas": 2}})
	for i := range pods {
		f.put("api/v1/pods", pod("default", fmt.Sprintf("web-%04d", i), "example.com/web:1", object{"app": "web"}))
	}
	f.put("api/v1/services", object{"metadata": object{"name": "web", "namespace": "default"}, "spec": object{"type": "ClusterIP", "clusterIP": "10.96.0.9", "selector": object{"app": "web"}, "ports": []any{object{"port": 80, "targetPort": 80, "protocol": "TCP"}}}, "status": object{"loadBalancer": object{}}})
	f.put("api/v1/configmaps", object{"metadata": object{"name": "settings", "namespace": "default"}, "data": object{"colour": "green"}})
	f.put("api/v1/replicationcontrollers", object{"metadata": object{"name": "old", "namespace": "default"}, "spec": object{"replicas": 1, "selector": object{"app": "old"}, "template": object{
		"metadata": object{"labels": object{"app": "old"}}, "spec": object{"containers": []any{object{"name": "old", "image": "example.com/old:1"}}}}}, "status": object{"replicas": 1, "readyReplicas": 1}})
}

func pod(namespace, name, image string, labels object) object {
	return object{
		"metadata": object{"name": name, "namespace": namespace, "labels": labels},
		"spec":     object{"nodeName": "skiff", "containers": []any{object{"name": "main", "image": image, "ports": []any{object{"containerPort": 80, "protocol": "TCP"}}}}},
		"status": object{"phase": "Running", "podIP": "10.244.0.9", "hostIP": "192.168.127.2", "startTime": "2031-05-04T12:00:00Z", "conditions": []any{object{"type": "Ready", "status": "True"}},
			"containerStatuses": []any{object{"name": "main", "ready": true, "restartCount": 0, "image": image, "imageID": "", "state": object{"running": object{"startedAt": "2031-05-04T12:00:00Z"}}}}},
	}
}
