package main_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"

	"github.com/pratique/pratique/internal/clients"
	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
)

// TestClusterCommands: what clusters have told is shown, and what is wrong is not
// taken.
func TestClusterCommands(t *testing.T) {
	url := openAPI(t, nil)
	shows := func(args []string, want ...string) {
		t.Helper()
		stdout, stderr, code := pratique(t, args...)
		for _, text := range want {
			if code != 0 || !strings.Contains(stdout, text) {
				t.Errorf("%v: exit %d, want %q in\n%s%s", args, code, text, stdout, stderr)
			}
		}
	}
	shows([]string{"exceptions", "list"}, "no cluster has exceptions")
	shows([]string{"running"}, "no cluster has told what runs")
	put := func(path, body string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url+"/v1/pratique/"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	good := `{"id":"ssl","owner":"team app","reason":"not reachable from outside","expires":"2999-01-01T00:00:00Z","scope":{"images":["*/team/app","docker.io/x"],"namespaces":["shop"],"pulls":true},"findings":[{"trigger_id":"CVE-2025-15467"}]}`
	over := strings.NewReplacer("2999", "1999", `"ssl"`, `"old"`).Replace(good)
	for body, want := range map[string]int{"[" + good + "," + over + "]": 200, "[" + good + "," + good + "]": 400, "[{}]": 400, "{": 400} {
		if code := put("exceptions/prod", body); code != want {
			t.Errorf("%s: HTTP %d, want %d", body, code, want)
		}
	}
	shows([]string{"exceptions", "list"}, "prod/ssl", "active", "*/team/app (+1) in shop, and pulls", "CVE-2025-15467", "team app", "prod/old", "expired")
	shows([]string{"exceptions", "list", "--format", "json"}, `"hold"`, `"prod/ssl"`)
	runs := `{"cluster":"prod","at":"2026-01-01T00:00:00Z","pods":3,"more":7,"images":[
		{"namespace":"shop","reference":"docker.io/library/nginx:1","digest":"sha256:aaaabbbbccccdddd","standing":{"state":"fail","message":"CVE-1"},"pods":2,"admission":"other","workloads":[{"kind":"Deployment","name":"web"},{"kind":"Job","name":"x"}]},
		{"namespace":"bank","reference":"quay.io/app:2","standing":{},"pods":1}]}`
	if code := put("running/prod", runs); code != 200 {
		t.Errorf("what runs: HTTP %d", code)
	}
	shows([]string{"running"}, "cluster prod, 3 pods", "FAIL", "other", "docker.io/library/nginx:1", "Deployment web (+1)", "NEW", "quay.io/app:2", "and 7 more")
	shows([]string{"running", "--state", "pass"}, "no image stands like that")
	shows([]string{"running", "--cluster", "test"}, "no cluster has told")
}

var imageExceptions = schema.GroupVersionResource{Group: "pratique.io", Version: "v1alpha1", Resource: "imageexceptions"}

// liveCluster is a real API server, and admission that knows it.
type liveCluster struct {
	t       *testing.T
	client  kubernetes.Interface
	dynamic dynamic.Interface
	config  string // kubeconfig
}

func newLiveCluster(t *testing.T) *liveCluster {
	t.Helper()
	server := clients.Kubernetes(t)
	cfg := &rest.Config{Host: server.URL, BearerToken: server.AdminToken(), TLSClientConfig: rest.TLSClientConfig{CAData: server.CA}}
	k := &liveCluster{t: t, client: kubernetes.NewForConfigOrDie(cfg), dynamic: dynamic.NewForConfigOrDie(cfg), config: filepath.Join(t.TempDir(), "kubeconfig")}
	file := clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"c": {Server: server.URL, CertificateAuthorityData: server.CA}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"u": {Token: server.AdminToken()}},
		Contexts:       map[string]*clientcmdapi.Context{"x": {Cluster: "c", AuthInfo: "u"}},
		CurrentContext: "x",
	}
	if err := clientcmd.WriteToFile(file, k.config); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"pratique", "shop"} {
		if _, err := k.client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile("../../deploy/helm/pratique/crds/imageexceptions.yaml")
	if err != nil {
		t.Fatal(err)
	}
	k.create(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}, string(raw))
	return k
}

// create makes a cluster-wide object, as soon as the cluster knows its kind.
func (k *liveCluster) create(resource schema.GroupVersionResource, text string) {
	k.t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
		k.t.Fatal(err)
	}
	k.until("made", func() error {
		_, err := k.dynamic.Resource(resource).Create(k.t.Context(), o, metav1.CreateOptions{})
		return err
	})
}

func (k *liveCluster) until(what string, do func() error) {
	k.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		err := do()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			k.t.Fatalf("not %s: %v", what, err)
		}
	}
}

// runs makes a pod that runs, as a node would report it.
func (k *liveCluster) runs(image, imageID string) {
	k.t.Helper()
	pods := k.client.CoreV1().Pods("shop")
	pod, err := pods.Create(k.t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: image}}}}, metav1.CreateOptions{})
	if err == nil {
		pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{Name: "c", Image: image, ImageID: imageID}}}
		_, err = pods.UpdateStatus(k.t.Context(), pod, metav1.UpdateOptions{})
	}
	if err != nil {
		k.t.Fatal(err)
	}
}

// TestExceptionsOfALiveCluster: an ImageException lets a refused image into its
// namespace within seconds, says so, and no longer when it is deleted; and what
// runs is seen beside what was admitted. Serve, admission, Redis and API server
// are processes of their own.
func TestExceptionsOfALiveCluster(t *testing.T) {
	k := newLiveCluster(t)
	redis := clients.Redis(t)
	dir := filepath.Join(t.TempDir(), "data")
	gatetest.WriteData(t, dir, 1, gatetest.Advisories())
	shared := []string{"--set", "redis.url=redis://" + redis.Addr, "--set", "feeds.sources=[]"}
	s := serve(t, dir, shared...)
	h := startHook(t, append(shared, "--set", "admission.resolver.plain_hosts=["+s.registry+"]", "--set", "admission.resolver.allow_hosts=[127.0.0.1]",
		"--set", "admission.kubernetes.kubeconfig="+k.config, "--set", "admission.kubernetes.leader.namespace=pratique", "--set", "admission.cluster=prod")...)
	bad := imagetest.Vulnerable()
	r := imagetest.Registry{URL: "http://" + s.registry, Header: s.token("team/app")}
	if err := r.Push(t.Context(), "team/app", "1", bad); err != nil {
		t.Fatal(err)
	}
	name := s.registry + "/team/app:1"
	h.within(20*time.Second, name, denied)

	k.create(imageExceptions, fmt.Sprintf(`{apiVersion: pratique.io/v1alpha1, kind: ImageException, metadata: {name: ssl}, spec: {owner: team app, reason: not reachable from outside,
		expires: %q, scope: {images: ["*/team/app"], namespaces: [shop]}, findings: [{triggerID: CVE-2025-15467}]}}`, time.Now().Add(48*time.Hour).UTC().Format(time.RFC3339)))
	t.Logf("admitted %v after the exception was made", h.within(40*time.Second, name, admitted))
	stdout, stderr, code := pratique(t, "exceptions", "list", "--url", s.api)
	if code != 0 || !strings.Contains(stdout, "prod/ssl") || !strings.Contains(stdout, "active") {
		t.Errorf("exceptions list: %d\n%s%s", code, stdout, stderr)
	}
	k.until("marked as active", func() error {
		o, err := k.dynamic.Resource(imageExceptions).Get(context.WithoutCancel(t.Context()), "ssl", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if state, _, _ := unstructured.NestedString(o.Object, "status", "state"); state != "Active" {
			return errors.New("state " + state)
		}
		return nil
	})
	k.runs(name, s.registry+"/team/app@"+bad.Digest().String())
	k.until("seen to run as it was admitted", func() error {
		stdout, _, _ := pratique(t, "running", "--url", s.api, "--cluster", "prod")
		if !strings.Contains(stdout, "PASS") || !strings.Contains(stdout, "admitted") || !strings.Contains(stdout, "Pod web") {
			return errors.New(stdout)
		}
		return nil
	})
	if err := k.dynamic.Resource(imageExceptions).Delete(t.Context(), "ssl", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Logf("refused %v after the exception was deleted", h.within(40*time.Second, name, denied))
	k.until("seen to run although it is refused", func() error {
		stdout, _, _ := pratique(t, "running", "--url", s.api, "--state", "fail")
		if !strings.Contains(stdout, "FAIL") {
			return errors.New(stdout)
		}
		return nil
	})
}
