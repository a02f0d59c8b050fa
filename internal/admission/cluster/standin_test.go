package cluster_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// standin is an API server for tests, over TLS. Unlike client-go's fakes it has
// resource versions that conflict, patches that test, watches that begin where a
// list ended, and rights: a request that the package's table does not grant is
// refused, and fails the test.
type standin struct {
	t      *testing.T
	server *httptest.Server
	rights rights

	mu      sync.Mutex
	version int
	objects map[string]object // by path
	log     []change
	changed chan struct{}            // closed at the next change
	term    int                      // a watch ends when it is over
	before  func(verb string, a ask) // called before a request is carried out; may be nil
	refuse  func(verb string, a ask) int
	calls   []string
}

type object = map[string]any

type change struct {
	version int
	kind    string // ADDED, MODIFIED, DELETED
	path    string
	ask     ask
	object  object
}

// ask is what the path of a request names.
type ask struct{ group, version, namespace, resource, name, sub string }

// kinds of the resources, for lists.
var kinds = map[string]string{
	"secrets": "Secret", "namespaces": "Namespace", "serviceaccounts": "ServiceAccount", "pods": "Pod", "nodes": "Node", "events": "Event",
	"replicasets": "ReplicaSet", "jobs": "Job", "leases": "Lease", "policyreports": "PolicyReport", "reports": "Report",
	"imageexceptions":                 "ImageException",
	"validatingwebhookconfigurations": "ValidatingWebhookConfiguration", "mutatingwebhookconfigurations": "MutatingWebhookConfiguration",
}

func newStandin(t *testing.T, parts ...string) *standin {
	t.Helper()
	s := &standin{t: t, rights: granted(t, parts...), objects: map[string]object{}, changed: make(chan struct{})}
	s.server = httptest.NewTLSServer(http.HandlerFunc(s.serve))
	t.Cleanup(func() {
		s.mu.Lock()
		close(s.changed) // ends watches
		s.changed = nil
		s.mu.Unlock()
		s.server.CloseClientConnections()
		s.server.Close()
	})
	return s
}

func (s *standin) config() *rest.Config {
	return &rest.Config{Host: s.server.URL, TLSClientConfig: rest.TLSClientConfig{CAData: pemOf(s.server.Certificate())}, QPS: 1000, Burst: 1000,
		ContentConfig: rest.ContentConfig{ContentType: "application/json"}}
}

func (s *standin) client() kubernetes.Interface {
	s.t.Helper()
	c, err := kubernetes.NewForConfig(s.config())
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (s *standin) dynamic() dynamic.Interface {
	s.t.Helper()
	c, err := dynamic.NewForConfig(s.config())
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// put stores an object as an administrator would: at path, without asking for rights.
func (s *standin) put(path string, o any) {
	s.t.Helper()
	raw, err := json.Marshal(o)
	if err != nil {
		s.t.Fatal(err)
	}
	var decoded object
	if err := json.Unmarshal(raw, &decoded); err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a, _ := parsePath(path)
	m := metadata(decoded)
	if m["name"] == nil {
		m["name"] = a.name
	}
	if a.namespace != "" {
		m["namespace"] = a.namespace
	}
	if m["uid"] == nil {
		m["uid"] = "uid-of-" + a.name
	}
	decoded["apiVersion"], decoded["kind"] = strings.TrimPrefix(a.group+"/"+a.version, "/"), kinds[a.resource]
	s.store(path, a, decoded)
}

func (s *standin) remove(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, _ := parsePath(path)
	s.drop(path, a)
}

// endWatches breaks all watches off, as a restart does.
func (s *standin) endWatches() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.term++
	close(s.changed)
	s.changed = make(chan struct{})
}

// get returns a copy of an object, nil if it is not there.
func (s *standin) get(path string) object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.objects[path])
}

// under returns the objects whose paths have the prefix.
func (s *standin) under(prefix string) []object {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []object
	for _, path := range slices.Sorted(maps.Keys(s.objects)) {
		if strings.HasPrefix(path, prefix) {
			found = append(found, s.objects[path])
		}
	}
	return found
}

// count is how many requests began with the words, "create secrets".
func (s *standin) count(words string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, c := range s.calls {
		if c == words {
			n++
		}
	}
	return n
}

func metadata(o object) object {
	m, ok := o["metadata"].(object)
	if !ok {
		m = object{}
		o["metadata"] = m
	}
	return m
}

// store is called with the lock held.
func (s *standin) store(path string, a ask, o object) {
	kind := "MODIFIED"
	if s.objects[path] == nil {
		kind = "ADDED"
	}
	s.version++
	metadata(o)["resourceVersion"] = strconv.Itoa(s.version)
	s.objects[path] = o
	s.note(change{s.version, kind, path, a, o})
}

func (s *standin) drop(path string, a ask) {
	old := s.objects[path]
	if old == nil {
		return
	}
	delete(s.objects, path)
	s.version++
	gone := maps.Clone(old)
	gone["metadata"] = maps.Clone(metadata(old))
	metadata(gone)["resourceVersion"] = strconv.Itoa(s.version)
	s.note(change{s.version, "DELETED", path, a, gone})
}

func (s *standin) note(c change) {
	s.log = append(s.log, c)
	if s.changed != nil {
		close(s.changed)
		s.changed = make(chan struct{})
	}
}

func parsePath(path string) (a ask, ok bool) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case len(parts) > 2 && parts[0] == "api":
		a.version, parts = parts[1], parts[2:]
	case len(parts) > 3 && parts[0] == "apis":
		a.group, a.version, parts = parts[1], parts[2], parts[3:]
	default:
		return a, false
	}
	if parts[0] == "namespaces" && len(parts) > 2 {
		a.namespace, parts = parts[1], parts[2:]
	}
	a.resource = parts[0]
	if len(parts) > 1 {
		a.name = parts[1]
	}
	if len(parts) > 2 {
		a.sub = parts[2]
	}
	return a, true
}

func (s *standin) serve(w http.ResponseWriter, r *http.Request) {
	a, ok := parsePath(r.URL.Path)
	if !ok {
		s.discover(w, r)
		return
	}
	verb := verbOf(r, a)
	named := a
	if name, ok := strings.CutPrefix(r.URL.Query().Get("fieldSelector"), "metadata.name="); ok && a.name == "" {
		named.name = name
	}
	s.mu.Lock()
	s.calls = append(s.calls, strings.TrimSuffix(verb+" "+a.resource+"/"+a.sub, "/"))
	before, refuse := s.before, s.refuse
	s.mu.Unlock()
	if !s.rights.allow(verb, named) {
		s.t.Errorf("%s of %+v is not in the table of rights", verb, named)
		fail(w, http.StatusForbidden, "Forbidden")
		return
	}
	if before != nil {
		before(verb, a)
	}
	if refuse != nil {
		if code := refuse(verb, a); code != 0 {
			fail(w, code, "")
			return
		}
	}
	if verb == "watch" {
		s.watch(w, r, a)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		fail(w, http.StatusBadRequest, "BadRequest")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer(w, r, verb, a, body)
}

func verbOf(r *http.Request, a ask) string {
	switch {
	case r.Method == http.MethodPost:
		return "create"
	case r.Method == http.MethodPut:
		return "update"
	case r.Method == http.MethodPatch:
		return "patch"
	case r.Method == http.MethodDelete:
		return "delete"
	case r.URL.Query().Get("watch") != "":
		return "watch"
	case a.name == "":
		return "list"
	}
	return "get"
}

// answer carries a request out, with the lock held.
func (s *standin) answer(w http.ResponseWriter, r *http.Request, verb string, a ask, body []byte) {
	path := strings.TrimSuffix(r.URL.Path, "/status")
	switch verb {
	case "list":
		s.list(w, a, r.URL.Query().Get("fieldSelector"))
		return
	case "create":
		s.create(w, path, a, body)
		return
	}
	old := s.objects[path]
	if verb == "patch" && r.Header.Get("Content-Type") == "application/apply-patch+yaml" {
		s.apply(w, path, a, body)
		return
	}
	if old == nil {
		fail(w, http.StatusNotFound, "NotFound")
		return
	}
	switch verb {
	case "get":
		reply(w, http.StatusOK, old)
	case "update":
		var o object
		if json.Unmarshal(body, &o) != nil {
			fail(w, http.StatusBadRequest, "BadRequest")
		} else if v := metadata(o)["resourceVersion"]; v != nil && v != metadata(old)["resourceVersion"] {
			fail(w, http.StatusConflict, "Conflict")
		} else {
			s.store(path, a, o)
			reply(w, http.StatusOK, o)
		}
	case "patch":
		s.patch(w, r, a, old, body)
	case "delete":
		s.drop(path, a)
		reply(w, http.StatusOK, object{"kind": "Status", "apiVersion": "v1", "status": "Success"})
	}
}

func (s *standin) create(w http.ResponseWriter, path string, a ask, body []byte) {
	var o object
	if json.Unmarshal(body, &o) != nil {
		fail(w, http.StatusBadRequest, "BadRequest")
		return
	}
	if a.sub == "eviction" {
		s.drop(strings.TrimSuffix(path, "/eviction"), ask{version: "v1", namespace: a.namespace, resource: "pods", name: a.name})
		reply(w, http.StatusCreated, object{"kind": "Status", "apiVersion": "v1", "status": "Success"})
		return
	}
	name, _ := metadata(o)["name"].(string)
	path += "/" + name
	if s.objects[path] != nil {
		fail(w, http.StatusConflict, "AlreadyExists")
		return
	}
	a.name = name
	metadata(o)["uid"] = "uid-of-" + name
	s.store(path, a, o)
	reply(w, http.StatusCreated, o)
}

// apply takes what is sent as the whole of the object.
func (s *standin) apply(w http.ResponseWriter, path string, a ask, body []byte) {
	var o object
	if json.Unmarshal(body, &o) != nil {
		fail(w, http.StatusBadRequest, "BadRequest")
		return
	}
	s.store(path, a, o)
	reply(w, http.StatusOK, o)
}

func (s *standin) patch(w http.ResponseWriter, r *http.Request, a ask, old object, body []byte) {
	before, err := json.Marshal(old)
	if err == nil && r.Header.Get("Content-Type") == "application/json-patch+json" {
		var p jsonpatch.Patch
		if p, err = jsonpatch.DecodePatch(body); err == nil {
			before, err = p.Apply(before)
		}
	} else if err == nil {
		before, err = jsonpatch.MergePatch(before, body)
	}
	var o object
	if err != nil || json.Unmarshal(before, &o) != nil {
		fail(w, http.StatusUnprocessableEntity, "Invalid")
		return
	}
	s.store(strings.TrimSuffix(r.URL.Path, "/status"), a, o)
	reply(w, http.StatusOK, o)
}

func (s *standin) list(w http.ResponseWriter, a ask, selector string) {
	items := []object{}
	for _, path := range slices.Sorted(maps.Keys(s.objects)) {
		found, _ := parsePath(path)
		if among(found, a, selector) {
			items = append(items, s.objects[path])
		}
	}
	reply(w, http.StatusOK, object{"kind": kinds[a.resource] + "List", "apiVersion": strings.TrimPrefix(a.group+"/"+a.version, "/"),
		"metadata": object{"resourceVersion": strconv.Itoa(s.version)}, "items": items})
}

func among(found, wanted ask, selector string) bool {
	name, byName := strings.CutPrefix(selector, "metadata.name=")
	return found.group == wanted.group && found.resource == wanted.resource &&
		(wanted.namespace == "" || found.namespace == wanted.namespace) && (!byName || found.name == name)
}

// watch streams what has changed since the version that a list gave.
func (s *standin) watch(w http.ResponseWriter, r *http.Request, a ask) {
	q := r.URL.Query()
	if q.Get("sendInitialEvents") != "" {
		fail(w, http.StatusUnprocessableEntity, "Invalid")
		return
	}
	since, _ := strconv.Atoi(q.Get("resourceVersion"))
	w.Header().Set("Content-Type", "application/json")
	s.mu.Lock()
	term := s.term
	s.mu.Unlock()
	for sent := 0; ; {
		s.mu.Lock()
		changed, news, over := s.changed, s.log[sent:], s.term != term
		sent = len(s.log)
		s.mu.Unlock()
		for _, c := range news {
			if c.version > since && among(c.ask, a, q.Get("fieldSelector")) {
				_ = json.NewEncoder(w).Encode(object{"type": c.kind, "object": c.object})
			}
		}
		w.(http.Flusher).Flush()
		if changed == nil || over {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-changed:
		}
	}
}

// discover answers for the groups of reports, which are there when an object
// under crds says so.
func (s *standin) discover(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	known := s.objects["crds"+r.URL.Path]
	s.mu.Unlock()
	if known == nil {
		fail(w, http.StatusNotFound, "NotFound")
		return
	}
	reply(w, http.StatusOK, known)
}

// install makes a resource known to discovery.
func (s *standin) install(groupVersion, resource string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects["crds/apis/"+groupVersion] = object{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": groupVersion,
		"resources": []object{{"name": resource, "namespaced": true, "kind": kinds[resource], "verbs": []string{"get"}}}}
}

func reply(w http.ResponseWriter, code int, o object) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(o)
}

func fail(w http.ResponseWriter, code int, reason string) {
	reply(w, code, object{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
		"message": fmt.Sprintf("the stand-in says %d %s", code, reason)})
}
