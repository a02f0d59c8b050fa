package bundle

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pratique/pratique/engine/image"
)

// The gate judges what the image's configuration asks of a runtime, not the
// text of a Dockerfile: builders write history in many forms, and an inherited
// instruction is in the configuration alone. An actual Dockerfile is never
// known, so rules that want one do not fire.

var errNoRuntime = errors.New("the image's configuration could not be read")

func (e *evaluation) runtime() (*image.Runtime, error) {
	if e.in.Image.Runtime == nil {
		return nil, errNoRuntime
	}
	return e.in.Image.Runtime, nil
}

// compileInstruction: dockerfile.instruction, for the presence of HEALTHCHECK.
func compileInstruction(v values) (check, string) {
	directive, op := v["instruction"], v["check"]
	if v.boolean("actual_dockerfile_only", false) {
		return never, "no image has an actual Dockerfile here, so the rule never fires"
	}
	if directive != "HEALTHCHECK" || op != "exists" && op != "not_exists" {
		return nil, fmt.Sprintf("of instructions it judges HEALTHCHECK exists and not_exists alone, not %s %s", directive, op)
	}
	return func(e *evaluation) ([]fired, error) {
		run, err := e.runtime()
		switch {
		case err != nil:
			return nil, err
		case run.Healthcheck && op == "exists":
			return once("dockerfile", "instruction",
				"Dockerfile directive 'HEALTHCHECK' check 'exists' matched against '' for line ''"), nil
		case !run.Healthcheck && op == "not_exists":
			return once("dockerfile", "instruction",
				"Dockerfile directive 'HEALTHCHECK' not found, matching condition 'not_exists' check"), nil
		}
		return nil, nil
	}, ""
}

// compileNoDockerfile: dockerfile.no_dockerfile_provided.
func compileNoDockerfile(values) (check, string) {
	return func(*evaluation) ([]fired, error) {
		return once("dockerfile", "no_dockerfile_provided", "Image was not analyzed with an actual Dockerfile"), nil
	}, ""
}

func never(*evaluation) ([]fired, error) { return nil, nil }

// compileExposedPorts: dockerfile.exposed_ports. A listed port stands for both
// protocols; the port 0 for any.
func compileExposedPorts(v values) (check, string) {
	if v.boolean("actual_dockerfile_only", false) {
		return never, "no image has an actual Dockerfile here, so the rule never fires"
	}
	var listed []int
	for _, item := range v.list("ports") {
		n, _ := strconv.Atoi(item) // checked with the other parameters
		if !slices.Contains(listed, n) {
			listed = append(listed, n)
		}
	}
	denied := v["type"] == "blacklist" || v["type"] == "denylist"
	return func(e *evaluation) ([]fired, error) {
		run, err := e.runtime()
		if err != nil {
			return nil, err
		}
		ports, err := exposed(run.ExposedPorts)
		if err != nil {
			return nil, err
		}
		switch {
		case slices.Contains(listed, 0):
			return anyPort(ports, denied), nil
		case denied:
			return deniedPorts(ports, listed), nil
		}
		return strayPorts(ports, listed), nil
	}, ""
}

// port is one exposed port.
type port struct {
	number   int
	protocol string
}

// String spells a port as EXPOSE does: the configuration writes "22/tcp" for
// EXPOSE 22, and stored exceptions hold the id of "22".
func (p port) String() string {
	if p.protocol == "tcp" {
		return strconv.Itoa(p.number)
	}
	return strconv.Itoa(p.number) + "/" + p.protocol
}

// full spells a port with its protocol.
func (p port) full() string { return strconv.Itoa(p.number) + "/" + p.protocol }

// exposed reads the configuration's ports: "80/tcp", "8080", "7000-7010/udp".
func exposed(keys []string) ([]port, error) {
	var ports []port
	for _, key := range keys {
		span, protocol, ok := strings.Cut(strings.ToLower(strings.TrimSpace(key)), "/")
		if !ok {
			protocol = "tcp"
		}
		from, to, ok := strings.Cut(span, "-")
		if !ok {
			to = from
		}
		first, err1 := strconv.ParseUint(from, 10, 16)
		last, err2 := strconv.ParseUint(to, 10, 16)
		if err1 != nil || err2 != nil || last < first {
			return nil, fmt.Errorf("the exposed port %q cannot be read", key)
		}
		for n := first; n <= last; n++ {
			if p := (port{int(n), protocol}); len(ports) < maxPorts {
				ports = append(ports, p)
			} else {
				return nil, fmt.Errorf("more than %d exposed ports", maxPorts)
			}
		}
	}
	slices.SortFunc(ports, func(a, b port) int {
		if a.number != b.number {
			return a.number - b.number
		}
		return strings.Compare(a.protocol, b.protocol)
	})
	return slices.Compact(ports), nil
}

const maxPorts = 2 << 16 // every port under two protocols

// deniedPorts fires once for each listed port that is exposed, under whatever
// protocol comes first.
func deniedPorts(ports []port, listed []int) []fired {
	var list []fired
	for _, n := range listed {
		i := slices.IndexFunc(ports, func(p port) bool { return p.number == n })
		if i >= 0 {
			list = append(list, portFired(ports[i], "Dockerfile exposes port (%s) which is in policy file DENIEDPORTS list"))
		}
	}
	return list
}

// strayPorts fires once for each exposed port that is not listed.
func strayPorts(ports []port, listed []int) []fired {
	var list []fired
	for _, p := range ports {
		if !slices.Contains(listed, p.number) {
			list = append(list, portFired(p, "Dockerfile exposes port (%s) which is not in policy file ALLOWEDPORTS list"))
		}
	}
	return list
}

// anyPort: a list with the port 0 denies, or allows nothing but, all ports.
func anyPort(ports []port, denied bool) []fired {
	if len(ports) == 0 {
		return nil
	}
	word := "ALLOWEDPORTS"
	if denied {
		word = "DENIEDPORTS"
	}
	var names []string
	for _, p := range ports {
		names = append(names, p.String())
	}
	return once("dockerfile", "exposed_ports",
		fmt.Sprintf("Dockerfile exposes network ports but policy sets %s=0: %s", word, pythonList(names)))
}

// portFired has the ids of both spellings of a TCP port.
func portFired(p port, format string) fired {
	message := fmt.Sprintf(format, p)
	f := fired{ids: []string{hashed("dockerfile", "exposed_ports", message)}, message: message, finding: -1}
	if full := fmt.Sprintf(format, p.full()); full != message {
		f.ids = append(f.ids, hashed("dockerfile", "exposed_ports", full))
	}
	return f
}

// pythonList writes strings as Python prints a list of them, which messages and
// so trigger ids contain.
func pythonList(items []string) string {
	var b strings.Builder
	b.WriteByte('[')
	for i, item := range items {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString("'" + item + "'")
	}
	b.WriteByte(']')
	return b.String()
}
