package scan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/klauspost/compress/gzip"

	"github.com/pratique/pratique/engine/image"
)

// Source is an open place that has one image.
type Source interface {
	Images
	Root() image.Descriptor
	Close() error
}

// OpenDockerArchive opens a file of `docker save` or `podman save`, which may be
// compressed by gzip. A tag picks one of several images; without it the archive
// has to have one, or be an OCI layout too.
func OpenDockerArchive(file, tag string) (Source, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	if f, err = uncompressed(f); err != nil {
		return nil, fmt.Errorf("open archive %s: %w", file, err)
	}
	s, err := openSaved(f, tag)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open archive %s: %w", file, err), f.Close())
	}
	return s, nil
}

// openSaved opens a saved image. The digests of an OCI layout are the
// registry's; those that are made from a manifest.json are known to nobody.
func openSaved(f *os.File, tag string) (Source, error) {
	l, err := openTar(f)
	if err != nil {
		return nil, err
	}
	if tag == "" {
		index, err := l.open("index.json")
		if err == nil {
			return l, index.Close()
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	a, err := openDocker(l, tag)
	if err != nil {
		return nil, err // not a: a nil *DockerArchive is no nil Source
	}
	return a, nil
}

// maxArchive bounds an archive that is unpacked or fetched, in bytes.
const maxArchive = 256 << 30

// uncompressed gives the file itself, or what it inflates to in a file without
// a name; f is then closed.
func uncompressed(f *os.File) (*os.File, error) {
	head := make([]byte, 2)
	n, _ := f.ReadAt(head, 0)
	if n < 2 || head[0] != 0x1f || head[1] != 0x8b {
		return f, nil
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	out, err := spooled(z)
	return out, errors.Join(err, f.Close())
}

// spooled copies r into a file that has no name.
func spooled(r io.Reader) (*os.File, error) {
	f, err := os.CreateTemp("", "pratique-scan-*")
	if err != nil {
		return nil, err
	}
	n, err := io.Copy(f, io.LimitReader(r, maxArchive+1))
	if err == nil && n > maxArchive {
		err = fmt.Errorf("more than %d bytes", int64(maxArchive))
	}
	if err = errors.Join(err, os.Remove(f.Name())); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// defaultDocker is where a Docker engine listens unless DOCKER_HOST says else.
const defaultDocker = "unix:///var/run/docker.sock"

// OpenDocker saves an image from the running Docker engine (or podman's service)
// that DOCKER_HOST names, by unix:// or tcp://.
// https://docs.docker.com/reference/api/engine/version/v1.43/#tag/Image/operation/ImageGet
func OpenDocker(ctx context.Context, name string) (Source, error) {
	client, base, err := dockerClient(os.Getenv("DOCKER_HOST"))
	if err != nil {
		return nil, err
	}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/images/"+url.PathEscape(name)+"/get", http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("ask the Docker engine: %w", err)
	}
	answer, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the Docker engine (is it running? DOCKER_HOST names another one): %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("the Docker engine has no %s: %s", name, dockerMessage(answer.Body)), answer.Body.Close())
	}
	f, err := spooled(answer.Body)
	if err = errors.Join(err, answer.Body.Close()); err != nil {
		return nil, fmt.Errorf("save %s: %w", name, err)
	}
	s, err := openSaved(f, "")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read what the Docker engine saved: %w", err), f.Close())
	}
	return s, nil
}

func dockerClient(host string) (*http.Client, string, error) {
	if host == "" {
		host = defaultDocker
	}
	scheme, address, _ := strings.Cut(host, "://")
	switch scheme {
	case "unix":
		transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", address)
		}}
		return &http.Client{Transport: transport}, "http://docker", nil
	case "tcp", "http":
		return &http.Client{Transport: &http.Transport{}}, "http://" + strings.TrimSuffix(address, "/"), nil
	}
	return nil, "", fmt.Errorf("DOCKER_HOST %q: want unix:///path or tcp://host:port", host)
}

// dockerMessage is what an error answer says.
func dockerMessage(body io.Reader) string {
	var said struct{ Message string }
	raw, err := io.ReadAll(io.LimitReader(body, 64<<10))
	if err != nil || json.Unmarshal(raw, &said) != nil {
		return "an answer that cannot be read"
	}
	return said.Message
}
