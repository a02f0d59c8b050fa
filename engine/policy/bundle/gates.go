package bundle

import "slices"

// gate is one of Anchore's gates: a group of triggers.
type gate struct {
	name     string
	triggers []trigger
}

// trigger is a test that a rule can ask for. A nil compile: the trigger is
// known and this version does not collect the facts for it.
type trigger struct {
	name   string
	later  string // its name in version 2 of the bundle
	params []param
	// compile makes the check of one rule. Without a check, note says why the
	// rule cannot be evaluated; with one, what of it has no effect.
	compile func(v values) (c check, note string)
}

// gates are all gates, triggers and parameters of Anchore Engine 1.1.
var gates = []gate{
	{"always", []trigger{{name: "always", compile: compileAlways}}},
	{"dockerfile", []trigger{
		{name: "instruction", compile: compileInstruction, params: []param{
			{name: "instruction", kind: enum, required: true, enum: directives},
			{name: "check", kind: enum, required: true, enum: []string{"=", "!=", "exists", "not_exists", "like", "not_like", "in", "not_in"}},
			{name: "value", kind: text},
			{name: "actual_dockerfile_only", kind: boolean},
		}},
		{name: "effective_user", params: []param{
			{name: "users", kind: commaList, required: true},
			{name: "type", kind: enum, required: true, enum: listTypes},
		}},
		{name: "exposed_ports", compile: compileExposedPorts, params: []param{
			{name: "ports", kind: numberList, required: true},
			{name: "type", kind: enum, required: true, enum: listTypes},
			{name: "actual_dockerfile_only", kind: boolean},
		}},
		{name: "no_dockerfile_provided", compile: compileNoDockerfile},
	}},
	{"files", []trigger{
		{name: "content_regex_match", params: []param{{name: "regex_name", kind: text}}},
		{name: "name_match", params: []param{{name: "regex", kind: expression, required: true}}},
		{name: "attribute_match", params: []param{
			{name: "filename", kind: text, required: true},
			{name: "checksum_algorithm", kind: enum, enum: []string{"sha256"}},
			{name: "checksum", kind: text},
			{name: "checksum_match", kind: enum, enum: []string{"equals", "not_equals"}},
			{name: "mode", kind: text},
			{name: "mode_op", kind: enum, enum: []string{"equals", "not_equals"}},
			{name: "skip_missing", kind: boolean},
		}},
		{name: "suid_or_guid_set"},
	}},
	{"licenses", []trigger{
		{name: "blacklist_exact_match", later: "denylist_exact_match", params: []param{{name: "licenses", kind: commaList, required: true}}},
		{name: "blacklist_partial_match", later: "denylist_partial_match", params: []param{{name: "licenses", kind: commaList, required: true}}},
	}},
	{"malware", []trigger{{name: "scans"}, {name: "scan_not_run"}}},
	{"metadata", []trigger{{name: "attribute", params: []param{
		{name: "attribute", kind: enum, required: true, enum: []string{"size", "architecture", "os_type", "distro", "distro_version", "like_distro", "layer_count"}},
		{name: "check", kind: enum, required: true, enum: []string{"=", "!=", ">", "<", ">=", "<=", "exists", "not_exists", "like", "not_like", "in", "not_in"}},
		{name: "value", kind: text},
	}}}},
	{"npms", []trigger{
		{name: "newer_version_in_feed"}, {name: "unknown_in_feeds"}, {name: "version_not_in_feeds"},
		{name: "blacklisted_name_version", later: "denylisted_name_version", params: nameAndVersion},
		{name: "feed_data_unavailable"},
	}},
	{"packages", []trigger{
		{name: "required_package", params: append(slices.Clip(nameAndVersion),
			param{name: "version_match_type", kind: enum, enum: []string{"exact", "minimum"}})},
		{name: "blacklist", later: "denylist", params: nameAndVersion},
		{name: "verify", params: []param{
			{name: "only_packages", kind: commaList},
			{name: "only_directories", kind: commaList},
			{name: "check", kind: enum, enum: []string{"changed", "missing"}},
		}},
	}},
	{"passwd_file", []trigger{
		{name: "content_not_available"},
		{name: "blacklist_usernames", later: "denylist_usernames", params: []param{{name: "user_names", alias: "usernameblacklist", kind: commaList, required: true}}},
		{name: "blacklist_userids", later: "denylist_userids", params: []param{{name: "user_ids", alias: "useridblacklist", kind: numberList, required: true}}},
		{name: "blacklist_groupids", later: "denylist_groupids", params: []param{{name: "group_ids", kind: numberList, required: true}}},
		{name: "blacklist_shells", later: "denylist_shells", params: []param{{name: "shells", kind: commaList, required: true}}},
		{name: "blacklist_full_entry", later: "denylist_full_entry", params: []param{{name: "entry", kind: text, required: true}}},
	}},
	{"retrieved_files", []trigger{
		{name: "content_not_available", params: []param{{name: "path", kind: text, required: true}}},
		{name: "content_regex", params: []param{
			{name: "path", kind: text, required: true},
			{name: "regex", kind: expression, required: true},
			{name: "check", kind: enum, required: true, enum: []string{"match", "no_match"}},
		}},
	}},
	{"ruby_gems", []trigger{
		{name: "newer_version_found_in_feed"}, {name: "not_found_in_feed"}, {name: "version_not_found_in_feed"},
		{name: "blacklist", later: "denylist", params: nameAndVersion},
		{name: "feed_data_unavailable"},
	}},
	{"secret_scans", []trigger{{name: "content_regex_checks", params: []param{
		{name: "content_regex_name", kind: text},
		{name: "filename_regex", kind: expression},
		{name: "match_type", kind: enum, enum: []string{"found", "notfound"}},
	}}}},
	{"vulnerabilities", []trigger{
		{name: "package", compile: compilePackage, params: packageParams},
		{name: "blacklist", later: "denylist", compile: compileDenied, params: []param{
			{name: "vulnerability_ids", kind: commaList, required: true},
			{name: "vendor_only", kind: boolean},
		}},
		{name: "stale_feed_data", compile: compileStale, params: []param{{name: "max_days_since_sync", kind: integer, required: true}}},
		{name: "vulnerability_data_unavailable", compile: compileUnavailable},
	}},
}

var (
	directives = []string{
		"ADD", "ARG", "COPY", "CMD", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER",
		"ONBUILD", "USER", "RUN", "SHELL", "STOPSIGNAL", "VOLUME", "WORKDIR",
	}
	listTypes      = []string{"whitelist", "blacklist", "allowlist", "denylist"}
	comparisons    = []string{"=", "!=", "<", ">", "<=", ">="}
	severities     = []string{"unknown", "negligible", "low", "medium", "high", "critical"}
	nameAndVersion = []param{{name: "name", kind: text, required: true}, {name: "version", kind: text}}
)

var packageParams = []param{
	{name: "package_type", kind: enum, required: true, enum: []string{"all", "os", "non-os"}},
	{name: "severity_comparison", kind: enum, enum: comparisons},
	{name: "severity", kind: enum, enum: severities},
	{name: "cvss_v3_base_score_comparison", kind: enum, enum: comparisons},
	{name: "cvss_v3_base_score", kind: float},
	{name: "cvss_v3_exploitability_score_comparison", kind: enum, enum: comparisons},
	{name: "cvss_v3_exploitability_score", kind: float},
	{name: "cvss_v3_impact_score_comparison", kind: enum, enum: comparisons},
	{name: "cvss_v3_impact_score", kind: float},
	{name: "fix_available", kind: boolean},
	{name: "vendor_only", kind: boolean},
	{name: "max_days_since_creation", kind: integer},
	{name: "max_days_since_fix", kind: integer},
	{name: "vendor_cvss_v3_base_score_comparison", kind: enum, enum: comparisons},
	{name: "vendor_cvss_v3_base_score", kind: float},
	{name: "vendor_cvss_v3_exploitability_score_comparison", kind: enum, enum: comparisons},
	{name: "vendor_cvss_v3_exploitability_score", kind: float},
	{name: "vendor_cvss_v3_impact_score_comparison", kind: enum, enum: comparisons},
	{name: "vendor_cvss_v3_impact_score", kind: float},
	{name: "package_path_exclude", kind: expression},
}

// endOfLife are gates of old bundles, and what to tell of their successor.
var endOfLife = map[string]string{
	"anchoresec":       "; vulnerabilities replaces it",
	"dockerfilecheck":  "; dockerfile replaces it",
	"filecheck":        "; files replaces it",
	"fileparse_passwd": "; passwd_file replaces it",
	"gemcheck":         "; ruby_gems replaces it",
	"npmcheck":         "; npms replaces it",
	"imagecheck":       "",
	"licblacklist":     "; licenses replaces it",
	"metadatacheck":    "; metadata replaces it",
	"pkgblacklist":     "; packages replaces it",
	"pkgcheck":         "; packages replaces it",
	"pkgdiff":          "",
	"secretcheck":      "; secret_scans replaces it",
	"suiddiff":         "",
}

func findGate(name string) (*gate, bool) {
	for i := range gates {
		if gates[i].name == name {
			return &gates[i], true
		}
	}
	return nil, false
}

func gateNames() []string {
	var names []string
	for _, g := range gates {
		names = append(names, g.name)
	}
	return names
}

// find looks a trigger up under Anchore's or its later name.
func (g *gate) find(name string) (*trigger, bool) {
	for i := range g.triggers {
		if t := &g.triggers[i]; t.name == name || t.later == name {
			return t, true
		}
	}
	return nil, false
}

func (g *gate) triggerNames() []string {
	var names []string
	for _, t := range g.triggers {
		names = append(names, t.name)
	}
	return names
}
