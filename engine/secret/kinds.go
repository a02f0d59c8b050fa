package secret

// kinds group rules of gitleaks that are about one kind of credential; the kind
// of any other rule is its id.
var kinds = map[string]string{
	"aws-access-token":           "aws-access-key-id",
	"gcp-api-key":                "google-api-key",
	"github-app-token":           "github-token",
	"github-fine-grained-pat":    "github-token",
	"github-oauth":               "github-token",
	"github-pat":                 "github-token",
	"github-refresh-token":       "github-token",
	"gitlab-deploy-token":        "gitlab-token",
	"gitlab-pat":                 "gitlab-token",
	"gitlab-pat-routable":        "gitlab-token",
	"gitlab-ptt":                 "gitlab-token",
	"gitlab-rrt":                 "gitlab-token",
	"npm-access-token":           "npm-token",
	"pypi-upload-token":          "pypi-token",
	"sendgrid-api-token":         "sendgrid-key",
	"slack-bot-token":            "slack-bot-token",
	"slack-legacy-bot-token":     "slack-bot-token",
	"slack-legacy-token":         "slack-user-token",
	"stripe-access-token":        "stripe-secret-key",
	"generic-api-key":            "generic-secret",
	"curl-auth-header":           "generic-secret",
	"curl-auth-user":             "generic-secret",
	"kubernetes-secret-yaml":     "kubernetes-secret",
	"vault-service-token":        "vault-token",
	"vault-batch-token":          "vault-token",
	"openshift-user-token":       "openshift-token",
	"digitalocean-pat":           "digitalocean-token",
	"digitalocean-access-token":  "digitalocean-token",
	"digitalocean-refresh-token": "digitalocean-token",
}

func kindOf(id string) string {
	if kind := kinds[id]; kind != "" {
		return kind
	}
	return id
}
