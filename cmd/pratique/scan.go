package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pratique/pratique/engine/advisory"
	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/layer"
	"github.com/pratique/pratique/engine/policy/bundle"
	"github.com/pratique/pratique/engine/sbom"
	"github.com/pratique/pratique/internal/config"
	"github.com/pratique/pratique/internal/feeds"
	"github.com/pratique/pratique/internal/scan"
)

func newScanCommand(flags *configFlags) *cobra.Command {
	var o scanOptions
	cmd := &cobra.Command{
		Use: "scan IMAGE", Short: "Scan an image without a running system", Args: cobra.ExactArgs(1),
		Long: `Scan an image without a running system: everything that is in it, what is wrong
with it, and what the policy makes of that. Exit code 0: passed; 1: the policy
says stop, or the image is not understood; 2: the scan did not work.

IMAGE is a reference in a registry, or
  oci:DIR                    an OCI image layout
  oci-archive:FILE           a tar of one
  docker-archive:FILE[:TAG]  what docker save or podman save wrote
  docker-daemon:NAME         an image of the running Docker engine (DOCKER_HOST)
  containerd:NAME            an image of the running containerd (CONTAINERD_ADDRESS,
                             CONTAINERD_NAMESPACE), by its full name`,
		Example: `  pratique scan debian:12
  pratique scan oci:./layout --format json | jq .findings
  docker save app:1.0 | gzip > app.tgz && pratique scan docker-archive:app.tgz
  CONTAINERD_NAMESPACE=k8s.io pratique scan containerd:registry.example/team/app:1.0
  pratique scan debian:12 --platform linux/amd64 --format cyclonedx > sbom.json
  pratique scan registry.example/team/app:1.0 --sbom sbom.json
  pratique scan oci-archive:image.tar --policy ./bundle.json --tag registry.example/team/app:1.0`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := flags.load()
			if err != nil {
				return err
			}
			documents, err := scanImage(cmd.Context(), c, args[0], o, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if err := printScan(cmd.OutOrStdout(), o.format, documents); err != nil {
				return err
			}
			for _, d := range documents {
				if !d.Verdict.Passed {
					return &exitError{Code: exitStop}
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&o.format, "format", "table", "table, json, cyclonedx or spdx")
	cmd.Flags().StringVar(&o.sbom, "sbom", "", "file with a bill of materials (CycloneDX, SPDX, Syft) to compare with what is found")
	cmd.Flags().StringVar(&o.platform, "platform", "", "only this platform, as in linux/arm64")
	cmd.Flags().StringVar(&o.policy, "policy", "", "bundle: the name of one that ships, or a file (default: policy.active)")
	cmd.Flags().StringVar(&o.tag, "tag", "", "name under which the policy is to judge a layout")
	cmd.Flags().BoolVar(&o.noCache, "no-cache", false, "read everything, also what an earlier scan has read")
	return cmd
}

// scanOptions are the flags of scan.
type scanOptions struct {
	format, platform, policy, tag, sbom string
	noCache                             bool
}

// scanCache bounds what scans keep in the data directory, in bytes.
const scanCache = 2 << 30

func scanImage(ctx context.Context, c config.Config, reference string, o scanOptions, out io.Writer) (docs []scan.Document, err error) {
	b, err := findBundle(c, o.policy)
	if err != nil {
		return nil, err
	}
	store, err := advisory.OpenStore(feeds.IndexDir(c.DataDir))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	data, ok := store.Current()
	if !ok {
		return nil, fmt.Errorf("no vulnerability data in %s: run `pratique feeds sync` first", c.DataDir)
	}
	defer data.Release()
	bill, err := readBill(o.sbom)
	if err != nil {
		return nil, err
	}
	images, name, err := openImage(ctx, reference, o.tag)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", reference, err)
	}
	defer func() { err = errors.Join(err, images.Close()) }()
	analyzer, err := layer.New(c.Analysis)
	if err != nil {
		return nil, err
	}
	var cache *scan.Cache
	if !o.noCache {
		cache = &scan.Cache{Dir: c.Path("scans"), Limit: scanCache}
		defer func() { err = errors.Join(err, cache.Prune()) }()
	}
	p := newProgress(out)
	defer p.done()
	docs, err = scan.Scan(ctx, images, images.Root(), scan.Options{
		Reference: reference, Name: name, Bundle: b, Data: data, Analyzer: analyzer, Cache: cache, SBOM: bill, Platform: o.platform, Progress: p.show, Now: time.Now(),
	})
	if err != nil {
		return nil, fmt.Errorf("scan %s: %w", reference, err)
	}
	return docs, nil
}

// readBill reads the bill of materials of --sbom, if there is one.
func readBill(file string) (*sbom.Document, error) {
	if file == "" {
		return nil, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("open bill of materials: %w", err)
	}
	doc, err := sbom.Read(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return doc, nil
}

// openImage opens what the reference stands for. The name under which a policy
// judges what is in no registry is that of --tag.
func openImage(ctx context.Context, reference, tag string) (scan.Source, image.Reference, error) {
	name := image.Reference{Registry: "localhost", Repository: "scan", Tag: "latest"}
	var err error
	if tag != "" {
		if name, err = image.ParseReference(tag); err != nil {
			return nil, name, err
		}
	}
	transport, rest, _ := strings.Cut(reference, ":")
	if open := transports[transport]; open != nil {
		s, err := open(ctx, rest)
		return s, name, err
	}
	ref, err := image.ParseReference(reference)
	if err != nil {
		return nil, name, err
	}
	if tag == "" {
		name = ref
	}
	r, err := scan.OpenRemote(ctx, ref)
	return r, name, err
}

// transports open images that are in no registry, by the word before the colon.
var transports = map[string]func(ctx context.Context, rest string) (scan.Source, error){
	"oci":            func(_ context.Context, dir string) (scan.Source, error) { return scan.OpenDir(dir) },
	"oci-archive":    func(_ context.Context, file string) (scan.Source, error) { return scan.OpenArchive(file) },
	"docker-archive": func(_ context.Context, rest string) (scan.Source, error) { return openDockerArchive(rest) },
	"docker-daemon":  scan.OpenDocker,
	"containerd":     func(ctx context.Context, name string) (scan.Source, error) { return scan.OpenContainerd(ctx, name) },
}

// openDockerArchive reads "FILE" or "FILE:TAG".
func openDockerArchive(rest string) (scan.Source, error) {
	if _, err := os.Stat(rest); err == nil {
		return scan.OpenDockerArchive(rest, "")
	}
	file, tag, _ := strings.Cut(rest, ":")
	return scan.OpenDockerArchive(file, tag)
}

// findBundle finds a bundle by id or name among those that ship and those of
// policy.dir, or reads a file.
func findBundle(c config.Config, wanted string) (*bundle.Bundle, error) {
	if wanted == "" {
		wanted = c.Policy.Active
	}
	documents, err := policyDocuments(c.Policy)
	if err != nil {
		return nil, err
	}
	for _, raw := range documents {
		b, err := bundle.Parse(raw)
		if err != nil {
			return nil, err
		}
		if b.ID == wanted || b.Name == wanted {
			return b, nil
		}
	}
	raw, err := os.ReadFile(wanted)
	if err != nil {
		return nil, fmt.Errorf("policy %q is none that ships, and no file: %w", wanted, err)
	}
	return bundle.Parse(raw)
}
