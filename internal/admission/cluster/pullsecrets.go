package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/internal/flight"
	"github.com/pratique/pratique/internal/lru"
)

// ErrPullSecret: a pull secret is there and cannot be read.
var ErrPullSecret = errors.New("pull secret cannot be read")

const (
	// secretTTL is how long what was read holds. A Deployment of many pods asks
	// for the same Secret once; one that is renewed counts within seconds.
	secretTTL = 10 * time.Second
	// maxSecrets bounds the pull secrets of one pod.
	maxSecrets = 32
	// maxSecretMemory bounds the logins that are kept, in bytes.
	maxSecretMemory = 8 << 20
)

// Puller is who pulls: what a pod specification says about it.
type Puller struct {
	Namespace        string
	ServiceAccount   string   // "" for default
	ImagePullSecrets []string // names, in the order of the pod
}

// PullSecrets finds the credentials that the kubelet would pull an image with.
// Safe for concurrent use.
type PullSecrets struct {
	client   kubernetes.Interface
	now      func() time.Time
	asking   flight.Group[secretKey, secretValue]
	accounts *lru.Cache[secretKey, kept]
	secrets  *lru.Cache[secretKey, kept]
}

type secretKey struct {
	account         bool // a service account, not a Secret
	namespace, name string
}

// secretValue is what was learnt: names of a service account, or logins.
type secretValue struct {
	names  []string
	logins []login
}

type kept struct {
	secretValue
	until time.Time
}

func (k kept) cost() int {
	n := 128
	for _, name := range k.names {
		n += len(name)
	}
	for _, l := range k.logins {
		n += 128 + len(l.host) + len(l.path) + len(l.Username) + len(l.Password)
	}
	return n
}

// NewPullSecrets returns a look-up that needs no Run. now is the clock; nil for
// the machine's.
func NewPullSecrets(client kubernetes.Interface, now func() time.Time) *PullSecrets {
	if now == nil {
		now = time.Now
	}
	return &PullSecrets{
		client: client, now: now,
		accounts: lru.New[secretKey](maxSecretMemory/8, kept.cost),
		secrets:  lru.New[secretKey](maxSecretMemory, kept.cost),
	}
}

// Credentials returns the accounts to try, in order, for the registry of the
// reference alone; none for anonymous. The Secrets are those of the pod, or,
// where it names none, those of its service account: so the ServiceAccount
// plug-in of the API server fills a pod, and a template has not been filled yet.
// A Secret or service account that is not there has no credentials, as for the
// kubelet; one that cannot be read is an error.
func (p *PullSecrets) Credentials(ctx context.Context, who Puller, reference string) ([]Credential, error) {
	ref, err := image.ParseReference(reference)
	if err != nil {
		return nil, err
	}
	names := who.ImagePullSecrets
	if len(names) == 0 {
		account := secretKey{true, who.Namespace, cmp.Or(who.ServiceAccount, "default")}
		v, err := p.value(ctx, p.accounts, account, p.account)
		if err != nil {
			return nil, fmt.Errorf("look up service account %s/%s: %w", account.namespace, account.name, err)
		}
		names = v.names
	}
	if len(names) > maxSecrets {
		return nil, fmt.Errorf("%w: more than %d of them", ErrPullSecret, maxSecrets)
	}
	var all []login
	for _, name := range names {
		v, err := p.value(ctx, p.secrets, secretKey{false, who.Namespace, name}, p.secret)
		if err != nil {
			return nil, fmt.Errorf("look up pull secret %s/%s: %w", who.Namespace, name, err)
		}
		all = append(all, v.logins...)
	}
	return matching(all, ref), nil
}

// value returns what is kept, or asks, once for all that ask at the same time.
func (p *PullSecrets) value(ctx context.Context, memory *lru.Cache[secretKey, kept], key secretKey,
	ask func(context.Context, secretKey) (secretValue, error)) (secretValue, error) {
	if k, ok := memory.Get(key); ok && p.now().Before(k.until) {
		return k.secretValue, nil
	}
	return p.asking.Do(ctx, key, func(ctx context.Context) (secretValue, error) {
		ctx, cancel := context.WithTimeout(ctx, liveTimeout)
		defer cancel()
		v, err := ask(ctx, key)
		if err == nil {
			memory.Put(key, kept{v, p.now().Add(secretTTL)})
		}
		return v, err
	})
}

func (p *PullSecrets) account(ctx context.Context, key secretKey) (secretValue, error) {
	account, err := p.client.CoreV1().ServiceAccounts(key.namespace).Get(ctx, key.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return secretValue{}, nil
	}
	if err != nil {
		return secretValue{}, err
	}
	var v secretValue
	for _, ref := range account.ImagePullSecrets {
		v.names = append(v.names, ref.Name)
	}
	return v, nil
}

func (p *PullSecrets) secret(ctx context.Context, key secretKey) (secretValue, error) {
	secret, err := p.client.CoreV1().Secrets(key.namespace).Get(ctx, key.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return secretValue{}, nil
	}
	if err != nil {
		return secretValue{}, err
	}
	logins, err := loginsOf(secret)
	if err != nil {
		return secretValue{}, fmt.Errorf("%w: %w", ErrPullSecret, err)
	}
	return secretValue{logins: logins}, nil
}

// loginsOf reads a Secret. One of another type, or without the field, is none
// that the kubelet would use.
func loginsOf(secret *corev1.Secret) ([]login, error) {
	switch secret.Type {
	case corev1.SecretTypeDockerConfigJson:
		if raw := secret.Data[corev1.DockerConfigJsonKey]; len(raw) > 0 {
			return parseDockerConfigJSON(raw)
		}
	case corev1.SecretTypeDockercfg:
		if raw := secret.Data[corev1.DockerConfigKey]; len(raw) > 0 {
			return parseDockerCfg(raw)
		}
	}
	return nil, nil
}
