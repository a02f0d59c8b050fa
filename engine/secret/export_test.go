package secret

// Told is a finding with its secret, for comparing.
type Told struct{ Rule, Secret string }

// WithSecrets ends a stream.
func WithSecrets(st *Stream) []Told {
	var all []Told
	for _, f := range st.close() {
		all = append(all, Told{f.Rule, f.secret})
	}
	return all
}
