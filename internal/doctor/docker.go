package doctor

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/url"
)

// dockerConfig is a daemon.json.
type dockerConfig struct {
	Mirrors []string `json:"registry-mirrors"`
}

func parseDockerConfig(raw []byte) (dockerConfig, error) {
	var c dockerConfig
	err := json.Unmarshal(raw, &c)
	return c, err
}

// checkDocker looks at docker's mirrors, and reports whether it has any. They are for
// Docker Hub alone, and no gate.
func (d *doctor) checkDocker() bool {
	const name = "docker, registry-mirrors"
	raw, err := d.read(d.DockerConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	var c dockerConfig
	if err == nil {
		c, err = parseDockerConfig(raw)
	}
	if err != nil {
		d.report.gap(name, "", "%s: %v", d.DockerConfig, err)
		return true
	}
	const next = "name images with the proxy's address (HOST:PORT/docker.io/library/nginx), and close the way to other registries (firewall)"
	for _, mirror := range c.Mirrors {
		if u, err := url.Parse(mirror); err == nil && d.isProxy(u.Scheme, u.Host) {
			d.report.failed(name, next, "%s: the proxy is a mirror of docker.io: when it refuses, docker asks docker.io, and other registries it asks itself", d.DockerConfig)
			return true
		}
	}
	d.report.unasked(name, "%s names no mirror that is the proxy: docker, if it is used here, pulls through the proxy only what is named with its address", d.DockerConfig)
	return false
}
