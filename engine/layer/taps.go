package layer

import (
	"fmt"
	"path"
	"strings"

	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/license"
	"github.com/pratique/pratique/engine/secret"
)

// taps lists who wants to see the file's content, judged by its path and head.
func (rec *recorder) taps(list []tap, c *content) []tap {
	if c.size == 0 {
		return list
	}
	text := secret.IsText(c.head[:min(len(c.head), sniffSize)])
	if rec.secrets != nil && text {
		list = append(list, &secretTap{rec.secrets.Stream(c.path)})
	}
	if len(rec.expressions) > 0 && text {
		list = append(list, &expressionTap{keeper: keeper{limit: rec.limits.Content}})
	}
	if rec.config.Licenses != LicensesOff && text && license.IsLicenseFile(c.path) {
		list = append(list, &licenseTap{keeper{limit: license.MaxText}})
	}
	if rec.wanted(c.path) {
		list = append(list, &retrieveTap{keeper{limit: min(rec.limits.Content, rec.limits.Contents-rec.kept)}})
	}
	if rec.clamd != nil {
		list = append(list, rec.clamd.stream())
	}
	return list
}

// wanted reports whether the configuration asks for a file's content.
func (rec *recorder) wanted(name string) bool {
	for _, pattern := range rec.retrieve {
		if ok, err := path.Match(pattern, name); ok && err == nil {
			return true
		}
	}
	return false
}

// keeper keeps the first bytes of a file.
type keeper struct {
	limit int64
	kept  []byte
	cut   bool
}

func (k *keeper) Write(p []byte) (int, error) {
	room := max(k.limit-int64(len(k.kept)), 0)
	if int64(len(p)) > room {
		k.cut = true
		k.kept = append(k.kept, p[:room]...)
		return len(p), nil
	}
	k.kept = append(k.kept, p...)
	return len(p), nil
}

// secretTap looks for credentials.
type secretTap struct{ *secret.Stream }

func (t *secretTap) end(rec *recorder, path string) {
	for _, f := range t.Close() {
		if rec.more(path) {
			rec.report.Secrets = append(rec.report.Secrets, told(&f, inventory.Secret{Where: "file", Path: path}))
		}
	}
	if n := t.Omitted(); n > 0 {
		rec.gap(inventory.Partial, "too-many-findings", path, fmt.Sprintf("the file holds %d more credentials; they are not listed", n))
	}
	if n := t.Unread(); n > 0 {
		rec.gap(inventory.Partial, "secrets-unread", path, fmt.Sprintf("so much of the file looks like credentials that %d bytes of it were not searched for them", n))
	}
}

// expressionTap looks for the configured expressions.
type expressionTap struct{ keeper }

func (t *expressionTap) end(rec *recorder, path string) {
	if t.cut {
		rec.gap(inventory.Partial, "content-too-large", path, "only the beginning of the file was searched by the configured expressions")
	}
	for _, e := range rec.expressions {
		at := e.re.FindIndex(t.kept)
		if at != nil && rec.more(path) {
			line := 1 + strings.Count(string(t.kept[:at[0]]), "\n")
			rec.report.Contents = append(rec.report.Contents, inventory.ContentMatch{Path: path, Expression: e.name, Line: line})
		}
	}
}

// licenseTap recognises licences.
type licenseTap struct{ keeper }

func (t *licenseTap) end(rec *recorder, path string) {
	if t.cut {
		rec.gap(inventory.Partial, "license-too-large", path, fmt.Sprintf("only the first %d bytes of the file were searched for licences", license.MaxText))
	}
	found := inventory.LicenseFile{Path: path}
	if expressions, ok := license.Copyright(t.kept); ok {
		found.Expression, found.Coverage = license.All(expressions), 1
	} else if rec.licenses != nil {
		found.Expression, found.Coverage = rec.licenses.Classify(t.kept)
	}
	if found.Expression != "" && rec.more(path) {
		rec.report.Licenses = append(rec.report.Licenses, found)
	}
}

// retrieveTap keeps a file that the configuration asks for.
type retrieveTap struct{ keeper }

func (t *retrieveTap) end(rec *recorder, path string) {
	rec.kept += int64(len(t.kept))
	rec.report.Retrieved = append(rec.report.Retrieved, inventory.Retrieved{Path: path, Content: t.kept, Cut: t.cut})
	if t.cut {
		rec.gap(inventory.Partial, "content-too-large", path, "the file's content was kept only in part")
	}
}
