package cluster_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/pratique/pratique/internal/admission/cluster"
)

func TestConnect(t *testing.T) {
	s := newStandin(t, "namespaces")
	s.put("/api/v1/namespaces/shop", namespace(nil))
	cfg := clientcmdapi.NewConfig()
	cfg.Clusters["c"] = &clientcmdapi.Cluster{Server: s.server.URL, CertificateAuthorityData: pemOf(s.server.Certificate())}
	cfg.Contexts["c"] = &clientcmdapi.Context{Cluster: "c", Namespace: "pratique"}
	cfg.CurrentContext = "c"
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*cfg, file); err != nil {
		t.Fatal(err)
	}
	c, err := cluster.Connect(file)
	if err != nil {
		t.Fatal(err)
	}
	if c.Name == "" || c.Dynamic == nil {
		t.Errorf("%+v", c)
	}
	if _, err := c.Client.CoreV1().Namespaces().Get(t.Context(), "gone", metav1.GetOptions{}); err == nil || !strings.Contains(err.Error(), "404") {
		t.Error(err)
	}
}

func TestConnectOutsideOfACluster(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	if c, err := cluster.Connect(""); c != nil || err != nil {
		t.Errorf("connected to nothing: %+v, %v", c, err)
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, []byte("nonsense: ["), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := cluster.Connect(file); err == nil {
		t.Error("connected by nonsense")
	}
}
