package advisory

import (
	"encoding/json"
	"fmt"
	"regexp"
	"time"
)

var cveForm = regexp.MustCompile(`^CVE-\d{4}-\d{4,12}$`)

// nvdRecord is the part of an entry of NVD's feeds that is used.
// https://nvd.nist.gov/developers/vulnerabilities
type nvdRecord struct {
	CVE struct {
		ID       string `json:"id"`
		Status   string `json:"vulnStatus"`
		Modified string `json:"lastModified"` // "2024-11-21T07:36:00.123", UTC
		Metrics  struct {
			V40 []nvdMetric `json:"cvssMetricV40"`
			V31 []nvdMetric `json:"cvssMetricV31"`
			V30 []nvdMetric `json:"cvssMetricV30"`
			V2  []nvdMetric `json:"cvssMetricV2"`
		} `json:"metrics"`
	} `json:"cve"`
}

type nvdMetric struct {
	Source string `json:"source"`
	Type   string `json:"type"`
	Data   struct {
		Vector string  `json:"vectorString"`
		Base   float64 `json:"baseScore"`
	} `json:"cvssData"`
}

// FromNVD reads one entry of the array "vulnerabilities". It returns false when
// nobody scored the CVE; the time is told even then. Errors wrap ErrBadRecord.
//
// CVSS 3 goes before 4, although older: policies ask for CVSS 3 scores, and a
// CVE that has both must not lose the one they ask for.
func FromNVD(raw []byte) (Score, bool, error) {
	if len(raw) > MaxRecord {
		return Score{}, false, fmt.Errorf("%w: %d bytes", ErrBadRecord, len(raw))
	}
	var rec nvdRecord
	if err := json.Unmarshal(raw, &rec); err != nil {
		return Score{}, false, fmt.Errorf("%w: %w", ErrBadRecord, err)
	}
	id := rec.CVE.ID
	if !cveForm.MatchString(id) {
		return Score{}, false, fmt.Errorf("%w: CVE %.32q", ErrBadRecord, id)
	}
	modified, err := time.Parse("2006-01-02T15:04:05", rec.CVE.Modified)
	if err != nil {
		modified = time.Time{} // the score is as good
	}
	if rec.CVE.Status == "Rejected" {
		return Score{Modified: modified}, false, nil
	}
	m := rec.CVE.Metrics
	for _, metrics := range [][]nvdMetric{m.V31, m.V30, m.V40, m.V2} {
		metric, ok := best(metrics)
		if !ok {
			continue
		}
		if !plain(metric.Data.Vector, maxVector) || metric.Data.Base < 0 || metric.Data.Base > 10 {
			return Score{}, false, fmt.Errorf("%w: score of %s", ErrBadRecord, id)
		}
		return Score{CVE: id, Vector: metric.Data.Vector, Base: metric.Data.Base, Source: line(metric.Source), Modified: modified}, true, nil
	}
	return Score{Modified: modified}, false, nil
}

// best is NVD's own score, else the highest of the others'.
func best(metrics []nvdMetric) (top nvdMetric, ok bool) {
	for _, m := range metrics {
		primary, topPrimary := m.Type == "Primary", top.Type == "Primary"
		if !ok || primary && !topPrimary || primary == topPrimary && m.Data.Base > top.Data.Base {
			top, ok = m, true
		}
	}
	return top, ok
}
