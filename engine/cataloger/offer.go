package cataloger

import "strings"

// offers finds the catalogers that may want a path without asking all of them.
// The numbers are places in All, in rising order.
type offers struct {
	byBase, byExt, byDir map[string][]int
	rest                 []int // those that are asked about every path
}

// offered is made once, from All, and never changes.
var offered = newOffers(All)

func newOffers(all []*Cataloger) *offers {
	o := &offers{byBase: map[string][]int{}, byExt: map[string][]int{}, byDir: map[string][]int{}}
	for i, c := range all {
		if c.Wants == nil {
			continue
		}
		if len(c.Names) == 0 {
			o.rest = append(o.rest, i)
		}
		for _, name := range c.Names {
			dir, isDir := strings.CutSuffix(name, "/")
			switch {
			case isDir:
				o.byDir[dir] = append(o.byDir[dir], i)
			case name[0] == '.':
				o.byExt[name] = append(o.byExt[name], i)
			default:
				o.byBase[name] = append(o.byBase[name], i)
			}
		}
	}
	return o
}

// ForPath gives the cataloger that wants a file for its path, the first in the
// order of All, or nil.
func ForPath(path string) *Cataloger {
	dir, base := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		dir, base = path[:i], path[i+1:]
		dir = dir[strings.LastIndexByte(dir, '/')+1:]
	}
	base = strings.ToLower(base)
	best := len(All)
	ask := func(candidates []int) {
		for _, i := range candidates {
			if i >= best {
				return
			}
			if All[i].Wants(path) {
				best = i
				return
			}
		}
	}
	ask(offered.byBase[base])
	if dot := strings.LastIndexByte(base, '.'); dot >= 0 {
		ask(offered.byExt[base[dot:]])
	}
	ask(offered.byDir[dir])
	ask(offered.rest)
	if best == len(All) {
		return nil
	}
	return All[best]
}
