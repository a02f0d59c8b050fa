package main_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/gatetest"
	"github.com/pratique/pratique/internal/imagetest"
)

// as gives a kubeconfig of somebody who may use the verbs, on anything.
func (k *liveCluster) as(user string, verbs ...string) (config string) {
	k.t.Helper()
	file, err := clientcmd.LoadFromFile(k.config)
	if err != nil {
		k.t.Fatal(err)
	}
	file.AuthInfos["u"].Impersonate = user
	config = filepath.Join(k.t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*file, config); err != nil {
		k.t.Fatal(err)
	}
	k.grant(user, verbs...)
	return config
}

func (k *liveCluster) grant(user string, verbs ...string) {
	k.t.Helper()
	name := user + "-" + strings.Join(verbs, "-")
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: verbs}}}
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects: []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: user}}}
	_, err := k.client.RbacV1().ClusterRoles().Create(k.t.Context(), role, metav1.CreateOptions{})
	if err == nil {
		_, err = k.client.RbacV1().ClusterRoleBindings().Create(k.t.Context(), binding, metav1.CreateOptions{})
	}
	if err != nil {
		k.t.Fatal(err)
	}
}

// register has the webhook asked about the pods of the namespace shop. Its
// authority is for the webhook to write.
func (k *liveCluster) register() {
	k.t.Helper()
	url, none, fail := "https://localhost:1/validate", admissionv1.SideEffectClassNoneOnDryRun, admissionv1.Fail
	hook := admissionv1.ValidatingWebhook{
		Name: "validate.pratique.io", ClientConfig: admissionv1.WebhookClientConfig{URL: &url}, SideEffects: &none, FailurePolicy: &fail, AdmissionReviewVersions: []string{"v1"},
		Rules: []admissionv1.RuleWithOperations{{Operations: []admissionv1.OperationType{admissionv1.Create},
			Rule: admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}}}},
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: "shop"}},
	}
	configuration := &admissionv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "pratique"}, Webhooks: []admissionv1.ValidatingWebhook{hook}}
	if _, err := k.client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(k.t.Context(), configuration, metav1.CreateOptions{}); err != nil {
		k.t.Fatal(err)
	}
}

func (k *liveCluster) joins(node, architecture string) {
	k.t.Helper()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}, Status: corev1.NodeStatus{NodeInfo: corev1.NodeSystemInfo{OperatingSystem: "linux", Architecture: architecture}}}
	if _, err := k.client.CoreV1().Nodes().Create(k.t.Context(), n, metav1.CreateOptions{}); err != nil {
		k.t.Fatal(err)
	}
}

// creates asks for a pod of the image until that ends as it should: refused by
// policy, or not.
func (k *liveCluster) creates(name string, refused bool) {
	k.t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "web-"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: name}}}}
	k.until(fmt.Sprintf("%s refused: %v", name, refused), func() error {
		_, err := k.client.CoreV1().Pods("shop").Create(k.t.Context(), pod, metav1.CreateOptions{})
		switch {
		case refused && err == nil:
			return errors.New("it is made")
		case refused && apierrors.IsForbidden(err) && strings.Contains(err.Error(), "CVE-2025-15467"):
			return nil
		}
		return err
	})
}

// TestWebhookOfALiveCluster: from the start to a refusal, with a certificate that
// the webhook makes and that the API server trusts because of nothing else; ready
// when that is so, and not before. Of an image for several platforms those of the
// nodes count, at once. The doctor sees that all is well, and when nobody asks.
func TestWebhookOfALiveCluster(t *testing.T) {
	k := newLiveCluster(t)
	k.register()
	k.joins("a", "amd64")
	config := k.as("pratique", "get", "list", "watch", "create", "update")
	dir := filepath.Join(t.TempDir(), "data")
	gatetest.WriteData(t, dir, 1, gatetest.Advisories())
	at := "admission.kubernetes.certificates."
	s := serve(t, dir, "--set", "feeds.sources=[]", "--set", "admission.enabled=true", "--set", "admission.listen=127.0.0.1:0", "--set", "admission.shutdown_delay=0s",
		"--set", "admission.kubernetes.kubeconfig="+config, "--set", at+"namespace=pratique", "--set", at+"service=pratique", "--set", at+"secret=pratique-tls", "--set", at+"names=[localhost]", "--set", at+"validating=[pratique]", "--set", at+"mutating=[]",
		"--set", "admission.kubernetes.leader.namespace=pratique", "--set", "admission.kubernetes.exceptions.enabled=false")
	m := webhookAddress.FindStringSubmatch(s.log.String())
	if m == nil {
		t.Fatalf("serve does not say where the webhook is\n%s", s.log)
	}
	k.until("told why it is not ready", func() error {
		return k.readiness(m[1], http.StatusServiceUnavailable, "authority")
	})
	k.grant("pratique", "patch")
	k.until("ready", func() error { return k.readiness(m[1], http.StatusOK, "ok") })

	_, port, _ := strings.Cut(m[1], ":")
	patch := fmt.Sprintf(`[{"op": "replace", "path": "/webhooks/0/clientConfig/url", "value": "https://localhost:%s/validate"}]`, port)
	if _, err := k.client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Patch(t.Context(), "pratique", types.JSONPatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	amd := imagetest.BuildFor(image.Platform{OS: "linux", Architecture: "amd64"}, imagetest.Gzip(imagetest.Alpine([]imagetest.Apk{imagetest.GoodSSL})...))
	arm := imagetest.BuildFor(image.Platform{OS: "linux", Architecture: "arm64"}, imagetest.Gzip(imagetest.Alpine([]imagetest.Apk{imagetest.VulnerableSSL})...))
	r := imagetest.Registry{URL: "http://" + s.registry, Header: s.token("team/app")}
	if err := errors.Join(r.Push(t.Context(), "team/app", "bad", arm), r.PushIndex(t.Context(), "team/app", "both", imagetest.BuildIndex(amd, arm))); err != nil {
		t.Fatal(err)
	}
	name := s.registry + "/team/app:"
	k.creates(name+"bad", true)
	k.creates(name+"both", false)
	k.joins("b", "arm64")
	k.creates(name+"both", true)

	if err := r.Push(t.Context(), "team/app", "good", amd); err != nil {
		t.Fatal(err)
	}
	k.creates(name+"good", false)
	doctor := []string{"doctor", "--proxy", "http://" + s.registry, "--bad-image", name + "bad", "--good-image", name + "good", "--kubeconfig", k.config, "--namespace", "shop", "--skip-node"}
	if stdout, stderr, code := pratique(t, doctor...); code != 0 || strings.Contains(stdout, "failed  ") {
		t.Errorf("doctor: exit %d\n%s%s", code, stdout, stderr)
	}
	if err := k.client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(t.Context(), "pratique", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	k.creates(name+"bad", false)
	if stdout, _, code := pratique(t, doctor...); code != 1 || !strings.Contains(stdout, "failed") {
		t.Errorf("doctor, and nobody asks the webhook: exit %d\n%s", code, stdout)
	}
}

// readiness compares what the webhook says of itself.
func (k *liveCluster) readiness(address string, code int, says string) error {
	client := trusting(nil)
	client.Transport.(*http.Transport).TLSClientConfig.InsecureSkipVerify = true // whom to trust is what is being made
	defer client.CloseIdleConnections()
	res, err := client.Get("https://" + address + "/readyz")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && (res.StatusCode != code || !strings.Contains(string(text), says)) {
		err = fmt.Errorf("%d %s", res.StatusCode, text)
	}
	return err
}
