package cluster

import (
	"cmp"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pratique/pratique/engine/image"
)

// subject is an image as it runs: the name that somebody wrote, and the digest
// of what the node pulled for it.
type subject struct {
	namespace string // exceptions may be for one alone
	reference string
	digest    digest.Digest // "" if the node knows the image by its id alone
}

func (s subject) String() string {
	if s.digest == "" || strings.HasSuffix(s.reference, "@"+s.digest.String()) {
		return s.reference
	}
	return s.reference + "@" + s.digest.String()
}

// subjects are the images of a pod, each once: of containers of all kinds that a
// node has an image for. What has ended counts too, as it starts again with the
// pod. A pod that has ended for good runs nothing.
func subjects(pod *corev1.Pod) []subject {
	if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return nil
	}
	written := map[string]string{}
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		written[c.Name] = c.Image
	}
	for _, c := range pod.Spec.EphemeralContainers {
		written[c.Name] = c.Image
	}
	var found []subject
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses, pod.Status.EphemeralContainerStatuses) {
		if s.ImageID == "" {
			continue // nothing pulled yet
		}
		if one := identify(pod.Namespace, written[s.Name], s); !slices.Contains(found, one) {
			found = append(found, one)
		}
	}
	return found
}

// identify finds the name and the digest. The name is the one of the
// specification: nodes report one of several names that content has there, and a
// policy goes by the name. The digest is the node's: the tag may have moved.
func identify(namespace, written string, s corev1.ContainerStatus) subject {
	repository, d := splitImageID(s.ImageID)
	for _, name := range []string{written, s.Image, repository} {
		if ref, err := image.ParseReference(name); err == nil {
			return subject{namespace, ref.String(), d}
		}
	}
	return subject{namespace, cmp.Or(written, s.Image, s.ImageID), d}
}

// splitImageID reads what nodes report: "docker.io/library/nginx@sha256:...",
// with "docker-pullable://" before it or not. A bare "sha256:..." is the id of
// the image, which is the digest of its configuration and no manifest's.
func splitImageID(id string) (repository string, d digest.Digest) {
	if _, rest, ok := strings.Cut(id, "://"); ok {
		id = rest
	}
	repository, named, ok := strings.Cut(id, "@")
	if !ok || image.SupportedDigest(digest.Digest(named)) != nil {
		return "", ""
	}
	return repository, digest.Digest(named)
}

// gist keeps of a pod what the inventory looks at: a cluster has many.
func gist(object any) (any, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return object, nil
	}
	kept := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: pod.Name, Namespace: pod.Namespace, UID: pod.UID, ResourceVersion: pod.ResourceVersion,
		OwnerReferences: pod.OwnerReferences, DeletionTimestamp: pod.DeletionTimestamp,
	}}
	if mirror, ok := pod.Annotations[corev1.MirrorPodAnnotationKey]; ok {
		kept.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: mirror}
	}
	names := func(all []corev1.Container) (short []corev1.Container) {
		for _, c := range all {
			short = append(short, corev1.Container{Name: c.Name, Image: c.Image})
		}
		return short
	}
	statuses := func(all []corev1.ContainerStatus) (short []corev1.ContainerStatus) {
		for _, s := range all {
			short = append(short, corev1.ContainerStatus{Name: s.Name, Image: s.Image, ImageID: s.ImageID})
		}
		return short
	}
	kept.Spec.InitContainers, kept.Spec.Containers = names(pod.Spec.InitContainers), names(pod.Spec.Containers)
	for _, c := range pod.Spec.EphemeralContainers {
		kept.Spec.EphemeralContainers = append(kept.Spec.EphemeralContainers,
			corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: c.Name, Image: c.Image}})
	}
	kept.Status.Phase = pod.Status.Phase
	kept.Status.InitContainerStatuses = statuses(pod.Status.InitContainerStatuses)
	kept.Status.ContainerStatuses = statuses(pod.Status.ContainerStatuses)
	kept.Status.EphemeralContainerStatuses = statuses(pod.Status.EphemeralContainerStatuses)
	return kept, nil
}
