package inventory

import "strings"

// Bounds of the work that one image may cause. An image beyond them gets a
// blind gap.
const (
	maxLinks = 255     // links followed for one path, as containerd's fs.RootPath
	maxRest  = 8192    // bytes of a path while its links are being replaced
	maxNodes = 1 << 20 // nodes of the tree: about 400 MiB at worst
	maxWork  = 4 << 30 // bytes of paths walked: seconds
)

// tree holds the paths of an image that matter to its inventory, as they stand
// after the layers applied so far. A path that no node stands for is a plain
// directory, an uninteresting file, or nothing.
type tree struct {
	root  *node
	layer int // the layer being applied
	nodes int
	work  int64
	stack []*node // scratch of walk
}

// node is one path. Directories exist for the sake of what is below them.
type node struct {
	kind  EntryKind // File, Dir, Symlink or Special
	kids  map[string]*node
	link  string
	layer int    // that wrote it
	facts *facts // what was learnt from the file; nil for anything else
	prev  *node  // the database that this database replaced at the same place
}

func newTree() *tree { return &tree{root: &node{kind: Dir}} }

// exhausted is true when the image has used up its bounds.
func (t *tree) exhausted() bool { return t.nodes > maxNodes || t.work > maxWork }

// walk follows path from the root, through links, the last element's included,
// clamped at the root. It gives nil where no node is. With create, missing
// directories are made and what is in the way (a file, a link that goes round)
// gives way to a directory. lower tells that a link was followed which an
// earlier layer wrote.
func (t *tree) walk(path string, create bool) (n *node, lower bool) {
	stack := append(t.stack[:0], t.root)
	defer func() { t.stack = stack[:0] }()
	links := 0
	for rest := path; rest != ""; {
		t.work += int64(64 + len(rest))
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		switch name {
		case "", ".":
			continue
		case "..":
			stack = stack[:max(1, len(stack)-1)]
			continue
		}
		dir := stack[len(stack)-1]
		kid := dir.kids[name]
		if kid != nil && kid.kind == Symlink {
			links++
			if links <= maxLinks && len(kid.link)+len(rest) < maxRest {
				lower = lower || kid.layer < t.layer
				if strings.HasPrefix(kid.link, "/") {
					stack = stack[:1]
				}
				rest = kid.link + "/" + rest
				continue
			}
			kid = nil
		}
		last := strings.Trim(rest, "/") == ""
		if kid != nil && (kid.kind == Dir || last && !create) {
			stack = append(stack, kid)
			continue
		}
		if !create {
			return nil, lower
		}
		stack = append(stack, t.put(dir, name, &node{kind: Dir, layer: t.layer}))
	}
	return stack[len(stack)-1], lower
}

// parent gives the directory that holds path's last element, and that element.
// dir is nil when no node stands for it.
func (t *tree) parent(path string, create bool) (dir *node, base string, lower bool) {
	i := strings.LastIndexByte(path, '/')
	base = path[i+1:]
	if i < 0 {
		t.work += int64(64 + len(path))
		return t.root, base, false
	}
	dir, lower = t.walk(path[:i], create)
	if dir != nil && dir.kind != Dir {
		dir = nil
	}
	return dir, base, lower
}

func (t *tree) put(dir *node, name string, n *node) *node {
	if dir.kids == nil {
		dir.kids = map[string]*node{}
	}
	if dir.kids[name] == nil {
		t.nodes++
	}
	dir.kids[name] = n
	return n
}

// remove takes name and all below it out of dir.
func (t *tree) remove(dir *node, name string) {
	t.nodes -= dir.kids[name].count()
	delete(dir.kids, name)
}

func (n *node) count() int {
	sum := 1
	for _, kid := range n.kids {
		sum += kid.count()
	}
	return sum
}

// holds reports whether n, or anything below it, is a package or a database.
func (n *node) holds() bool {
	if n.facts != nil && (len(n.facts.packages) > 0 || n.facts.database != "") {
		return true
	}
	for _, kid := range n.kids {
		if kid.holds() {
			return true
		}
	}
	return false
}
