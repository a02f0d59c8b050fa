package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pratique/pratique/internal/admission/cluster"
	"github.com/pratique/pratique/internal/doctor"
	"github.com/pratique/pratique/internal/upstream"
)

func newDoctorCommand() *cobra.Command {
	var f doctorFlags
	cmd := &cobra.Command{
		Use: "doctor [REGISTRY...]", Short: "Look from a node whether images really come through Pratique, and what it refuses",
		Long: `Look, from a node or a Pod, whether images really come through Pratique, and whether
one that has to be refused is refused.

REGISTRY is a host whose images the nodes pull (docker.io, ghcr.io). Looked at are those
too that the images and the node's own files name.

  proxy       answers as a registry: certificate, clock, log-in; and as a mirror (ns=)
  images      --bad-image is refused by tag, by digest and with HEAD; --good-image is
              served. --push-test-image REPOSITORY makes a bad image with known
              vulnerabilities, tries its layers as well, and removes it
  node        the files of containerd, CRI-O, podman and docker lead to the proxy and
              nowhere else, also after a refusal
  runtime     --runtime: the node's own runtime pulls the bad image, and has to fail with
              the proxy's words; what it pulls is removed
  admission   --kubeconfig or --in-cluster: the webhook is registered, refuses a Pod with
              the bad image (a dry run), and lets in one with the good image

Images are named as for check. The log-in for the proxy is the one that docker login or
podman login left, unless --user or --anonymous says otherwise. containerd's sockets are
found as its programs find them: CONTAINERD_ADDRESS, CONTAINER_RUNTIME_ENDPOINT.

Exit code 0: all that was asked for is as it should be. 1: something is not. 2: nothing
is wrong, but something could not be found out; or the command line is wrong.`,
		Example: `  pratique doctor --proxy https://pratique.example:5000 --bad-image docker.io/library/nginx:1.14 --runtime auto
  pratique doctor docker.io ghcr.io --proxy https://pratique.example:5000 --ca /etc/ssl/pratique-ca.pem --push-test-image team/doctor
  pratique doctor --root /host --direct registry.example --bad-image docker.io/library/nginx:1.14 --good-image registry.k8s.io/pause:3.10
  pratique doctor --bad-image docker.io/library/nginx:1.14 --in-cluster --namespace shop --skip-node --format json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFormat(f.format); err != nil {
				return err
			}
			f.options.Registries = args
			return f.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f.define(cmd)
	return cmd
}

// doctorFlags are the flags of doctor.
type doctorFlags struct {
	options                          doctor.Options
	format, passwordFile, kubeconfig string
	anonymous, skipNode, inCluster   bool
}

func (f *doctorFlags) define(cmd *cobra.Command) {
	o, flags := &f.options, cmd.Flags()
	flags.StringVar(&o.Proxy, "proxy", "http://127.0.0.1:5000", "address of the registry of Pratique, as nodes know it")
	flags.StringArrayVar(&o.Aliases, "alias", nil, "another HOST:PORT by which nodes know it (repeatable)")
	flags.StringVar(&o.CAFile, "ca", "", "file with authorities to trust for the proxy, besides the system's")
	flags.BoolVar(&o.Insecure, "insecure", false, "do not verify the proxy's certificate")
	flags.StringVar(&o.Username, "user", "", "user or robot that asks the proxy")
	flags.StringVar(&f.passwordFile, "password-file", "", "file with its password")
	flags.BoolVar(&f.anonymous, "anonymous", false, "ask the proxy without a log-in")
	flags.StringVar(&o.BadImage, "bad-image", "", "an image that has to be refused")
	flags.StringVar(&o.GoodImage, "good-image", "", "an image that has to be served")
	flags.StringVar(&o.TestRepository, "push-test-image", "", "repository at the proxy to which a bad image is pushed for the time of the test")
	flags.StringArrayVar(&o.Direct, "direct", nil, "registry that nodes may ask past the proxy (repeatable)")
	flags.BoolVar(&f.skipNode, "skip-node", false, "do not look at the files of runtimes")
	flags.StringVar(&o.Root, "root", "/", "where the node's file system is, in a Pod that mounts it")
	flags.StringVar(&o.HostsDir, "containerd-config-dir", "", "folder with hosts.toml files (default what containerd's configuration says, else "+doctor.DefaultHostsDir+")")
	flags.StringVar(&o.ContainerdConfig, "containerd-config", doctor.DefaultContainerdConfig, "configuration of containerd")
	flags.StringVar(&o.RegistriesConf, "registries-conf", doctor.DefaultRegistriesConf, "registries of CRI-O and podman; with the folder of that name and .d, and policy.json beside it")
	flags.StringVar(&o.DockerConfig, "docker-config", doctor.DefaultDockerConfig, "configuration of the docker engine")
	flags.StringVar(&o.Runtime, "runtime", "none", "runtime that pulls the bad image: none, auto (crictl, or else each that is there), "+strings.Join(doctor.Runtimes(), ", "))
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "file that leads to the cluster whose admission is tried")
	flags.BoolVar(&f.inCluster, "in-cluster", false, "try the admission of the cluster that this runs in")
	flags.StringVar(&o.Namespace, "namespace", "default", "namespace of the Pods of the dry run")
	flags.DurationVar(&o.Timeout, "timeout", time.Minute, "how long one question or one pull may take")
	flags.StringVar(&f.format, "format", "table", "table or json")
}

func (f *doctorFlags) run(ctx context.Context, out, progressTo io.Writer) error {
	o := &f.options
	o.Now, o.Node = time.Now, !f.skipNode
	if o.Runtime == "none" {
		o.Runtime = ""
	}
	if err := f.logIn(ctx); err != nil {
		return err
	}
	if f.kubeconfig != "" || f.inCluster {
		var err error
		if o.Cluster, err = cluster.NewProbe(f.kubeconfig); err != nil {
			return err
		}
		if o.Cluster == nil {
			return errors.New("--in-cluster: this is no Pod with a service account: name a file with --kubeconfig")
		}
	}
	p := newProgress(progressTo)
	o.Progress = p.show
	report, err := doctor.Run(ctx, *o)
	p.done()
	if err != nil {
		return err
	}
	if err := printDoctor(out, f.format, report); err != nil {
		return err
	}
	switch {
	case report.Count(doctor.Failed) > 0:
		return &exitError{Code: exitStop}
	case report.Count(doctor.NotChecked) > 0:
		return &exitError{Code: exitFailed}
	}
	return nil
}

// logIn finds the name and password that are shown to the proxy.
func (f *doctorFlags) logIn(ctx context.Context) error {
	o := &f.options
	switch {
	case (o.Username == "") != (f.passwordFile == ""):
		return errors.New("--user and --password-file go together")
	case f.anonymous && o.Username != "":
		return errors.New("--anonymous and --user exclude one another")
	case f.anonymous:
		return nil
	case o.Username != "":
		raw, err := os.ReadFile(f.passwordFile)
		if err != nil {
			return fmt.Errorf("read password: %w", err)
		}
		o.Password = strings.TrimRight(string(raw), " \t\r\n")
		return nil
	}
	u, err := url.Parse(o.Proxy)
	if err != nil || u.Host == "" {
		return nil // the options are looked at by who uses them
	}
	login, err := upstream.ForHost(ctx, u.Host)
	if err != nil {
		return err
	}
	o.Username, o.Password = login.Credentials.Username, login.Credentials.Password
	return nil
}

// doctorDocument is what doctor prints as JSON.
type doctorDocument struct {
	*doctor.Report
	OK         int `json:"ok"`
	Failed     int `json:"failed"`
	NotChecked int `json:"not_checked"`
	NotAsked   int `json:"not_asked"`
}

// maxCell bounds a detail in the table; what it leaves out stands below or in JSON.
const maxCell = 120

func printDoctor(w io.Writer, format string, r *doctor.Report) error {
	doc := doctorDocument{r, r.Count(doctor.OK), r.Count(doctor.Failed), r.Count(doctor.NotChecked), r.Unasked()}
	if format == "json" {
		return printJSON(w, doc)
	}
	var rows [][]string
	for _, c := range r.Checks {
		rows = append(rows, []string{c.Name, resultOf(c), shorten(c.Detail)})
	}
	if err := table(w, []string{"CHECK", "RESULT", "DETAIL"}, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%s\n%d ok, %d failed, %d not checked, %d not asked for\n", explanations(r.Checks), doc.OK, doc.Failed, doc.NotChecked, doc.NotAsked)
	return err
}

func resultOf(c doctor.Check) string {
	if !c.Asked {
		return "not asked"
	}
	return string(c.Result)
}

// explanations are what the table has no room for: what was seen, where that is cut,
// and what to do, once for all checks that want the same.
func explanations(checks []doctor.Check) string {
	var b strings.Builder
	told := map[string]bool{"": true}
	for _, c := range checks {
		cut, next := shorten(c.Detail) != c.Detail, !told[c.Next]
		if cut || next {
			fmt.Fprintf(&b, "\n%s (%s)\n", printable(c.Name), resultOf(c))
		}
		if cut {
			fmt.Fprintf(&b, "  seen:  %s\n", printable(c.Detail))
		}
		if next {
			fmt.Fprintf(&b, "  to do: %s\n", printable(c.Next))
		}
		told[c.Next] = true
	}
	return b.String()
}

func shorten(text string) string {
	runes := []rune(text)
	if len(runes) <= maxCell {
		return text
	}
	return string(runes[:maxCell-3]) + "..."
}
