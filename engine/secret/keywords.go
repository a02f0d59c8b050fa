package secret

// keywords finds all words of a list in a text, in any case, in one pass. Each
// byte costs a few instructions: the class of the last three bytes is looked up
// in a small table of those that begin a word, and only where one does is the
// text compared.
type keywords struct {
	class [256]uint16       // 5 bits; bytes that stand in no word share class 0
	begin [1 << 15]bool     // by the classes of three bytes
	words map[uint32][]word // by the first two bytes, lower case
}

type word struct {
	text  string // lower case
	index int
}

const (
	classBits = 5
	classMask = 1<<(3*classBits) - 1
)

func newKeywords(list []string) *keywords {
	k := &keywords{words: map[uint32][]word{}}
	k.classify(list)
	for i, text := range list {
		k.words[pair(text[0], text[1])] = append(k.words[pair(text[0], text[1])], word{text, i})
		third := []uint16{}
		if len(text) > 2 {
			third = append(third, k.class[text[2]])
		} else {
			for c := range uint16(1 << classBits) {
				third = append(third, c)
			}
		}
		for _, c := range third {
			k.begin[k.class[text[0]]<<(2*classBits)|k.class[text[1]]<<classBits|c] = true
		}
	}
	return k
}

// classify gives the bytes of the words' beginnings classes, letters of both
// cases the same. There are more bytes than classes: some share one, which costs
// a comparison and no match.
func (k *keywords) classify(list []string) {
	next := uint16(1)
	for _, text := range list {
		for i := range min(len(text), 3) {
			c := text[i]
			if k.class[c] != 0 {
				continue
			}
			k.class[c] = next
			if c >= 'a' && c <= 'z' {
				k.class[c-'a'+'A'] = next
			}
			if next++; next == 1<<classBits {
				next = 1
			}
		}
	}
}

func pair(a, b byte) uint32 { return uint32(a)<<8 | uint32(b) }

// find calls hit with the index of each word that begins in text[from:to], and
// where it begins and ends.
func (k *keywords) find(text []byte, from, to int, hit func(index, at, end int)) {
	if len(text) < 2 {
		return
	}
	state := uint16(0)
	last := min(to+2, len(text))
	for i := from; i < last; i++ {
		state = (state<<classBits | k.class[text[i]]) & classMask
		if k.begin[state] && i >= from+2 {
			k.match(text, i-2, hit)
		}
	}
	if last == len(text) && last-2 >= from && last-2 < to { // a word of two bytes at the very end
		k.match(text, last-2, hit)
	}
}

// in reports whether one of the words stands in a text.
func (k *keywords) in(text []byte) (is bool) {
	k.find(text, 0, len(text), func(int, int, int) { is = true })
	return is
}

func (k *keywords) match(text []byte, at int, hit func(index, at, end int)) {
	for _, w := range k.words[pair(lower(text[at]), lower(text[at+1]))] {
		if len(w.text) > len(text)-at {
			continue
		}
		same := true
		for j := 2; j < len(w.text); j++ {
			if lower(text[at+j]) != w.text[j] {
				same = false
				break
			}
		}
		if same {
			hit(w.index, at, at+len(w.text))
		}
	}
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
