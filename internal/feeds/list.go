package feeds

import "github.com/pratique/pratique/engine/advisory"

// Status is the state of one ecosystem of one source.
type Status = advisory.FeedStatus

// List tells the state of every feed as of the last sync, in the order of the
// configuration then; nothing before the first one.
func List(dataDir string) ([]Status, error) {
	s, err := advisory.ReadStatus(IndexDir(dataDir))
	return s.Feeds, err
}
