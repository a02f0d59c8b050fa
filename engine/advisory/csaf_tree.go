package advisory

import (
	"fmt"
	"slices"
)

// csafTree is the product tree of a document.
type csafTree struct {
	Branches      []*csafBranch       `json:"branches"`
	Names         []*csafProduct      `json:"full_product_names"`
	Groups        []*csafGroup        `json:"product_groups"`
	Relationships []*csafRelationship `json:"relationships"`
}

type csafBranch struct {
	Branches []*csafBranch `json:"branches"`
	Product  *csafProduct  `json:"product"`
}

type csafProduct struct {
	ID     string `json:"product_id"`
	Name   string `json:"name"`
	Helper struct {
		CPE  string `json:"cpe"`
		PURL string `json:"purl"`
	} `json:"product_identification_helper"`
}

type csafGroup struct {
	ID       string   `json:"group_id"`
	Products []string `json:"product_ids"`
}

// csafRelationship makes a product of two: a component and the platform that it
// is a part of.
type csafRelationship struct {
	Product   *csafProduct `json:"full_product_name"`
	Component string       `json:"product_reference"`
	Platform  string       `json:"relates_to_product_reference"`
}

// Bounds of a tree. Real branches are four deep; a relationship of Red Hat's
// older documents stands on another one, of the module with the platform.
const (
	maxCSAFDepth     = 32
	maxCSAFRelations = 8
	maxCSAFProducts  = 500_000
)

// csafProducts is a tree by its ids.
type csafProducts struct {
	products  map[string]*csafProduct
	relations map[string]*csafRelationship
	groups    map[string][]string
	// platforms and components are what was understood already: most ids name
	// one of a few platforms.
	platforms  map[string]csafPlatform
	components map[string]csafNamed
}

type csafPlatform struct {
	ecosystem string
	known     csafKnowledge
}

type csafNamed struct {
	csafComponent
	known csafKnowledge
}

// index reads the tree, within its bounds.
func (t *csafTree) index() (*csafProducts, error) {
	p := &csafProducts{
		products: map[string]*csafProduct{}, relations: make(map[string]*csafRelationship, len(t.Relationships)), groups: map[string][]string{},
		platforms: map[string]csafPlatform{}, components: map[string]csafNamed{},
	}
	if err := p.branches(t.Branches, 1); err != nil {
		return nil, err
	}
	for _, product := range t.Names {
		p.add(product)
	}
	for _, r := range t.Relationships {
		if r != nil && r.Product != nil && r.Product.ID != "" {
			p.relations[r.Product.ID] = r
		}
	}
	for _, g := range t.Groups {
		if g != nil {
			p.groups[g.ID] = g.Products
		}
	}
	if len(p.products)+len(p.relations) > maxCSAFProducts {
		return nil, fmt.Errorf("more than %d products", maxCSAFProducts)
	}
	return p, nil
}

func (p *csafProducts) branches(list []*csafBranch, depth int) error {
	if depth > maxCSAFDepth {
		return fmt.Errorf("branches more than %d deep", maxCSAFDepth)
	}
	for _, b := range list {
		if b == nil {
			continue
		}
		p.add(b.Product)
		if err := p.branches(b.Branches, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (p *csafProducts) add(product *csafProduct) {
	if product != nil && product.ID != "" {
		p.products[product.ID] = product
	}
}

// ids are those that a statement names by themselves and by groups.
func (p *csafProducts) ids(products, groups []string) []string {
	if len(groups) == 0 {
		return products
	}
	all := slices.Clone(products)
	for _, g := range groups {
		all = append(all, p.groups[g]...)
	}
	return all
}

// csafKnowledge tells whether a product id is understood.
type csafKnowledge int

const (
	csafUnclear csafKnowledge = iota
	csafOutside               // understood: no package of a distribution that is compared
	csafKnown
)

// component finds what a product id is about: a package of a release of a
// distribution, as far as it can be told.
func (p *csafProducts) component(id string) (csafComponent, csafKnowledge) {
	platform, component, module, ok := p.walk(id)
	if !ok {
		if product := p.products[id]; product != nil {
			return csafComponent{}, csafOutside // a product as a whole
		}
		return csafComponent{}, csafUnclear
	}
	on, seen := p.platforms[platform]
	if !seen {
		on.ecosystem, on.known = csafEcosystem(p.products[platform])
		p.platforms[platform] = on
	}
	if on.known != csafKnown {
		return csafComponent{}, on.known
	}
	key := on.ecosystem + "\x00" + module + "\x00" + component
	named, seen := p.components[key]
	if !seen {
		named.csafComponent, named.known = p.name(component, on.ecosystem, module)
		p.components[key] = named
	}
	return named.csafComponent, named.known
}

// walk follows relationships to the platform at their end and the component at
// their beginning; what stands between is a module.
func (p *csafProducts) walk(id string) (platform, component, module string, ok bool) {
	r := p.relations[id]
	if r == nil {
		return "", "", "", false
	}
	platform, component = r.Platform, r.Component
	for range maxCSAFRelations {
		if next := p.relations[component]; next != nil {
			// The component of a component is the package, what it is a part of a
			// module.
			component, module = next.Component, next.Platform
			continue
		}
		next := p.relations[platform]
		if next == nil {
			return platform, component, module, true
		}
		platform, module = next.Platform, next.Component
	}
	return "", "", "", false
}
