package bundle

import (
	"time"

	"github.com/pratique/pratique/engine/policy"
)

// ResultTable is Anchore's result of an evaluation, by image id. Its field
// names are part of Anchore's API.
type ResultTable map[string]ImageResult

// ImageResult is the table of one image.
type ImageResult struct {
	Result         TableResult `json:"result"`
	PolicyData     []any       `json:"policy_data"`
	PolicyName     string      `json:"policy_name"`
	WhitelistData  []any       `json:"whitelist_data"`
	WhitelistNames []string    `json:"whitelist_names"`
}

// TableResult holds the rows. FinalAction is that of the rules alone: image
// lists do not change it.
type TableResult struct {
	Header      []string      `json:"header"`
	RowCount    int           `json:"row_count"`
	Rows        [][]any       `json:"rows"`
	FinalAction policy.Action `json:"final_action"`
}

// Table writes a verdict as Anchore's result table, for an image id (hex, no
// algorithm) under a full tag.
func Table(v policy.Verdict, imageID, fullTag string) ResultTable {
	rows := make([][]any, 0, len(v.Rows))
	for _, r := range v.Rows {
		var whitelisted any = false
		if r.Whitelist != nil {
			exempt := *r.Whitelist
			exempt.Expires = time.Time{} // Anchore's have three fields
			whitelisted = exempt
		}
		rows = append(rows, []any{
			imageID, fullTag, r.TriggerID, r.Gate, r.Trigger, r.Message, r.Action, whitelisted, r.PolicyID,
		})
	}
	return ResultTable{imageID: {
		Result: TableResult{
			Header: []string{
				"Image_Id", "Repo_Tag", "Trigger_Id", "Gate", "Trigger", "Check_Output", "Gate_Action", "Whitelisted", "Policy_Id",
			},
			RowCount: len(rows), Rows: rows, FinalAction: v.PolicyAction,
		},
		PolicyData: []any{}, WhitelistData: []any{}, WhitelistNames: []string{},
	}}
}
