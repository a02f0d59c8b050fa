package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Source says where settings come from.
type Source struct {
	File string   // "": none
	Env  []string // "NAME=value", as os.Environ gives them
	Set  []string // "gate.mode=passive", from the command line
}

const (
	envPrefix   = "PRATIQUE_"
	maxFileSize = 4 << 20 // bytes
)

// foreign are variables with our prefix that are not settings.
var foreign = []string{"PRATIQUE_CONFIG", "PRATIQUE_URL", "PRATIQUE_REQUIRE", "PRATIQUE_SUITE_LOG", "PRATIQUE_INSTALL"}

// Load reads and checks the configuration. An unknown key is an error that
// names the line, or the variable.
func Load(src Source) (Config, error) {
	c := Defaults()
	if src.File != "" {
		if err := c.readFile(src.File); err != nil {
			return Config{}, err
		}
	}
	if err := c.readEnv(src.Env); err != nil {
		return Config{}, err
	}
	for _, s := range src.Set {
		key, value, ok := strings.Cut(s, "=")
		if !ok {
			return Config{}, fmt.Errorf("--set %s: want key=value, as in gate.mode=passive", s)
		}
		if err := c.set(strings.Split(key, "."), value); err != nil {
			return Config{}, fmt.Errorf("--set %s: %w", key, err)
		}
	}
	c.DataDir, c.Auth.UsersFile = expand(c.DataDir), expand(c.Auth.UsersFile)
	return c, c.Validate()
}

func (c *Config) readFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if len(raw) > maxFileSize {
		err = fmt.Errorf("larger than %d bytes", maxFileSize)
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = decode(raw, c)
	}
	if err != nil {
		return fmt.Errorf("configuration %s: %w", path, err)
	}
	return nil
}

// decode reads exactly one YAML document, or none: what stands in a second one
// would be settings that nobody obeys.
func decode(raw []byte, into any) error {
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	err := dec.Decode(into)
	if errors.Is(err, io.EOF) {
		return nil
	}
	var second yaml.Node
	if err == nil && !errors.Is(dec.Decode(&second), io.EOF) {
		err = errors.New("more than one YAML document")
	}
	return err
}

// readEnv takes PRATIQUE_GATE_MODE and its kin. A variable whose name is of no
// setting is an error: a typing error in a security setting must not be quiet.
func (c *Config) readEnv(env []string) error {
	for _, line := range env {
		name, value, _ := strings.Cut(line, "=")
		if !strings.HasPrefix(name, envPrefix) || slices.Contains(foreign, name) {
			continue
		}
		path, ok := c.pathOf(strings.ToLower(strings.TrimPrefix(name, envPrefix)))
		if !ok {
			return fmt.Errorf("environment: %s names no setting", name)
		}
		if err := c.set(path, value); err != nil {
			return fmt.Errorf("environment: %s: %w", name, err)
		}
	}
	return nil
}

// pathOf finds the setting whose keys, joined by underscores, are the name.
func (c *Config) pathOf(name string) ([]string, bool) {
	var found []string
	walk(reflect.ValueOf(c).Elem(), nil, func(path []string, _ reflect.Value) {
		if strings.Join(path, "_") == name {
			found = slices.Clone(path)
		}
	})
	return found, found != nil
}

// set gives a setting a value, written as YAML.
func (c *Config) set(path []string, value string) error {
	done := false
	var problem error
	walk(reflect.ValueOf(c).Elem(), nil, func(p []string, v reflect.Value) {
		if done || !slices.Equal(p, path) {
			return
		}
		done = true
		if v.Kind() == reflect.String {
			v.SetString(value)
			return
		}
		v.SetZero()
		problem = decode([]byte(value), v.Addr().Interface())
	})
	if !done {
		return fmt.Errorf("%s is no setting", strings.Join(path, "."))
	}
	return problem
}

// walk visits every setting with the keys that lead to it.
func walk(v reflect.Value, path []string, visit func([]string, reflect.Value)) {
	for i := range v.NumField() {
		name, options, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		field := v.Field(i)
		switch {
		case options == "inline":
			walk(field, path, visit)
		case name == "" || name == "-":
		default:
			at := append(slices.Clone(path), name)
			visit(at, field)
			if field.Kind() == reflect.Struct {
				walk(field, at, visit)
			}
		}
	}
}
