package admission

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/pratique/pratique/internal/gate"
)

// AnchoreFiles are those of Anchore's admission controller, JSON or YAML, as
// they are. They are read again within seconds of a change.
type AnchoreFiles struct {
	// Config is config.json, or the values of Anchore's chart. Default none.
	Config string `yaml:"config"`
	// Credentials is credentials.json. Nothing needs it here: policies belong to
	// no account. It is checked, so that what is wrong in it is known. Default none.
	Credentials string `yaml:"credentials"`
}

// maxAnchore is far above any such file.
const maxAnchore = 1 << 20

// anchoreText is what the files hold.
type anchoreText struct{ config, credentials string }

func (t anchoreText) key() string { return t.config + "\x00" + t.credentials }

func (f AnchoreFiles) read() (anchoreText, error) {
	var t anchoreText
	var configErr, credentialsErr error
	t.config, configErr = readText(f.Config)
	if f.Credentials != "" {
		t.credentials, credentialsErr = readText(f.Credentials)
	}
	return t, errors.Join(configErr, credentialsErr)
}

func readText(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("read Anchore's file: %w", err)
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxAnchore+1))
	if len(raw) > maxAnchore {
		err = fmt.Errorf("larger than %d bytes", maxAnchore)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("read Anchore's file %s: %w", name, err)
	}
	return string(raw), nil
}

// Keys of the files, in lower case, and whether they mean something here. Keys
// that are not listed are named in a warning: Anchore does not read them either.
var (
	anchoreKeys    = map[string]bool{"validator": true, "policyselectors": true, "requestanalysis": true, "anchoreendpoint": false, "existingcredentialssecret": false, "credentials": false}
	validatorKeys  = map[string]bool{"requestanalysis": true, "enabled": false}
	ruleKeys       = map[string]bool{"selector": true, "policyreference": true, "mode": true}
	selectorKeys   = map[string]bool{"resourcetype": true, "selectorkeyregex": true, "selectorvalueregex": true}
	referenceKeys  = map[string]bool{"username": true, "policybundleid": true}
	credentialKeys = map[string]bool{"users": true}
	accountKeys    = map[string]bool{"username": true, "password": true}
)

// anchoreModes and anchoreTypes are Anchore's words for ours. Types that Anchore
// does not know it takes for images, in silence; here they are mistakes.
var (
	anchoreModes = map[string]string{"policy": gate.ModePolicy, "analysis": gate.ModeAnalysis, "breakglass": gate.ModePassive}
	anchoreTypes = map[string]string{"resource": MatchResource, "pod": MatchResource, "namespace": MatchNamespace, "image": MatchImage}
)

// anchoreReader gathers what is wrong with the files, and what is odd.
type anchoreReader struct{ mistakes, warnings []string }

func (a *anchoreReader) mistake(format string, args ...any) {
	a.mistakes = append(a.mistakes, fmt.Sprintf(format, args...))
}

func (a *anchoreReader) warn(format string, args ...any) {
	a.warnings = append(a.warnings, fmt.Sprintf(format, args...))
}

// parseAnchore turns the files into selectors. All mistakes are named in one
// error.
func parseAnchore(t anchoreText) ([]Selector, []string, error) {
	a := &anchoreReader{}
	root := a.document("config", t.config, anchoreKeys)
	validator := a.fields("validator", root["validator"], validatorKeys)
	quiet := a.refuses("requestAnalysis", root["requestanalysis"]) || a.refuses("validator.requestAnalysis", validator["requestanalysis"])
	if a.refuses("validator.enabled", validator["enabled"]) {
		a.warn("validator.enabled: false turns nothing off, as in Anchore; say dry_run or mode breakglass")
	}
	accounts := a.accounts(t.credentials)
	var all []Selector
	list, ok := root["policyselectors"].([]any)
	if !ok {
		a.mistake("policySelectors: missing, or no list")
	}
	for i, v := range list {
		at := fmt.Sprintf("policySelectors[%d]", i)
		s := a.selector(at, a.fields(at, v, ruleKeys), accounts)
		s.quiet = quiet
		all = append(all, s)
	}
	if len(a.mistakes) > 0 {
		return nil, nil, fmt.Errorf("files of Anchore: %s", strings.Join(a.mistakes, "; "))
	}
	return all, a.warnings, nil
}

// document reads a file.
func (a *anchoreReader) document(name, text string, keys map[string]bool) map[string]any {
	var doc any
	dec := yaml.NewDecoder(strings.NewReader(text)) // JSON is YAML too
	if err := dec.Decode(&doc); err != nil {
		a.mistake("%s: %v", name, err)
		return nil
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		a.mistake("%s: more than one document", name)
	}
	return a.fields(name, doc, keys)
}

// fields takes a map with its keys in lower case, and looks for those that mean
// nothing.
func (a *anchoreReader) fields(at string, v any, keys map[string]bool) map[string]any {
	if v == nil {
		return nil
	}
	m, ok := v.(map[string]any)
	if !ok {
		a.mistake("%s: no map", at)
		return nil
	}
	lower := map[string]any{}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		name := strings.ToLower(k)
		if _, twice := lower[name]; twice {
			a.mistake("%s.%s: there twice, in upper and lower case", at, k)
		}
		if _, known := keys[name]; !known {
			a.warn("%s.%s: means nothing", at, k)
		}
		lower[name] = m[k]
	}
	return lower
}

func (a *anchoreReader) text(at string, v any) string {
	s, ok := v.(string)
	if !ok && v != nil {
		a.mistake("%s: no text", at)
	}
	return s
}

// refuses reports whether a switch is there and off.
func (a *anchoreReader) refuses(at string, v any) bool {
	on, ok := v.(bool)
	if !ok && v != nil {
		a.mistake("%s: neither true nor false", at)
	}
	return ok && !on
}

// accounts reads the names in the credentials; nil without such a file.
func (a *anchoreReader) accounts(text string) []string {
	if text == "" {
		return nil
	}
	list, ok := a.document("credentials", text, credentialKeys)["users"].([]any)
	if !ok {
		a.mistake("credentials.users: missing, or no list")
	}
	var names []string
	for i, v := range list {
		at := fmt.Sprintf("credentials.users[%d]", i)
		account := a.fields(at, v, accountKeys)
		name := a.text(at+".username", account["username"])
		if name == "" {
			a.mistake("%s.username: missing", at)
		}
		names = append(names, name)
	}
	return names
}

func (a *anchoreReader) selector(at string, rule map[string]any, accounts []string) Selector {
	match := a.fields(at+".Selector", rule["selector"], selectorKeys)
	reference := a.fields(at+".PolicyReference", rule["policyreference"], referenceKeys)
	kind := a.text(at+".Selector.ResourceType", match["resourcetype"])
	mode := a.text(at+".Mode", rule["mode"])
	s := Selector{
		Name: at,
		Match: Match{
			Type: anchoreTypes[strings.ToLower(kind)], Loose: true,
			Key: a.regexp(at+".Selector.SelectorKeyRegex", match["selectorkeyregex"]), Value: a.regexp(at+".Selector.SelectorValueRegex", match["selectorvalueregex"]),
		},
		Mode: anchoreModes[strings.ToLower(mode)], Policy: a.text(at+".PolicyReference.PolicyBundleId", reference["policybundleid"]),
	}
	if s.Match.Type == "" {
		a.mistake("%s.Selector.ResourceType: %q is none of resource, pod, namespace, image", at, kind)
	}
	if s.Mode == "" {
		a.mistake("%s.Mode: %q is none of policy, analysis, breakglass", at, mode)
	}
	if s.Match.Type != MatchImage && s.Match.Key == "" {
		a.mistake("%s.Selector.SelectorKeyRegex: missing", at)
	}
	if s.Match.Value == "" {
		a.mistake("%s.Selector.SelectorValueRegex: missing", at)
	}
	if name := a.text(at+".PolicyReference.Username", reference["username"]); name != "" && accounts != nil && !slices.Contains(accounts, name) {
		a.warn("%s.PolicyReference.Username: %q is not in the credentials; nothing needs it here", at, name)
	}
	return s
}

// regexp checks an expression. One that matches anywhere often matches more than
// was meant.
func (a *anchoreReader) regexp(at string, v any) string {
	text := a.text(at, v)
	if _, err := regexp.Compile(text); err != nil {
		a.mistake("%s: %v", at, err)
	}
	whole := strings.HasPrefix(text, "^") && strings.HasSuffix(text, "$")
	if text != "" && !whole && !oneOf(text, ".*", "name") {
		a.warn("%s: %q matches anywhere; ^%s$ matches the whole", at, text, text)
	}
	return text
}
