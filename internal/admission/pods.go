package admission

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/json"

	"github.com/pratique/pratique/engine/image"
)

// path leads to a pod spec in an object; "*" is every element.
type path []string

// kinds are Kubernetes' own, by group and kind, of any version.
var kinds = map[string][]path{
	"/Pod":                   {{"spec"}},
	"/PodTemplate":           {{"template", "spec"}},
	"/ReplicationController": {{"spec", "template", "spec"}},
	"apps/Deployment":        {{"spec", "template", "spec"}},
	"apps/ReplicaSet":        {{"spec", "template", "spec"}},
	"apps/StatefulSet":       {{"spec", "template", "spec"}},
	"apps/DaemonSet":         {{"spec", "template", "spec"}},
	"batch/Job":              {{"spec", "template", "spec"}},
	"batch/CronJob":          {{"spec", "jobTemplate", "spec", "template", "spec"}},
}

// usual are the places where kinds that nobody described are looked into.
var usual = []path{{"spec", "template", "spec"}, {"spec", "jobTemplate", "spec", "template", "spec"}}

// imageless are subresources that bring no image: the API server takes nothing
// else than their own fields from them.
var imageless = []string{"resize", "status", "scale", "binding", "eviction"}

// errUnreadKind: there is no pod template where one is looked for.
var errUnreadKind = errors.New("no pod template found")

// errUnread is wrapped by what is wrong with an object itself.
var errUnread = errors.New("this object cannot be read")

// maxImages bounds the images of one object; more are no honest one.
const maxImages = 512

// object is what is looked at of a Kubernetes object.
type object struct {
	name                string
	labels, annotations map[string]string
	images              []slot
	fields              map[string]any // the object as it was decoded
}

// slot is one place in an object that names an image.
type slot struct {
	path    string // spec.template.spec.containers[0].image
	pointer string // the same as a JSON pointer
	// identity is the place without its number: pod spec, list and name.
	identity string
	image    string
	policy   string // JSON pointer to its pull policy
	pulls    string // the pull policy as it is, "" for none
	from     pullFrom
}

// pullFrom is where the credentials for an image come from.
type pullFrom struct {
	serviceAccount string
	secrets        string // names, joined by commas
}

// pull is an image that a pod would pull.
type pull struct {
	raw     string // as in the object
	written string // the same without the proxy that rewriting put in front
	full    string // the same in full: docker.io/library/nginx:1.27
	ref     image.Reference
	err     error // it is no reference
}

// parse reads an image as it stands in an object.
func (r *rules) parse(written string) pull {
	p := pull{raw: written, written: written}
	if p.ref, p.err = image.ParseReference(written); p.err != nil {
		p.full = written
		return p
	}
	longest := 0 // "proxy/docker.io" is more than "proxy"
	for proxy, host := range r.unrewrite {
		if rest, ok := strings.CutPrefix(written, proxy+"/"); ok && len(proxy) > longest {
			p.written, longest = host+"/"+rest, len(proxy)
		}
	}
	p.full = p.ref.String()
	if original, err := image.ParseReference(p.written); err == nil {
		p.full = original.String()
	}
	return p
}

// read finds everything in an object that names an image.
func (r *rules) read(group, kind string, raw []byte) (*object, error) {
	o := &object{}
	if err := json.Unmarshal(raw, &o.fields); err != nil {
		return nil, fmt.Errorf("%w: %w", errUnread, err)
	}
	if err := o.readMeta(); err != nil {
		return nil, err
	}
	paths, described := kinds[group+"/"+kind]
	if !described {
		paths, described = r.kinds[group+"/"+kind]
	}
	if !described {
		paths = usual
	}
	found := 0
	for _, p := range paths {
		n, err := o.walk(o.fields, p, place{})
		if err != nil {
			return nil, err
		}
		found += n
	}
	if found == 0 {
		return nil, fmt.Errorf("%w in this %s at %s: tell admission.kinds where it is, or leave the kind out of the webhook's rules", errUnreadKind, kind, join(paths))
	}
	if len(o.images) > maxImages {
		return nil, fmt.Errorf("%w: more than %d images", errUnread, maxImages)
	}
	return o, nil
}

func join(paths []path) string {
	var all []string
	for _, p := range paths {
		all = append(all, strings.Join(p, "."))
	}
	return strings.Join(all, ", ")
}

func (o *object) readMeta() error {
	meta, ok := o.fields["metadata"].(map[string]any)
	if !ok {
		return fmt.Errorf("%w: it has no metadata", errUnread)
	}
	o.name, _ = meta["name"].(string)
	for field, into := range map[string]*map[string]string{"labels": &o.labels, "annotations": &o.annotations} {
		*into = map[string]string{}
		pairs, ok := meta[field].(map[string]any)
		if !ok && meta[field] != nil {
			return fmt.Errorf("%w: metadata.%s is no map", errUnread, field)
		}
		for k, v := range pairs {
			text, ok := v.(string)
			if !ok {
				return fmt.Errorf("%w: metadata.%s[%s] is no text", errUnread, field, k)
			}
			(*into)[k] = text
		}
	}
	return nil
}

// pointerEscapes are those of a JSON pointer (RFC 6901, section 3).
var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

// place is where a walk has come to.
type place struct{ path, pointer string }

func (p place) field(name string) place {
	dotted := p.path + "." + name
	return place{strings.TrimPrefix(dotted, "."), p.pointer + "/" + pointerEscapes.Replace(name)}
}

func (p place) index(i int) place {
	n := strconv.Itoa(i)
	return place{p.path + "[" + n + "]", p.pointer + "/" + n}
}

// walk goes along a path and reads the pod specs at its end. It tells how many
// there were.
func (o *object) walk(at any, rest path, p place) (int, error) {
	if len(rest) == 0 {
		spec, ok := at.(map[string]any)
		if !ok {
			return 0, nil
		}
		return o.readSpec(spec, p)
	}
	if rest[0] != "*" {
		fields, ok := at.(map[string]any)
		if !ok {
			return 0, nil
		}
		return o.walk(fields[rest[0]], rest[1:], p.field(rest[0]))
	}
	found := 0
	each := func(v any, p place) error {
		n, err := o.walk(v, rest[1:], p)
		found += n
		return err
	}
	switch all := at.(type) {
	case []any:
		for i, v := range all {
			if err := each(v, p.index(i)); err != nil {
				return 0, err
			}
		}
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(all)) {
			if err := each(all[k], p.field(k)); err != nil {
				return 0, err
			}
		}
	}
	return found, nil
}

// lists are the lists of containers of a pod spec.
var lists = []string{"containers", "initContainers", "ephemeralContainers"}

// readSpec reads one pod spec. What has no list of containers is none.
func (o *object) readSpec(spec map[string]any, p place) (int, error) {
	if !slices.ContainsFunc(lists, func(list string) bool { _, ok := spec[list]; return ok }) {
		return 0, nil
	}
	from, err := readPullFrom(spec, p)
	if err != nil {
		return 0, err
	}
	for _, list := range lists {
		err := each(spec, p.field(list), list, func(c map[string]any, at place) error {
			return o.add(c, c, at, slot{policy: at.field("imagePullPolicy").pointer, identity: p.path + " " + list, from: from}, "image", "imagePullPolicy")
		})
		if err != nil {
			return 0, err
		}
	}
	err = each(spec, p.field("volumes"), "volumes", func(v map[string]any, at place) error {
		if v["image"] == nil {
			return nil
		}
		source, ok := v["image"].(map[string]any)
		if !ok {
			return fmt.Errorf("%w: %s.image is no map", errUnread, at.path)
		}
		at = at.field("image")
		return o.add(v, source, at, slot{policy: at.field("pullPolicy").pointer, identity: p.path + " volumes", from: from}, "reference", "pullPolicy")
	})
	return 1, err
}

// add takes an image of a container or a volume.
func (o *object) add(named, holder map[string]any, at place, s slot, field, policy string) error {
	text, ok := holder[field].(string)
	if !ok || text == "" {
		return fmt.Errorf("%w: %s: missing, or no text", errUnread, at.field(field).path)
	}
	name, _ := named["name"].(string)
	s.path, s.pointer, s.image = at.field(field).path, at.field(field).pointer, text
	s.identity += " " + name
	s.pulls, _ = holder[policy].(string)
	o.images = append(o.images, s)
	return nil
}

// each visits the elements of a list, which may be missing.
func each(spec map[string]any, p place, list string, visit func(map[string]any, place) error) error {
	if spec[list] == nil {
		return nil
	}
	all, ok := spec[list].([]any)
	if !ok {
		return fmt.Errorf("%w: %s is no list", errUnread, p.path)
	}
	for i, v := range all {
		element, ok := v.(map[string]any)
		if !ok {
			return fmt.Errorf("%w: %s is no map", errUnread, p.index(i).path)
		}
		if err := visit(element, p.index(i)); err != nil {
			return err
		}
	}
	return nil
}

func readPullFrom(spec map[string]any, p place) (pullFrom, error) {
	from := pullFrom{serviceAccount: "default"}
	if name, _ := spec["serviceAccountName"].(string); name != "" {
		from.serviceAccount = name
	}
	var names []string
	err := each(spec, p.field("imagePullSecrets"), "imagePullSecrets", func(s map[string]any, _ place) error {
		if name, _ := s["name"].(string); name != "" {
			names = append(names, name)
		}
		return nil
	})
	from.secrets = strings.Join(names, ",")
	return from, err
}

// changed gives the images that the old object does not have in the same place:
// what runs already is not judged again because somebody edits something else.
func changed(now, old *object) []slot {
	had := map[string]string{}
	for _, s := range old.images {
		had[s.identity] = s.image
	}
	return slices.DeleteFunc(slices.Clone(now.images), func(s slot) bool { return had[s.identity] == s.image })
}
