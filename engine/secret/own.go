package secret

import (
	"encoding/base64"
	"strings"
)

// leftOut are gitleaks' rules that are not used, and why.
var leftOut = map[string]string{
	"pkcs12-file": "a rule about a file's name alone: it says nothing about content, and is true of every trust store",
}

// ownRule is a rule that gitleaks does not have.
type ownRule struct {
	tomlRule
	kind  string
	check func(secret string) bool
	pre   func(text []byte, stop int) bool
	guess bool // another rule that finds the same secret says more about it
}

// ownRules are about files in which tools keep credentials, and values that
// gitleaks' general rule takes for harmless.
var ownRules = []ownRule{
	{tomlRule: tomlRule{
		ID: "aws-secret-access-key", Description: "A secret access key of AWS, with which whoever has it acts as its owner.",
		Regex:    `(?i)(?:aws_?)?secret_?(?:access)?_?key["']?[ \t]{0,8}(?:=>|[:=])[ \t]{0,8}["']?([A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+=]|$)`,
		Keywords: []string{"secret_access_key", "secretaccesskey", "aws_secret", "awssecret", "secretkey"}, Entropy: 4,
	}, kind: "aws-secret-access-key"},
	{tomlRule: tomlRule{
		ID: "url-password", Description: "A password in the address of a database or service.",
		Regex:    `\b[a-zA-Z][a-zA-Z0-9+.-]{1,20}://[^\s:/?#@"'<>` + "`" + `]{0,64}:((?:[^\s:/@"'<>` + "`" + `{}$%]|%[0-9a-fA-F]{2}){3,128})@[a-zA-Z0-9\[]`,
		Keywords: []string{"://"}, Entropy: 2.5,
	}, kind: "password-in-url", pre: mayBeLogin},
	{tomlRule: tomlRule{
		ID: "docker-config-auth", Description: "The password of a container registry, in Docker's configuration.",
		Regex:    `"auth"\s{0,8}:\s{0,8}"([A-Za-z0-9+/]{8,1000}={0,2})"`,
		Keywords: []string{`"auth"`},
	}, kind: "docker-config-auth", check: isBasicAuth},
	{tomlRule: tomlRule{
		ID: "kubeconfig-token", Description: "A token for a Kubernetes cluster, in a kubeconfig.",
		Regex:    `(?m)^[ \t]{0,32}token:[ \t]{1,8}["']?([A-Za-z0-9_.-]{20,})["']?[ \t]*$`,
		Path:     `(?:^|/)(?:\.?kube/config|[^/]*kubeconfig[^/]*|kubernetes/[a-z-]+\.conf|k3s\.yaml)$`,
		Keywords: []string{"token:"}, Entropy: 3,
	}, kind: "kubeconfig-token"},
	{tomlRule: tomlRule{
		ID: "kubeconfig-key", Description: "A private key for a Kubernetes cluster, in a kubeconfig.",
		Regex:    `client-key-data:[ \t]{1,8}["']?([A-Za-z0-9+/]{100,}={0,2})`,
		Keywords: []string{"client-key-data"},
	}, kind: "private-key"},
	{tomlRule: tomlRule{
		ID: "netrc-password", Description: "A password for a host, in a .netrc.",
		Regex:    `machine\s{1,8}\S{1,256}\s{1,8}(?:login\s{1,8}\S{1,256}\s{1,8})?password\s{1,8}(\S{3,256})`,
		Path:     `(?:^|/)[._]netrc$`,
		Keywords: []string{"machine"},
	}, kind: "netrc-password"},
	{tomlRule: tomlRule{
		ID: "gcp-service-account", Description: "The key of a service account of Google Cloud.",
		Regex:    `"private_key"\s{0,8}:\s{0,8}"(-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----[^"]{64,})"`,
		Keywords: []string{`"private_key"`},
	}, kind: "gcp-service-account"},
	{tomlRule: tomlRule{
		ID: "npmrc-password", Description: "A password or token for an npm registry, in an .npmrc.",
		Regex:    `(?m)^[^\s#;]{0,256}:?_(?:authToken|auth|password)[ \t]{0,8}=[ \t]{0,8}["']?([^\s"'${}]{8,512})`,
		Path:     `(?:^|/)\.npmrc$`,
		Keywords: []string{"_authtoken", "_auth", "_password"}, Entropy: 3,
	}, kind: "npm-token", guess: true},
	{tomlRule: tomlRule{
		ID: "pypirc-password", Description: "A password or token for a Python package index, in a .pypirc.",
		Regex:    `(?m)^[ \t]{0,32}password[ \t]{0,8}[=:][ \t]{0,8}([^\s%${}]{6,512})`,
		Path:     `(?:^|/)\.pypirc$`,
		Keywords: []string{"password"}, Entropy: 2.5,
	}, kind: "pypi-token", guess: true},
}

// isBasicAuth reports whether a text is "user:password" in base64.
func isBasicAuth(secret string) bool {
	raw, err := base64.StdEncoding.DecodeString(secret)
	if err != nil {
		raw, err = base64.RawStdEncoding.DecodeString(strings.TrimRight(secret, "="))
	}
	if err != nil {
		return false
	}
	_, password, ok := strings.Cut(string(raw), ":")
	return ok && len(password) > 2 && !strings.ContainsFunc(string(raw), func(r rune) bool { return r < ' ' || r > '~' })
}

// longestLogin is how long "user:password" may be in an address, in bytes.
const longestLogin = 4 * (64 + 1 + 128)

// mayBeLogin reports whether an address goes on with "user:password@".
func mayBeLogin(text []byte, stop int) bool {
	colon := false
	for _, c := range text[stop:min(stop+longestLogin, len(text))] {
		switch {
		case c == '@':
			return colon
		case c == ':':
			colon = true
		case c <= ' ' || c == '/' || c == '"' || c == '\'' || c == '<' || c == '>':
			return false
		}
	}
	return false
}
