package inventory

import (
	"cmp"
	"slices"
)

// handOn gives each fact that the squash only passes on to the report of its
// path.
func (r *Report) handOn(at func(path string) *Report) {
	for _, l := range r.Licenses {
		to := at(l.Path)
		to.Licenses = append(to.Licenses, l)
	}
	for _, a := range r.Accounts {
		to := at(a.Path)
		to.Accounts = append(to.Accounts, a)
	}
	for _, g := range r.Groups {
		to := at(g.Path)
		to.Groups = append(to.Groups, g)
	}
	for _, sudoer := range r.Sudoers {
		to := at(sudoer.Path)
		to.Sudoers = append(to.Sudoers, sudoer)
	}
	for _, content := range r.Retrieved {
		to := at(content.Path)
		to.Retrieved = append(to.Retrieved, content)
	}
	for _, match := range r.Contents {
		to := at(match.Path)
		to.Contents = append(to.Contents, match)
	}
	for _, m := range r.Malware {
		to := at(m.Path)
		to.Malware = append(to.Malware, m)
	}
}

// handed is where the facts of a path wait.
func (f *facts) handed() *Report {
	if f.told == nil {
		f.told = &Report{}
	}
	return f.told
}

// handOn takes the facts of a path that is still there into the image.
func (s *squasher) handOn(f *facts) {
	im := s.image
	if e := f.marked; e != nil {
		im.Marked = append(im.Marked, MarkedFile{Path: e.Path, Kind: e.Kind, Mode: e.Mode, UID: e.UID, GID: e.GID, Caps: e.Caps, Layer: f.layer})
	}
	told := f.told
	if told == nil {
		return
	}
	im.Licenses = append(im.Licenses, told.Licenses...)
	im.Accounts = append(im.Accounts, told.Accounts...)
	im.Groups = append(im.Groups, told.Groups...)
	im.Sudoers = append(im.Sudoers, told.Sudoers...)
	im.Retrieved = append(im.Retrieved, told.Retrieved...)
	im.Contents = append(im.Contents, told.Contents...)
	for _, m := range told.Malware {
		m.Layer = f.layer
		im.Malware = append(im.Malware, m)
	}
}

// settleSecrets lists every secret of every layer: one that a later layer
// deletes can still be taken out of its own. The same secret in the same place
// of several layers is listed once, with the first of them.
func (s *squasher) settleSecrets() {
	type place struct {
		path, rule, fingerprint string
		line                    int
	}
	known := map[place]int{}
	for _, p := range s.secrets {
		at := place{p.Path, p.Rule, p.Fingerprint, p.Line}
		i, ok := known[at]
		if !ok {
			i = len(s.image.Secrets)
			known[at] = i
			p.Deleted = true
			s.image.Secrets = append(s.image.Secrets, p.Secret)
		}
		if s.live[p.at] {
			s.image.Secrets[i].Deleted = false
		}
	}
	slices.SortStableFunc(s.image.Secrets, func(a, b Secret) int {
		return cmp.Or(cmp.Compare(a.Layer, b.Layer), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Rule, b.Rule))
	})
}
