package misconfig

import (
	"path"
	"regexp"
	"strings"

	"github.com/pratique/pratique/engine/image"
)

// runtime looks at what the configuration asks for.
func (c *checker) runtime(r *image.Runtime) {
	if isRoot(r.User) {
		c.add("root-user", "", "USER "+r.User, configLayer)
	}
	if !r.Healthcheck {
		c.add("no-healthcheck", "", "", configLayer)
	}
	for _, exposed := range r.ExposedPorts {
		port, protocol, _ := strings.Cut(exposed, "/")
		switch {
		case port == "22" && protocol != "udp":
			c.add("exposed-ssh", "", exposed, configLayer)
		case adminPorts[port] != "":
			c.add("exposed-admin", "", exposed+" ("+adminPorts[port]+")", configLayer)
		}
	}
	if len(r.Volumes) > 0 {
		for _, v := range r.Volumes {
			if engineSocket.MatchString(v) {
				c.add("docker-socket", v, "", configLayer)
			}
		}
	}
	command := append(append([]string{}, r.Entrypoint...), r.Cmd...)
	for _, word := range command {
		if path.Base(word) == "sshd" {
			c.add("sshd", word, strings.Join(command, " "), configLayer)
			break
		}
	}
	for _, variable := range r.Env {
		name, value, _ := strings.Cut(variable, "=")
		if debugName.MatchString(name) && debugValue.MatchString(value) {
			c.add("debug-enabled", "", variable, configLayer)
		}
	}
}

var (
	engineSocket = regexp.MustCompile(`^(?:/var)?/run/(?:docker|podman/podman|containerd/containerd|crio/crio)\.sock$`)
	debugName    = regexp.MustCompile(`(?i)^(?:\w+_)?DEBUG$`)
	debugValue   = regexp.MustCompile(`(?i)^(?:1|true|yes|on|\*)$`)
)

// isRoot reports whether a user of a configuration is root: its name or number,
// whatever the group, or none at all.
func isRoot(user string) bool {
	name, _, _ := strings.Cut(strings.TrimSpace(user), ":")
	return name == "" || name == "root" || strings.Trim(name, "0") == ""
}

// Instructions of a history, as Docker's builders write them.
var (
	pipeToShell = regexp.MustCompile(`\b(?:curl|wget)\b[^|;&\n]{0,500}\|\s*(?:sudo\s+(?:-\w+\s+)*)?(?:/bin/|/usr/bin/)?(?:env\s+)?(?:ba|da|z|k|a)?sh\b|` +
		`\b(?:ba|da|z|k|a)?sh\s+(?:-c\s+)?["']?(?:<\(|\$\()\s*(?:curl|wget)\b`)
	unverified = regexp.MustCompile(`\bcurl\b[^|;&\n]{0,300}\s(?:-[a-zA-Z]*k[a-zA-Z]*|--insecure)(?:\s|$)|\bwget\b[^|;&\n]{0,300}\s--no-check-certificate\b|` +
		`\bgit\b[^|;&\n]{0,100}http\.sslVerify=false|--trusted-host\b|\bstrict-ssl\s*=?\s*false\b`)
	chmodAll = regexp.MustCompile(`\bchmod\s+(?:-[a-zA-Z]+\s+)*(?:0?777|a\+rwx|ugo\+rwx)\b`)
)

// maxInstruction bounds how much of one step is looked at, in bytes.
const maxInstruction = 64 << 10

// history looks at how the image was made.
func (c *checker) history(steps []image.History) {
	for i, step := range steps {
		text := step.CreatedBy[:min(len(step.CreatedBy), maxInstruction)]
		if name, arguments := instruction(text); name == "ADD" {
			c.added(arguments, text, c.layers[i])
			continue
		}
		for _, look := range []struct {
			rule string
			re   *regexp.Regexp
		}{{"pipe-to-shell", pipeToShell}, {"unverified-fetch", unverified}, {"chmod-777", chmodAll}} {
			if at := look.re.FindStringIndex(text); at != nil {
				c.add(look.rule, "", excerpt(text, at), c.layers[i])
			}
		}
	}
}

// added looks at what an ADD fetches.
func (c *checker) added(arguments, text string, layer int) {
	for _, word := range strings.Fields(arguments) {
		lower := strings.ToLower(strings.Trim(word, `"',[]`))
		switch {
		case strings.HasPrefix(lower, "http://"):
			c.add("add-from-http", "", "ADD "+arguments, layer)
			return
		case strings.HasPrefix(lower, "https://") && !strings.Contains(text, "--checksum="):
			c.add("add-remote", "", "ADD "+arguments, layer)
			return
		}
	}
}

// instruction takes a step apart: "/bin/sh -c #(nop) ADD a b" of the old
// builder, "ADD a b # buildkit" of BuildKit. Anything else is a RUN.
func instruction(text string) (name, arguments string) {
	text = strings.TrimSuffix(text, " # buildkit")
	if _, rest, ok := strings.Cut(text, "#(nop)"); ok && strings.HasPrefix(text, "/bin/sh -c") {
		text = strings.TrimSpace(rest)
	}
	name, arguments, _ = strings.Cut(strings.TrimSpace(text), " ")
	if name == "ADD" || name == "COPY" {
		return name, strings.TrimSpace(arguments)
	}
	return "RUN", text
}

// excerpt is the found part, at a length that a table can show.
func excerpt(text string, at []int) string {
	return text[at[0]:min(at[1], at[0]+160)]
}
