package match

import (
	"strings"

	cvss2 "github.com/pandatix/go-cvss/20"
	cvss30 "github.com/pandatix/go-cvss/30"
	cvss31 "github.com/pandatix/go-cvss/31"
	cvss4 "github.com/pandatix/go-cvss/40"

	"github.com/pratique/pratique/engine/finding"
)

// CVSS is what a vector says. Scores are from 0 to 10, in steps of 0.1.
type CVSS struct {
	Version int // 2, 3 or 4
	Base    float64
	// Exploitability and Impact are the sub-scores of version 3; 0 otherwise.
	Exploitability float64
	Impact         float64
}

// ParseCVSS reads a vector of CVSS 3.0, 3.1, 4.0, or 2.0 without a prefix;
// false when it is none. Threat and environment are left out of the score,
// except in version 4, which has one score for what the vector says.
func ParseCVSS(vector string) (CVSS, bool) {
	switch {
	case strings.HasPrefix(vector, "CVSS:3.1/"):
		v, err := cvss31.ParseVector(vector)
		if err != nil {
			return CVSS{}, false
		}
		return CVSS{3, v.BaseScore(), tenth(v.Exploitability()), tenth(v.Impact())}, true
	case strings.HasPrefix(vector, "CVSS:3.0/"):
		v, err := cvss30.ParseVector(vector)
		if err != nil {
			return CVSS{}, false
		}
		return CVSS{3, v.BaseScore(), tenth(v.Exploitability()), tenth(v.Impact())}, true
	case strings.HasPrefix(vector, "CVSS:4.0/"):
		v, err := cvss4.ParseVector(vector)
		if err != nil {
			return CVSS{}, false
		}
		return CVSS{Version: 4, Base: v.Score()}, true
	}
	v, err := cvss2.ParseVector(strings.Trim(vector, "()"))
	if err != nil {
		return CVSS{}, false
	}
	return CVSS{Version: 2, Base: v.BaseScore()}, true
}

// tenth rounds a sub-score as NVD publishes it; a negative impact is none.
func tenth(score float64) float64 {
	return max(0, float64(int(score*10+0.5))/10)
}

// Severity gives the word of the scale for the base score.
func (c CVSS) Severity() finding.Severity {
	if c.Version == 2 {
		return bandV2(c.Base)
	}
	return band(c.Base)
}

// band is the qualitative scale of CVSS 3.1, section 5, which version 4 keeps.
// What scores nothing is negligible.
func band(base float64) finding.Severity {
	switch {
	case base >= 9:
		return finding.Critical
	case base >= 7:
		return finding.High
	case base >= 4:
		return finding.Medium
	case base > 0:
		return finding.Low
	}
	return finding.Negligible
}

// bandV2 is NVD's scale for CVSS 2, which knows no critical.
func bandV2(base float64) finding.Severity {
	switch {
	case base >= 7:
		return finding.High
	case base >= 4:
		return finding.Medium
	}
	return finding.Low
}
