package doctor

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// RuntimeAuto takes crictl if it is there, else all of the others that are.
const RuntimeAuto = "auto"

const (
	maxOutput = 256 << 10        // bytes kept of what a program prints
	cleanUp   = 30 * time.Second // to remove what was pulled
)

// program is the command line of a runtime. Each argument that is IMAGE stands for the
// image, and one that is HOSTS for the folder of hosts.toml files.
type program struct {
	name               string
	names              []string // of the executable, with arguments
	has, pull, removal []string
}

// programs, in the order in which auto takes them. ctr has a namespace of its own, so
// that nothing of the node's is touched; it asks what hosts.toml says, as the kubelet
// does, but not by the kubelet's configuration.
var programs = []program{
	{"crictl", []string{"crictl"}, []string{"inspecti", "--quiet", "IMAGE"}, []string{"pull", "IMAGE"}, []string{"rmi", "IMAGE"}},
	{"podman", []string{"podman"}, []string{"image", "exists", "IMAGE"}, []string{"pull", "--quiet", "IMAGE"}, []string{"rmi", "IMAGE"}},
	{"docker", []string{"docker"}, []string{"image", "inspect", "IMAGE"}, []string{"pull", "--quiet", "IMAGE"}, []string{"rmi", "IMAGE"}},
	{"ctr", []string{"ctr", "--namespace", "pratique-doctor"}, nil, []string{"images", "pull", "--hosts-dir", "HOSTS", "IMAGE"}, []string{"images", "remove", "--sync", "IMAGE"}},
}

// Runtimes are the names of the runtimes that can be asked.
func Runtimes() []string {
	var names []string
	for _, p := range programs {
		names = append(names, p.name)
	}
	return names
}

// binDirs are searched besides PATH: kubelets' machines have programs there that are
// on nobody's PATH.
var binDirs = []string{"/usr/local/bin", "/usr/local/sbin", "/usr/bin", "/usr/sbin", "/bin", "/sbin", "/opt/bin", "/var/lib/rancher/rke2/bin"}

// checkRuntimes has the node's runtimes pull the bad image.
func (d *doctor) checkRuntimes(ctx context.Context) {
	if d.Runtime == "" {
		d.report.unasked("runtime", "--runtime auto has the node's own runtime pull the bad image, which proves the most")
		return
	}
	var found []program
	for _, p := range programs {
		if d.Runtime != p.name && d.Runtime != RuntimeAuto {
			continue
		}
		if path := d.find(p.names[0]); path != "" {
			p.names = append([]string{path}, p.names[1:]...)
			found = append(found, p)
		}
	}
	if len(found) > 0 && found[0].name == "crictl" {
		found = found[:1] // it asks as the kubelet does, whatever else is on the node
	}
	if len(found) == 0 {
		d.report.gap("runtime", "run it where the runtime is, or name another with --runtime", "there is no %s", strings.ReplaceAll(d.Runtime, RuntimeAuto, strings.Join(Runtimes(), ", ")))
	}
	for _, p := range found {
		d.checkRuntime(ctx, p)
	}
}

// find answers with the path of a program of the node, as the node has it.
func (d *doctor) find(name string) string {
	dirs := binDirs
	if d.Root == "" || d.Root == "/" {
		dirs = slices.Concat(filepath.SplitList(os.Getenv("PATH")), binDirs)
	}
	for _, dir := range dirs {
		place, err := d.place(filepath.Join(dir, name))
		if err != nil {
			continue
		}
		if info, err := os.Stat(place); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 { // #nosec G703 -- the folders are those of PATH
			return filepath.Join(dir, name)
		}
	}
	return ""
}

// checkRuntime pulls the bad image by one runtime, and removes it if it came. What was
// there before stays.
func (d *doctor) checkRuntime(ctx context.Context, p program) {
	name := "runtime, " + p.name
	if slices.Contains(p.pull, "HOSTS") && !d.isDir(d.hosts()) {
		d.report.gap(name, "name it with --containerd-config-dir", "there is no folder %s that could tell it of the proxy", d.hosts())
		return
	}
	d.progress("having %s pull %s", p.name, d.bad.pull)
	present := false
	if p.has != nil {
		_, err := d.run(ctx, p, d.Timeout, p.has)
		present = err == nil
	}
	out, err := d.run(ctx, p, d.Timeout, p.pull)
	if err == nil {
		d.report.failed(name, "the runtime goes past the proxy: look at its files above, and close the node's way to other registries (firewall)",
			loud+"%s has pulled %s", p.name, d.bad.pull)
		d.removePulled(ctx, p, present)
		return
	}
	// What is half there goes too; that there is nothing is no error.
	if !present {
		_, _ = d.run(context.WithoutCancel(ctx), p, cleanUp, p.removal)
	}
	d.judgePull(name, out, err, p.name == "ctr" || p.name == "crictl")
}

func (d *doctor) removePulled(ctx context.Context, p program, present bool) {
	if present {
		return
	}
	if out, err := d.run(context.WithoutCancel(ctx), p, cleanUp, p.removal); err != nil {
		d.report.gap("runtime, "+p.name+", removal", fmt.Sprintf("remove %s from this node", d.bad.pull), "%s", cmp.Or(lastLine(out), err.Error()))
	}
}

// judgePull says what a pull that failed comes to. Only the proxy's own words prove
// that it was the proxy; or that the proxy has refused the image to us, and its
// files lead a runtime that shows no words to nobody else.
func (d *doctor) judgePull(name, out string, err error, follows bool) {
	flat := strings.ReplaceAll(out, `\"`, `"`)
	_, reason, told := strings.Cut(flat, refusal)
	switch {
	case told:
		d.report.ok(name, "", "%s", firstLine(refusal+reason))
	case strings.Contains(out, "403 Forbidden") && d.said != "" && follows && d.led[d.bad.registry]:
		d.report.ok(name, "containerd before 2.3 does not show the reason: the proxy's log and `pratique audit` have it", "403 Forbidden, and hosts.toml leads to the proxy alone")
	case strings.Contains(out, "403 Forbidden") && d.said != "" && d.bad.registry == "":
		d.report.ok(name, "containerd before 2.3 does not show the reason: the proxy's log and `pratique audit` have it", "403 Forbidden from the proxy's own address")
	case errors.Is(err, context.DeadlineExceeded):
		d.report.gap(name, "--timeout allows more; a pull that hangs may be on its way to a registry that is closed off", "not done after %s", d.Timeout)
	default:
		d.report.gap(name, "a pull that fails for another reason proves nothing: mend that, and ask again", "%s", cmp.Or(lastLine(flat), err.Error()))
	}
}

// run runs a program of the node, in the node's file system.
func (d *doctor) run(ctx context.Context, p program, limit time.Duration, args []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	line := slices.Concat(p.names[1:], args)
	for i, arg := range line {
		switch arg {
		case "IMAGE":
			line[i] = d.bad.pull
		case "HOSTS":
			line[i] = d.hosts()
		}
	}
	cmd := exec.CommandContext(ctx, p.names[0], line...) // #nosec G204 -- a runtime of the table above, which the operator asks for
	if d.Root != "" && d.Root != "/" {
		if err := changeRoot(cmd, d.Root); err != nil {
			return "", err
		}
		cmd.Dir = "/"
	}
	cmd.WaitDelay = time.Second
	var out limited
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return out.String(), err
}

// limited keeps the end of what is written, where programs say what went wrong.
type limited struct{ bytes.Buffer }

// Write is part of io.Writer.
func (l *limited) Write(p []byte) (int, error) {
	if over := l.Len() + len(p) - maxOutput; over > 0 {
		l.Next(min(over, l.Len()))
	}
	if _, err := l.Buffer.Write(p[max(0, len(p)-maxOutput):]); err != nil {
		return 0, err
	}
	return len(p), nil
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}
