package bundle

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// kind is the type of a parameter's text.
type kind int

const (
	text       kind = iota // any
	boolean                // true or false, in any case
	integer                // digits with optional blanks
	float                  // digits, optional minus and fraction
	enum                   // one of a list
	commaList              // items without commas, not empty
	numberList             // a comma list of integers
	expression             // a regular expression, applied at the start
)

// param is a parameter of a trigger.
type param struct {
	name     string
	alias    string // an older name
	kind     kind
	required bool
	enum     []string
}

func (t *trigger) param(name string) (param, bool) {
	for _, p := range t.params {
		if p.name == name || p.alias == name && name != "" {
			return p, true
		}
	}
	return param{}, false
}

func (t *trigger) paramNames() []string {
	names := []string{}
	for _, p := range t.params {
		names = append(names, p.name)
	}
	return names
}

var (
	integerText = regexp.MustCompile(`^\s*[0-9]{1,9}\s*$`)
	floatText   = regexp.MustCompile(`^\s*-?[0-9]{1,9}(\.[0-9]{1,9})?\s*$`)
)

// check says what is wrong with a value.
func (p param) check(v string) error {
	switch p.kind {
	case boolean:
		if _, err := parseBool(v); err != nil {
			return err
		}
	case integer:
		if !integerText.MatchString(v) {
			return errors.New("must be a whole number")
		}
	case float:
		if !floatText.MatchString(v) {
			return errors.New("must be a number")
		}
	case enum:
		if !slices.Contains(p.enum, v) {
			return fmt.Errorf("must be one of %s", strings.Join(p.enum, " "))
		}
	case commaList, numberList:
		return p.checkList(v)
	case expression:
		_, err := compileStart(v)
		return err
	}
	return nil
}

func (p param) checkList(v string) error {
	for item := range strings.SplitSeq(v, ",") {
		if strings.TrimSpace(item) == "" {
			return errors.New("an item of the list is empty")
		}
		if p.kind == numberList && !integerText.MatchString(item) {
			return fmt.Errorf("%q must be a whole number", item)
		}
	}
	return nil
}

func parseBool(v string) (bool, error) {
	switch strings.ToLower(v) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, errors.New("must be true or false")
}

// values are the parameters of one rule, each checked against its kind: the
// readers below cannot go wrong.
type values map[string]string

func (v values) boolean(name string, unset bool) bool {
	if b, err := parseBool(v[name]); err == nil {
		return b
	}
	return unset
}

func (v values) integer(name string) int {
	n, _ := strconv.Atoi(strings.TrimSpace(v[name]))
	return n
}

func (v values) float(name string) float64 {
	f, _ := strconv.ParseFloat(strings.TrimSpace(v[name]), 64)
	return f
}

func (v values) list(name string) []string {
	var items []string
	for item := range strings.SplitSeq(v[name], ",") {
		items = append(items, strings.TrimSpace(item))
	}
	return items
}

func (v values) has(name string) bool {
	_, ok := v[name]
	return ok
}
