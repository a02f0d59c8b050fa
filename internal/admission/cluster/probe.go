package cluster

import (
	"context"
	"encoding/pem"
	"fmt"
	"net/http"
	"strings"
	"sync"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Probe asks a cluster what it would do with an image, and changes nothing. It is not
// safe for concurrent use.
type Probe struct {
	client kubernetes.Interface
	heard  *heard
}

// NewProbe is a probe of the cluster that Connect finds; nil where there is none.
func NewProbe(kubeconfig string) (*Probe, error) {
	config, err := restConfig(kubeconfig)
	if config == nil || err != nil {
		return nil, err
	}
	p := &Probe{heard: &heard{}}
	config.WarningHandler = p.heard
	if p.client, err = kubernetes.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("find the cluster: %w", err)
	}
	return p, nil
}

// Registration is a webhook of ours that API servers know.
type Registration struct {
	Kind, Configuration, Webhook string
	// Ignored: what the webhook cannot answer for, is let in (failurePolicy Ignore).
	Ignored bool
	// Trusted: there is an authority for its certificate, or it needs none.
	Trusted bool
}

// ours ends the names of Pratique's webhooks.
const ours = ".pratique.io"

// Registrations lists the webhooks of Pratique.
func (p *Probe) Registrations(ctx context.Context) ([]Registration, error) {
	validating, err := p.client.AdmissionregistrationV1().ValidatingWebhookConfigurations().List(ctx, metav1.ListOptions{Limit: 500})
	if err != nil {
		return nil, fmt.Errorf("list validating webhooks: %w", err)
	}
	mutating, err := p.client.AdmissionregistrationV1().MutatingWebhookConfigurations().List(ctx, metav1.ListOptions{Limit: 500})
	if err != nil {
		return nil, fmt.Errorf("list mutating webhooks: %w", err)
	}
	var found []Registration
	add := func(kind, configuration, webhook string, policy *admissionv1.FailurePolicyType, c admissionv1.WebhookClientConfig) {
		if strings.HasSuffix(webhook, ours) {
			block, _ := pem.Decode(c.CABundle)
			found = append(found, Registration{
				Kind: kind, Configuration: configuration, Webhook: webhook,
				Ignored: policy != nil && *policy == admissionv1.Ignore, Trusted: block != nil || c.Service == nil && len(c.CABundle) == 0,
			})
		}
	}
	for _, configuration := range validating.Items {
		for _, w := range configuration.Webhooks {
			add("validating", configuration.Name, w.Name, w.FailurePolicy, w.ClientConfig)
		}
	}
	for _, configuration := range mutating.Items {
		for _, w := range configuration.Webhooks {
			add("mutating", configuration.Name, w.Name, w.FailurePolicy, w.ClientConfig)
		}
	}
	return found, nil
}

// Trial is what an API server said of a Pod.
type Trial struct {
	Admitted bool
	// Message is why it was not.
	Message  string
	Warnings []string
}

// Try has the API server make a Pod of the image, as a dry run: it asks its webhooks and
// stores nothing. An error means that it could not be asked.
func (p *Probe) Try(ctx context.Context, namespace, image string) (Trial, error) {
	p.heard.take()
	_, err := p.client.CoreV1().Pods(namespace).Create(ctx, trialPod(image), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	t := Trial{Admitted: err == nil, Warnings: p.heard.take()}
	if err == nil {
		return t, nil
	}
	t.Message = err.Error()
	status, ok := err.(apierrors.APIStatus)
	if !ok || status.Status().Code == http.StatusUnauthorized || strings.Contains(t.Message, "cannot create resource") {
		return t, fmt.Errorf("make a pod: %w", err)
	}
	return t, nil
}

// trialPod is a Pod that the strictest standard for Pods and usual quotas allow.
func trialPod(image string) *corev1.Pod {
	yes, no := true, false
	amounts := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("16Mi")}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "pratique-doctor-"},
		Spec: corev1.PodSpec{
			AutomountServiceAccountToken: &no,
			SecurityContext:              &corev1.PodSecurityContext{RunAsNonRoot: &yes, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
			Containers: []corev1.Container{{
				Name: "image", Image: image,
				Resources:       corev1.ResourceRequirements{Requests: amounts, Limits: amounts},
				SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: &no, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}},
			}},
		},
	}
}

// heard keeps the warnings of an API server. It is safe for concurrent use, as
// client-go wants it.
type heard struct {
	mu  sync.Mutex
	all []string
}

var _ rest.WarningHandler = (*heard)(nil)

// HandleWarningHeader is part of rest.WarningHandler.
func (h *heard) HandleWarningHeader(_ int, _, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, text)
}

func (h *heard) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := h.all
	h.all = nil
	return all
}
