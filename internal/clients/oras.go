package clients

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	oras "oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/oci"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/retry"
)

// Oras does what the commands of the same names do with the library of the oras
// command line, which helm and notation are built on too. What such a command
// would print of an error is the error.
type Oras struct {
	// MountFrom lists repositories of the same registry whose blobs Push asks
	// to be mounted.
	MountFrom []string

	t      testing.TB
	logins map[string]auth.Credential // by registry
	local  string                     // layout that Pull fills
	source string                     // layout that Push sends
	pulled ocispec.Descriptor         // by the last Pull
}

// NewOras is an oras client. Needs no program.
func NewOras(t testing.TB) *Oras {
	t.Helper()
	return &Oras{t: t, logins: map[string]auth.Credential{}, local: filepath.Join(tempDir(t), "local")}
}

// Login asks the registry whether it takes the password, and keeps it for the
// registry: `oras login`.
func (o *Oras) Login(registry, user, password string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandWait)
	defer cancel()
	r, err := remote.NewRegistry(registry)
	if err != nil {
		return err.Error(), err
	}
	credential := auth.Credential{Username: user, Password: password}
	r.PlainHTTP = true
	r.Client = &auth.Client{Client: retry.NewClient(), Credential: auth.StaticCredential(registry, credential)}
	if err := r.Ping(ctx); err != nil {
		return err.Error(), err
	}
	o.logins[registry] = credential
	return "", nil
}

// Load remembers the layout for Push, which sends it as it is.
func (o *Oras) Load(layoutDir, _ string) { o.source = layoutDir }

// Push copies the loaded layout to ref: `oras copy --from-oci-layout`.
func (o *Oras) Push(ref string) (string, error) {
	return o.do(ref, func(ctx context.Context, r *remote.Repository) error {
		store, err := oci.NewWithContext(ctx, o.source)
		if err != nil {
			return err
		}
		roots, err := rootsOf(o.source)
		if err != nil {
			return err
		}
		options := oras.DefaultCopyOptions
		if len(o.MountFrom) > 0 {
			options.MountFrom = func(context.Context, ocispec.Descriptor) ([]string, error) { return o.MountFrom, nil }
		}
		_, err = oras.Copy(ctx, store, roots[0].Digest.String(), r, r.Reference.Reference, options)
		return err
	})
}

// Pull copies ref, all of its platforms: `oras copy --to-oci-layout`.
func (o *Oras) Pull(ref string) (string, error) { return o.pull(ref, oras.DefaultCopyOptions) }

// PullPlatform copies this machine's platform of ref.
func (o *Oras) PullPlatform(ref string) (string, error) {
	options := oras.DefaultCopyOptions
	options.WithTargetPlatform(&ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH})
	return o.pull(ref, options)
}

func (o *Oras) pull(ref string, options oras.CopyOptions) (string, error) {
	return o.do(ref, func(ctx context.Context, r *remote.Repository) error {
		store, err := oci.NewWithContext(ctx, o.local)
		if err != nil {
			return err
		}
		o.pulled, err = oras.Copy(ctx, r, r.Reference.Reference, store, "", options)
		return err
	})
}

// Remove forgets what was pulled.
func (o *Oras) Remove(string) {
	o.t.Helper()
	o.pulled = ocispec.Descriptor{}
	if err := os.RemoveAll(o.local); err != nil {
		o.t.Fatal(err)
	}
}

// Digest is the digest of the manifest or index that was pulled last.
func (o *Oras) Digest(string) string { return o.pulled.Digest.String() }

// Attach makes an artifact whose subject is ref and answers with its digest:
// `oras attach --artifact-type`. notation does the same to sign.
func (o *Oras) Attach(ref, artifactType string, content []byte) (string, error) {
	var digest string
	out, err := o.do(ref, func(ctx context.Context, r *remote.Repository) error {
		subject, err := oras.Resolve(ctx, r, r.Reference.Reference, oras.DefaultResolveOptions)
		if err != nil {
			return err
		}
		blob, err := oras.PushBytes(ctx, r, "application/octet-stream", content)
		if err != nil {
			return err
		}
		artifact, err := oras.PackManifest(ctx, r, oras.PackManifestVersion1_1, artifactType,
			oras.PackManifestOptions{Subject: &subject, Layers: []ocispec.Descriptor{blob}})
		digest = artifact.Digest.String()
		return err
	})
	if err != nil {
		return out, err
	}
	return digest, nil
}

// Discover lists the digests of the artifacts whose subject is ref.
func (o *Oras) Discover(ref string) (digests []string, err error) {
	_, err = o.do(ref, func(ctx context.Context, r *remote.Repository) error {
		subject, err := oras.Resolve(ctx, r, r.Reference.Reference, oras.DefaultResolveOptions)
		if err != nil {
			return err
		}
		return r.Referrers(ctx, subject, "", func(referrers []ocispec.Descriptor) error {
			for _, d := range referrers {
				digests = append(digests, d.Digest.String())
			}
			return nil
		})
	})
	return digests, err
}

// Resolve answers with the digest that ref stands for: `oras resolve`.
func (o *Oras) Resolve(ref string) (string, error) {
	var digest string
	out, err := o.do(ref, func(ctx context.Context, r *remote.Repository) error {
		d, err := oras.Resolve(ctx, r, r.Reference.Reference, oras.DefaultResolveOptions)
		digest = d.Digest.String()
		return err
	})
	if err != nil {
		return out, err
	}
	return digest, nil
}

// Fetch answers with the bytes of the manifest: `oras manifest fetch`.
func (o *Oras) Fetch(ref string) (string, error) {
	var raw []byte
	out, err := o.do(ref, func(ctx context.Context, r *remote.Repository) (err error) {
		_, raw, err = oras.FetchBytes(ctx, r, r.Reference.Reference, oras.DefaultFetchBytesOptions)
		return err
	})
	if err != nil {
		return out, err
	}
	return string(bytes.TrimSpace(raw)), nil
}

// Delete deletes the manifest that ref stands for: `oras manifest delete`.
func (o *Oras) Delete(ref string) (string, error) {
	return o.do(ref, func(ctx context.Context, r *remote.Repository) error {
		ctx = auth.AppendRepositoryScope(ctx, r.Reference, auth.ActionPull, auth.ActionDelete)
		d, err := r.Resolve(ctx, r.Reference.Reference)
		if err != nil {
			return err
		}
		return r.Delete(ctx, d)
	})
}

// do runs one command: a client with tokens of its own, as a new process has,
// for at most commandWait. It answers with what the registry warned of, which the
// command line prints.
func (o *Oras) do(ref string, command func(context.Context, *remote.Repository) error) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandWait)
	defer cancel()
	r, err := remote.NewRepository(ref)
	if err != nil {
		return err.Error(), err
	}
	r.PlainHTTP = true
	r.Client = &auth.Client{Client: retry.NewClient(), Cache: auth.NewCache(), Credential: auth.StaticCredential(r.Reference.Registry, o.logins[r.Reference.Registry])}
	var mu sync.Mutex // the library warns from where it copies
	var warnings []string
	r.HandleWarning = func(w remote.Warning) {
		mu.Lock()
		defer mu.Unlock()
		warnings = append(warnings, w.Text)
	}
	if err := command(ctx, r); err != nil {
		return err.Error(), err
	}
	return strings.Join(warnings, "\n"), nil
}
