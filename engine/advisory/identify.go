package advisory

import (
	"encoding/json"
	"fmt"
	"time"
)

// IdentifyOSV tells which record this is and when it last changed, whatever else
// is in it: a withdrawn record gives no Advisory but takes the place of what was
// there. Errors wrap ErrBadRecord.
func IdentifyOSV(raw []byte) (id string, modified time.Time, err error) {
	if len(raw) > MaxRecord {
		return "", time.Time{}, fmt.Errorf("%w: %d bytes", ErrBadRecord, len(raw))
	}
	var rec struct {
		ID       string    `json:"id"`
		Modified time.Time `json:"modified"`
	}
	if err := json.Unmarshal(raw, &rec); err != nil {
		return "", time.Time{}, fmt.Errorf("%w: %w", ErrBadRecord, err)
	}
	if !plain(rec.ID, maxID) {
		return "", time.Time{}, fmt.Errorf("%w: id %.64q", ErrBadRecord, rec.ID)
	}
	return rec.ID, seconds(rec.Modified), nil
}
