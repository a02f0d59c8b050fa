package misconfig

import (
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/inventory"
)

// runtime looks at what the configuration asks for.
func (c *checker) runtime(r *image.Runtime) {
	if c.isRoot(r.User) {
		c.add("root-user", "", "USER "+r.User, configLayer)
	}
	if !r.Healthcheck {
		c.add("no-healthcheck", "", "", configLayer)
	}
	c.ports(r.ExposedPorts)
	for _, v := range r.Volumes {
		if engineSocket.MatchString(path.Clean(v)) {
			c.add("docker-socket", v, "", configLayer)
		}
	}
	c.command(append(append([]string{}, r.Entrypoint...), r.Cmd...))
	for _, variable := range r.Env {
		name, value, _ := strings.Cut(variable, "=")
		if debugName.MatchString(name) && debugValue.MatchString(value) && !debugOff.MatchString(name) {
			c.add("debug-enabled", "", variable, configLayer)
		}
	}
}

// ports looks at what is exposed: "22/tcp", or a range "20-25/tcp".
func (c *checker) ports(exposed []string) {
	for _, text := range exposed {
		numbers, protocol, _ := strings.Cut(text, "/")
		first, last, isRange := strings.Cut(numbers, "-")
		if !isRange {
			last = first
		}
		from, err := strconv.Atoi(first)
		to, err2 := strconv.Atoi(last)
		if err != nil || err2 != nil || protocol == "udp" {
			continue
		}
		if from <= 22 && 22 <= to {
			c.add("exposed-ssh", "", text, configLayer)
		}
		for _, port := range slices.Sorted(maps.Keys(adminPorts)) {
			if from <= port && port <= to {
				c.add("exposed-admin", "", text+" ("+adminPorts[port]+")", configLayer)
			}
		}
	}
}

// maxCommand bounds how much of one word is looked at, in bytes.
const maxCommand = 64 << 10

// command looks for an SSH server in what is started, as a word of its own or in
// the text of a shell.
func (c *checker) command(words []string) {
	for _, text := range words {
		if len(text) > maxCommand {
			c.long++
		}
		for word := range strings.FieldsSeq(text[:min(len(text), maxCommand)]) {
			word = strings.Trim(word, `"';&`)
			base, dir := path.Base(word), path.Dir(word)
			if (base == "sshd" || base == "dropbear") && dir != "/run" && dir != "/var/run" { // which it wants to exist
				c.add("sshd", word, strings.Join(words, " "), configLayer)
				return
			}
		}
	}
}

var (
	engineSocket = regexp.MustCompile(`^(?:/var)?/run/(?:docker|podman/podman|containerd/containerd|crio/crio)\.sock$`)
	debugName    = regexp.MustCompile(`(?i)^(?:\w+_)?DEBUG$`)
	debugOff     = regexp.MustCompile(`(?i)^(?:NO|NOT|DISABLE|WITHOUT)_`)
	debugValue   = regexp.MustCompile(`(?i)^(?:1|true|yes|on|\*)$`)
)

// isRoot reports whether a user of a configuration is root: by name or number,
// whatever the group, by none at all, or by an account of the image that has
// root's number.
func (c *checker) isRoot(user string) bool {
	name, _, _ := strings.Cut(strings.TrimSpace(user), ":")
	if name == "" || name == "root" || isZero(name) {
		return true
	}
	return slices.ContainsFunc(c.image.Accounts, func(a inventory.Account) bool {
		return a.Path == "etc/passwd" && a.Name == name && isZero(a.UID)
	})
}

// isZero reports whether runtimes and the C library read a number as 0: "+0" is.
func isZero(number string) bool {
	n, err := strconv.Atoi(number)
	return err == nil && n == 0
}

// Instructions of a history, as Docker's builders write them.
var (
	pipeToShell = regexp.MustCompile(`\b(?:curl|wget)\b` + words + `(?:\|` + words + `){0,3}\|\s*` + before + interpreter + `|` +
		`\b(?:ba|da|z|k|a)?sh\s+(?:-c\s+)?["']?(?:<\(|\$\()\s*(?:curl|wget)\b`)
	unverified = regexp.MustCompile(`\bcurl\b` + words + `\s(?:-[a-zA-Z]*k[a-zA-Z]*|--insecure)(?:\s|$)|\bwget\b` + words + `\s--no-check-certificate\b|` +
		`\bgit\b[^|;&\n]*http\.sslVerify=false|\bGIT_SSL_NO_VERIFY=(?:1|true)\b|--trusted-host\b|\bstrict-ssl\s*=?\s*false\b`)
	unsigned = regexp.MustCompile(`\bapt(?:-get)?\b[^|;&\n]*\s--allow-unauthenticated\b|\bapk\b[^|;&\n]*\s--allow-untrusted\b|` +
		`\b(?:yum|dnf|microdnf|tdnf)\b[^|;&\n]*\s--nogpgcheck\b|\bzypper\b[^|;&\n]*\s--no-gpg-checks\b`)
	upgraded = regexp.MustCompile(`\bapt(?:-get)?\s+(?:-\S+\s+)*(?:full-|dist-)?upgrade\b|\bapk\s+(?:-\S+\s+)*upgrade\b|` +
		`\b(?:yum|dnf|microdnf|tdnf)\s+(?:-\S+\s+)*(?:update|upgrade)(?:\s+-\S+)*\s*(?:$|[|;&\n])`)
	chmodAll = regexp.MustCompile(`\bchmod\s+(?:-[a-zA-Z]+\s+)*(?:0?777|(?:a|ugo)[+=]rwx)\b`)
)

// Parts of the expressions: words of one command, what may stand before a
// program, and the programs that run what they are given.
const (
	words       = `(?:[^|;&\n]|&[^|;&\n])*`
	before      = `(?:sudo\s+(?:-\w+\s+)*)?(?:env\s+)?(?:\w+=\S*\s+)*(?:/bin/|/usr/bin/|/usr/local/bin/)?`
	interpreter = `(?:(?:ba|da|z|k|a)?sh|python[0-9.]*|perl|ruby|node|php)\b`
)

// maxHistory bounds how much of a history is looked at, in bytes; the longest
// that builders write have some hundred thousand.
const maxHistory = 1 << 20

// history looks at how the image was made.
func (c *checker) history(steps []image.History) {
	rest := maxHistory
	for i, step := range steps {
		text := step.CreatedBy
		if rest -= len(text); rest < 0 {
			c.add("history-too-long", "", "", configLayer)
			return
		}
		name, arguments := instruction(text)
		if name == "ADD" {
			c.added(arguments, text, c.layers[i])
		}
		if !runs[name] {
			continue
		}
		for _, look := range []struct {
			rule string
			re   *regexp.Regexp
		}{
			{"pipe-to-shell", pipeToShell}, {"unverified-fetch", unverified}, {"unsigned-packages", unsigned}, {"chmod-777", chmodAll}, {"upgrade-all", upgraded},
		} {
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

// runs are the instructions whose text is run, in this build or a later one.
var runs = map[string]bool{"RUN": true, "CMD": true, "ENTRYPOINT": true, "ONBUILD": true}

// instructions are those that builders write with their name; anything else is
// the command of a RUN.
var instructions = []string{
	"ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER", "ONBUILD", "SHELL", "STOPSIGNAL", "USER",
	"VOLUME", "WORKDIR",
}

// instruction takes a step apart: "/bin/sh -c #(nop) ADD a b" of the old
// builder, "ADD a b # buildkit" of BuildKit.
func instruction(text string) (name, arguments string) {
	text = strings.TrimSuffix(text, " # buildkit")
	if _, rest, ok := strings.Cut(text, "#(nop)"); ok && strings.HasPrefix(text, "/bin/sh -c") {
		text = strings.TrimSpace(rest)
	}
	name, arguments, _ = strings.Cut(strings.TrimSpace(text), " ")
	if slices.Contains(instructions, name) {
		return name, strings.TrimSpace(arguments)
	}
	return "RUN", text
}

// excerpt is the found part, at a length that a table can show.
func excerpt(text string, at []int) string {
	return text[at[0]:min(at[1], at[0]+160)]
}
