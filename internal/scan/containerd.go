package scan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	content "github.com/containerd/containerd/api/services/content/v1"
	images "github.com/containerd/containerd/api/services/images/v1"
	"github.com/opencontainers/go-digest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/pratique/pratique/engine/image"
)

// Where containerd listens, and which of its namespaces is looked into, unless
// the environment says else. ctr and nerdctl use the same variables; Kubernetes'
// images are in the namespace k8s.io.
const (
	defaultContainerd = "/run/containerd/containerd.sock"
	defaultNamespace  = "default"
)

// Containerd is an image in the content store of a running containerd.
type Containerd struct {
	conn      *grpc.ClientConn
	content   content.ContentClient
	namespace string
	root      image.Descriptor
}

// OpenContainerd finds an image by its name, in full as `ctr images ls` lists
// it. CONTAINERD_ADDRESS and CONTAINERD_NAMESPACE name the socket and the
// namespace.
func OpenContainerd(ctx context.Context, name string) (*Containerd, error) {
	address, namespace := os.Getenv("CONTAINERD_ADDRESS"), os.Getenv("CONTAINERD_NAMESPACE")
	if address == "" {
		address = defaultContainerd
	}
	if namespace == "" {
		namespace = defaultNamespace
	}
	conn, err := grpc.NewClient("unix:"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, fmt.Errorf("connect to containerd: %w", err)
	}
	c := &Containerd{conn: conn, content: content.NewContentClient(conn), namespace: namespace}
	answer, err := images.NewImagesClient(conn).Get(c.in(ctx), &images.GetImageRequest{Name: name})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("ask containerd at %s for %s in namespace %s: %w", address, name, namespace, err), conn.Close())
	}
	target := answer.GetImage().GetTarget()
	c.root = image.Descriptor{MediaType: target.GetMediaType(), Digest: digest.Digest(target.GetDigest()), Size: target.GetSize()}
	return c, nil
}

// in puts a call into the namespace.
func (c *Containerd) in(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "containerd-namespace", c.namespace)
}

// Root returns what the name stands for.
func (c *Containerd) Root() image.Descriptor { return c.root }

// Manifest is part of Images.
func (c *Containerd) Manifest(ctx context.Context, d image.Descriptor) ([]byte, error) {
	r, err := c.Blob(ctx, d)
	if errors.Is(err, image.ErrBlobUnknown) {
		return nil, fmt.Errorf("%w: %s", image.ErrManifestUnknown, d.Digest)
	}
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(r, image.MaxManifestSize+1))
	return raw, errors.Join(err, r.Close())
}

// Blob is part of Images.
func (c *Containerd) Blob(ctx context.Context, d image.Descriptor) (io.ReadCloser, error) {
	if _, err := c.content.Info(c.in(ctx), &content.InfoRequest{Digest: d.Digest.String()}); err != nil {
		if status.Code(err) == codes.NotFound {
			return nil, fmt.Errorf("%w: %s (containerd may keep only what it has unpacked: pull with --all-platforms or discard_unpacked_layers=false)", image.ErrBlobUnknown, d.Digest)
		}
		return nil, fmt.Errorf("ask containerd for %s: %w", d.Digest, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	stream, err := c.content.Read(c.in(ctx), &content.ReadContentRequest{Digest: d.Digest.String()})
	if err != nil {
		cancel()
		return nil, fmt.Errorf("read %s from containerd: %w", d.Digest, err)
	}
	return &contentReader{stream: stream, cancel: cancel}, nil
}

// Close closes the connection.
func (c *Containerd) Close() error { return c.conn.Close() }

// contentReader reads one blob from a stream of messages.
type contentReader struct {
	stream grpc.ServerStreamingClient[content.ReadContentResponse]
	cancel context.CancelFunc
	rest   []byte
}

func (r *contentReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		message, err := r.stream.Recv()
		if err != nil {
			return 0, err // io.EOF at the end of the blob
		}
		r.rest = message.GetData()
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *contentReader) Close() error {
	r.cancel()
	return nil
}
