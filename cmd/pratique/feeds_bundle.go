package main

import (
	"crypto/ed25519"
	"fmt"
	"io"
	"strconv"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/pratique/pratique/internal/feeds"
)

func newFeedsExportCommand(flags *configFlags) *cobra.Command {
	var keyFile, format string
	cmd := &cobra.Command{
		Use: "export TARGET", Short: "Write the newest index as a signed bundle, for machines without a network", Args: cobra.ExactArgs(1),
		Long: `Write the newest index, and when each source was asked for it, as one bundle: a file,
a folder in the OCI image layout (oci:FOLDER), or an artifact in a registry
(HOST/REPOSITORY:TAG, with the login that docker login left).`,
		Example: `  openssl genpkey -algorithm ed25519 -out vulndb.key
  openssl pkey -in vulndb.key -pubout -out vulndb.pub
  pratique feeds export vulndb.tar.zst --key vulndb.key
  pratique feeds export oci:./vulndb --key vulndb.key
  pratique feeds export registry.example.com/security/vulndb:latest --key vulndb.key`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFormat(format); err != nil {
				return err
			}
			var key ed25519.PrivateKey
			c, err := flags.load()
			if err == nil && keyFile != "" {
				key, err = feeds.ReadPrivateKey(keyFile)
			}
			if err != nil {
				return err
			}
			b, err := feeds.Export(cmd.Context(), c.DataDir, args[0], key)
			if err != nil {
				return err
			}
			if format == "json" {
				return printJSON(cmd.OutOrStdout(), b)
			}
			return printBundle(cmd.OutOrStdout(), b)
		},
	}
	cmd.Flags().StringVar(&keyFile, "key", "", "Ed25519 private key that signs the bundle (PEM, PKCS #8); without it the bundle is not signed")
	cmd.Flags().StringVar(&format, "format", "table", "table or json")
	return cmd
}

func newFeedsImportCommand(flags *configFlags) *cobra.Command {
	var keyFile, format string
	var o feeds.ImportOptions
	cmd := &cobra.Command{
		Use: "import SOURCE", Short: "Put the index of a bundle in force", Args: cobra.ExactArgs(1),
		Long: `Put the index of a bundle in force, from a file, a folder in the OCI image layout
(oci:FOLDER), or an artifact in a registry. The signature is checked before anything
else; a bundle that is older than the data here is refused. A running serve takes the
new data within seconds.`,
		Example: `  pratique feeds import vulndb.tar.zst --key vulndb.pub
  pratique feeds import oci:./vulndb --key vulndb.pub
  pratique feeds import registry.example.com/security/vulndb:latest --key vulndb.pub`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFormat(format); err != nil {
				return err
			}
			c, err := flags.load()
			if err == nil && keyFile != "" {
				o.Key, err = feeds.ReadPublicKey(keyFile)
			}
			if err != nil {
				return err
			}
			res, err := feeds.Import(cmd.Context(), c.DataDir, args[0], o)
			if err != nil {
				return err
			}
			if format == "json" {
				return printJSON(cmd.OutOrStdout(), res)
			}
			return printImport(cmd.OutOrStdout(), res)
		},
	}
	cmd.Flags().StringVar(&keyFile, "key", "", "Ed25519 public key that must have signed the bundle (PEM)")
	cmd.Flags().BoolVar(&o.Unsigned, "insecure-unsigned", false, "check no signature: whoever can change the bundle decides what passes the gate")
	cmd.Flags().BoolVar(&o.Force, "force", false, "take a bundle that is older than the data here")
	cmd.Flags().StringVar(&format, "format", "table", "table or json")
	cmd.MarkFlagsMutuallyExclusive("key", "insecure-unsigned")
	cmd.MarkFlagsOneRequired("key", "insecure-unsigned")
	return cmd
}

func printBundle(w io.Writer, b feeds.Bundle) error {
	signed := "yes"
	if !b.Signed {
		signed = "no: import will refuse it"
	}
	return table(w, nil, [][]string{
		{"revision", strconv.FormatUint(b.Revision.Sequence, 10)}, {"data", b.Revision.Digest}, {"built", ago(b.Revision.Built)},
		{"bundle", b.Digest.String()}, {"size", humanize.Bytes(uint64(max(b.Size, 0)))}, {"signed", signed},
	})
}

func printImport(w io.Writer, res feeds.Imported) error {
	news := "the same data were here; times of sync are new"
	if res.Changed {
		news = "new data"
	}
	_, err := fmt.Fprintf(w, "%s: revision %d of the exporter, built %s, is revision %d here, %s\n",
		news, res.Revision.Sequence, ago(res.Revision.Built), res.Local.Sequence, res.Local.Digest)
	return err
}
