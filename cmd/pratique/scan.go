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
	"github.com/pratique/pratique/engine/policy/bundle"
	"github.com/pratique/pratique/internal/config"
	"github.com/pratique/pratique/internal/feeds"
	"github.com/pratique/pratique/internal/scan"
)

func newScanCommand(flags *configFlags) *cobra.Command {
	var o struct{ format, platform, policy, tag string }
	cmd := &cobra.Command{
		Use: "scan IMAGE", Short: "Scan an image without a running system", Args: cobra.ExactArgs(1),
		Long: `Scan an image without a running system: everything that is in it, what is wrong
with it, and what the policy makes of that. Exit code 0: passed; 1: the policy
says stop, or the image is not understood; 2: the scan did not work.

IMAGE is a reference in a registry, oci:DIR (an OCI image layout) or
oci-archive:FILE (a tar of one).`,
		Example: `  pratique scan debian:12
  pratique scan oci:./layout --format json | jq .findings
  pratique scan oci-archive:image.tar --policy ./bundle.json --tag registry.example/team/app:1.0`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := flags.load()
			if err != nil {
				return err
			}
			documents, err := scanImage(cmd.Context(), c, args[0], o.tag, o.policy, o.platform, cmd.ErrOrStderr())
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
	cmd.Flags().StringVar(&o.format, "format", "table", "table or json")
	cmd.Flags().StringVar(&o.platform, "platform", "", "only this platform, as in linux/arm64")
	cmd.Flags().StringVar(&o.policy, "policy", "", "bundle: the name of one that ships, or a file (default: policy.active)")
	cmd.Flags().StringVar(&o.tag, "tag", "", "name under which the policy is to judge a layout")
	return cmd
}

// opened is an image that can be scanned.
type opened interface {
	scan.Images
	Root() image.Descriptor
	Close() error
}

func scanImage(ctx context.Context, c config.Config, reference, tag, policyName, platform string, out io.Writer) (docs []scan.Document, err error) {
	b, err := findBundle(c, policyName)
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
	images, name, err := openImage(ctx, reference, tag)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", reference, err)
	}
	defer func() { err = errors.Join(err, images.Close()) }()
	p := newProgress(out)
	defer p.done()
	docs, err = scan.Scan(ctx, images, images.Root(), scan.Options{
		Reference: reference, Name: name, Bundle: b, Data: data, Platform: platform, Progress: p.show, Now: time.Now(),
	})
	if err != nil {
		return nil, fmt.Errorf("scan %s: %w", reference, err)
	}
	return docs, nil
}

func openImage(ctx context.Context, reference, tag string) (opened, image.Reference, error) {
	name := image.Reference{Registry: "localhost", Repository: "scan", Tag: "latest"}
	var err error
	if tag != "" {
		if name, err = image.ParseReference(tag); err != nil {
			return nil, name, err
		}
	}
	if dir, ok := strings.CutPrefix(reference, "oci:"); ok {
		l, err := scan.OpenDir(dir)
		return l, name, err
	}
	if file, ok := strings.CutPrefix(reference, "oci-archive:"); ok {
		l, err := scan.OpenArchive(file)
		return l, name, err
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
