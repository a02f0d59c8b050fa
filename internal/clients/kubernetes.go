package clients

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// SuiteKubernetes is a real kube-apiserver with its etcd. Debian has no package
// of the former, and to build it takes minutes and memory that not every machine
// has: tests find both by the environment, and "all" does not mean this suite.
const SuiteKubernetes = "kubernetes"

// The environment variables that name the two programs; others who test against
// an API server use the same.
const (
	apiServerEnv = "TEST_ASSET_KUBE_APISERVER"
	etcdEnv      = "TEST_ASSET_ETCD"
)

// adminUser may do everything.
const adminUser = "admin"

// APIServer is a kube-apiserver with an etcd of its own and no controllers: a
// Deployment makes no pods, and a pod runs nowhere. It looks at rights (RBAC);
// service accounts are not demanded of pods.
type APIServer struct {
	// URL is https, on loopback.
	URL string
	// CA is its certificate, PEM.
	CA []byte

	dir string
}

// Kubernetes starts an API server. The users have no rights but those that the
// test gives them. It runs as any user.
func Kubernetes(t testing.TB, users ...string) *APIServer {
	t.Helper()
	server, etcd := os.Getenv(apiServerEnv), os.Getenv(etcdEnv)
	if server == "" || etcd == "" {
		Skip(t, SuiteKubernetes, apiServerEnv+" and "+etcdEnv+" do not both name a program (see CONTRIBUTING.md)")
	}
	a := &APIServer{dir: tempDir(t), URL: "https://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(t)))}
	a.prepare(t, users)
	store := startEtcd(t, etcd, a.dir)
	cmd := exec.Command(server, a.flags(store)...)
	cmd.Env = environ(a.dir)
	launch(t, cmd, filepath.Join(a.dir, "apiserver.log"), a.ready)
	return a
}

// Token is what a user shows; AdminToken the one who may do everything.
func (a *APIServer) Token(user string) string { return user + "-token" }

// AdminToken is shown by who may do everything.
func (a *APIServer) AdminToken() string { return a.Token(adminUser) }

func startEtcd(t testing.TB, program, dir string) (address string) {
	t.Helper()
	address = "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(t)))
	peer := "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(t)))
	cmd := exec.Command(program, "--data-dir", filepath.Join(dir, "etcd"), "--unsafe-no-fsync",
		"--listen-client-urls", address, "--advertise-client-urls", address,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer)
	cmd.Env = environ(dir)
	launch(t, cmd, filepath.Join(dir, "etcd.log"), func() error { return get(http.DefaultClient, address+"/health", "") })
	return address
}

// prepare writes what the API server reads: who there is, and the key that it
// signs service accounts' tokens with.
func (a *APIServer) prepare(t testing.TB, users []string) {
	t.Helper()
	rows := []string{fmt.Sprintf("%s,%s,%s,system:masters", a.AdminToken(), adminUser, adminUser)}
	for _, user := range users {
		rows = append(rows, fmt.Sprintf("%s,%s,%s", a.Token(user), user, user))
	}
	writeFile(t, filepath.Join(a.dir, "tokens.csv"), strings.Join(rows, "\n")+"\n")
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"sa.key": {Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)},
		"sa.pub": {Type: "PUBLIC KEY", Bytes: public},
	} {
		writeFile(t, filepath.Join(a.dir, name), string(pem.EncodeToMemory(block)))
	}
}

func (a *APIServer) flags(store string) []string {
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(a.URL, "https://"))
	in := func(name string) string { return filepath.Join(a.dir, name) }
	return []string{
		"--etcd-servers=" + store, "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--secure-port=" + port,
		"--cert-dir=" + a.dir, "--token-auth-file=" + in("tokens.csv"), "--authorization-mode=RBAC",
		"--service-account-issuer=" + a.URL, "--service-account-key-file=" + in("sa.pub"),
		"--service-account-signing-key-file=" + in("sa.key"), "--service-cluster-ip-range=10.0.0.0/24",
		"--disable-admission-plugins=ServiceAccount", "--endpoint-reconciler-type=none",
	}
}

// ready reads the certificate that the API server has made for itself, and asks.
func (a *APIServer) ready() error {
	ca, err := os.ReadFile(filepath.Join(a.dir, "apiserver.crt"))
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return fmt.Errorf("the certificate is not whole")
	}
	a.CA = ca
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	return get(&http.Client{Transport: transport, Timeout: 5 * time.Second}, a.URL+"/readyz", a.AdminToken())
}

func get(client *http.Client, address, token string) error {
	req, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", address, resp.Status)
	}
	return nil
}
