package doctor

import (
	"context"
	"fmt"
	"strings"

	"github.com/pratique/pratique/internal/admission/cluster"
)

// denial is what API servers put before a refusal by a webhook of ours.
const denial = ".pratique.io\" denied the request: pratique: "

// checkCluster looks whether API servers ask the webhook, and what comes of it.
func (d *doctor) checkCluster(ctx context.Context) {
	if d.Cluster == nil {
		d.report.unasked("admission", "--kubeconfig FILE or --in-cluster asks the cluster, by a dry run")
		return
	}
	d.progress("asking the cluster")
	d.checkRegistrations(ctx)
	if d.bad == nil {
		d.report.gap("admission, bad image", "name one with --bad-image", "no image that has to be refused is named")
	} else {
		d.tryBad(ctx)
	}
	if d.good == nil {
		d.report.unasked("admission, good image", "--good-image names one that has to be let in")
	} else {
		d.tryGood(ctx)
	}
}

func (d *doctor) checkRegistrations(ctx context.Context) {
	const name = "admission, registered"
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	found, err := d.Cluster.Registrations(ctx)
	if err != nil {
		d.report.gap(name, "it takes the right to list validatingwebhookconfigurations and mutatingwebhookconfigurations", "%v", err)
		return
	}
	validates := false
	for _, r := range found {
		validates = validates || r.Kind == "validating"
		d.judgeRegistration(r)
	}
	if !validates {
		d.report.failed(name, "install the chart with admission.enabled, or put the registration back (helm get manifest ... | kubectl apply -f -)",
			"no validating webhook of Pratique is registered: API servers ask nobody")
	}
}

func (d *doctor) judgeRegistration(r cluster.Registration) {
	j := judgement{fine: fmt.Sprintf("%s in %s, failurePolicy Fail", r.Webhook, r.Configuration), next: "the webhook writes its authority there itself: look at its log, and at its right to patch the registration"}
	if !r.Trusted {
		j.problem("%s in %s has no caBundle: API servers cannot ask it", r.Webhook, r.Configuration)
	}
	if r.Ignored {
		j.fine = fmt.Sprintf("%s in %s, failurePolicy Ignore", r.Webhook, r.Configuration)
		j.note("while no replica answers, everything is let in: failurePolicy Fail (profile enforce) closes that")
	}
	d.report.judge("admission, "+r.Kind, j)
}

func (d *doctor) tryBad(ctx context.Context) {
	const name = "admission, bad image"
	t, err := d.try(ctx, d.bad)
	_, why, denied := strings.Cut(t.Message, denial)
	switch {
	case err != nil:
		d.report.gap(name, "it takes the right to create pods in the namespace "+d.Namespace, "%v", err)
	case t.Admitted && len(t.Warnings) > 0:
		d.report.failed(name, "the webhook observes: admission.enforce of the chart, dry_run and mode of selectors", "A POD WITH IT IS ADMITTED, with the warning %q", strings.Join(t.Warnings, "; "))
	case t.Admitted:
		d.report.failed(name, "is the namespace exempt (--namespace names another), or the registration for others alone?", "A POD WITH IT IS ADMITTED in the namespace %s", d.Namespace)
	case denied && strings.Contains(why, ": refused by policy"): // and not in the name of the image
		d.report.ok(name, "", "pratique: %s", why)
	case denied:
		d.report.gap(name, "ask again in a minute", "refused, but not by policy: %s", why)
	default:
		d.report.gap(name, "a refusal by somebody else proves nothing: mend that, or name another --namespace", "not admitted: %s", t.Message)
	}
}

func (d *doctor) tryGood(ctx context.Context) {
	const name = "admission, good image"
	t, err := d.try(ctx, d.good)
	switch {
	case err != nil:
		d.report.gap(name, "it takes the right to create pods in the namespace "+d.Namespace, "%v", err)
	case t.Admitted:
		d.report.ok(name, "", "a Pod with %s is admitted%s", d.good.pull, suffix(t.Warnings))
	case strings.Contains(t.Message, denial):
		d.report.failed(name, "the message says what has to change", "%s", t.Message)
	default:
		d.report.gap(name, "", "not admitted: %s", t.Message)
	}
}

func (d *doctor) try(ctx context.Context, n *named) (cluster.Trial, error) {
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	return d.Cluster.Try(ctx, d.Namespace, n.pull)
}

func suffix(warnings []string) string {
	if len(warnings) == 0 {
		return ""
	}
	return fmt.Sprintf(", with the warning %q", strings.Join(warnings, "; "))
}
