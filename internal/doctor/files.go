package doctor

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	securejoin "github.com/cyphar/filepath-securejoin"
)

// Files say where the node keeps what its runtimes are told. Paths are as the node
// has them.
type Files struct {
	// Root is where the node's file system is seen: / on the node itself.
	Root string
	// HostsDir has a folder with a hosts.toml for each registry; "" for the one that
	// containerd's configuration names.
	HostsDir         string
	ContainerdConfig string
	// RegistriesConf is the file of CRI-O and podman; beside it are the folder of the
	// same name with .d, and policy.json.
	RegistriesConf string
	DockerConfig   string
}

// Where the files usually are.
const (
	DefaultHostsDir         = "/etc/containerd/certs.d"
	DefaultContainerdConfig = "/etc/containerd/config.toml"
	DefaultRegistriesConf   = "/etc/containers/registries.conf"
	DefaultDockerConfig     = "/etc/docker/daemon.json"
)

// Limits of what is read of the node.
const (
	maxFile    = 1 << 20 // bytes
	maxEntries = 1024    // of a folder
)

var errTooMuch = errors.New("more than is read")

// place is a path of the node as this process sees it. Symbolic links are those of the
// node, and lead to nothing outside of its file system.
func (f Files) place(path string) (string, error) {
	if f.Root == "" || f.Root == "/" {
		return path, nil
	}
	return securejoin.SecureJoin(f.Root, path)
}

// read reads a small file.
func (f Files) read(path string) ([]byte, error) {
	place, err := f.place(path)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(place)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: %w", path, fs.ErrNotExist)
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular(): // a pipe would never end
		return nil, fmt.Errorf("%s is no file", path)
	}
	file, err := os.Open(place)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(raw) > maxFile {
		err = fmt.Errorf("%s: %w (%d bytes)", path, errTooMuch, maxFile)
	}
	return raw, err
}

// list gives the names in a folder, in order; none if it is not there.
func (f Files) list(path string) ([]string, error) {
	place, err := f.place(path)
	if err != nil {
		return nil, err
	}
	dir, err := os.Open(place)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(maxEntries + 1)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if len(names) > maxEntries {
		err = fmt.Errorf("%s: %w (%d entries)", path, errTooMuch, maxEntries)
	}
	slices.Sort(names)
	return names, err
}

// isDir reports whether there is a folder.
func (f Files) isDir(path string) bool {
	place, err := f.place(path)
	if err != nil {
		return false
	}
	info, err := os.Stat(place)
	return err == nil && info.IsDir()
}

// exists reports whether there is anything: also what cannot be looked at.
func (f Files) exists(path string) bool {
	place, err := f.place(path)
	if err != nil {
		return true
	}
	_, err = os.Stat(place)
	return !errors.Is(err, fs.ErrNotExist)
}

// join is a path of the node, relative ones beginning at the folder.
func join(dir, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}
