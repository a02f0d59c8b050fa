package cluster

import (
	"context"

	corev1 "k8s.io/api/core/v1"

	"github.com/pratique/pratique/engine/image"
)

// Pass looks once at everything, as Run does again and again.
func Pass(ctx context.Context, c *Certificates) error { return c.pass(ctx) }

// Matching are the credentials that a dockerconfigjson has for an image.
func Matching(raw []byte, reference string) ([]Credential, error) {
	return credentialsFor(parseDockerConfigJSON, raw, reference)
}

// MatchingOld does the same with a dockercfg.
func MatchingOld(raw []byte, reference string) ([]Credential, error) {
	return credentialsFor(parseDockerCfg, raw, reference)
}

func credentialsFor(parse func([]byte) ([]login, error), raw []byte, reference string) ([]Credential, error) {
	all, err := parse(raw)
	if err != nil {
		return nil, err
	}
	ref, err := image.ParseReference(reference)
	if err != nil {
		return nil, err
	}
	return matching(all, ref), nil
}

// Subjects are references and digests of the images of a pod, as the inventory
// keeps it.
func Subjects(pod *corev1.Pod) (flat []string) {
	kept, err := gist(pod)
	if err != nil {
		return []string{err.Error()}
	}
	for _, s := range subjects(kept.(*corev1.Pod)) {
		flat = append(flat, s.reference, s.digest.String())
	}
	return flat
}
