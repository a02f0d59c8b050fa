package doctor

// Node looks at the files of a node alone.
func Node(o Options) (*Report, error) {
	d, err := prepare(o)
	if err != nil {
		return nil, err
	}
	d.checkNode()
	return d.report, nil
}

// HostsLead reports whether a hosts.toml leads to the proxy alone.
func HostsLead(proxy string, raw []byte) (bool, error) {
	d, err := prepare(Options{Proxy: proxy, Timeout: 1})
	if err != nil {
		return false, err
	}
	f, err := parseHosts(raw)
	if err != nil {
		return false, err
	}
	j := d.judgeHosts(f, "/certs.d/registry.example")
	return j.passed(), nil
}

// RegistryLeads reports whether a registries.conf leads to the proxy alone.
func RegistryLeads(proxy, registry string, raw []byte) (bool, error) {
	d, err := prepare(Options{Proxy: proxy, Timeout: 1})
	if err != nil {
		return false, err
	}
	c, err := parseRegistriesConf(raw)
	if err != nil {
		return false, err
	}
	d.judgeRegistry(c, containersPolicy{}, registry)
	return d.report.Count(OK) == 1, nil
}

// ReadContainerdConfig parses and judges, for the fuzzer.
func ReadContainerdConfig(raw []byte) (configured string, passed bool, err error) {
	c, err := parseContainerdConfig(raw)
	if err != nil {
		return "", false, err
	}
	c.merge(c)
	j, configured := judgeContainerdConfig(c, "")
	return configured, j.passed(), nil
}

// Rejects reports what a policy.json says of a registry.
func Rejects(raw []byte, registry string) (bool, error) {
	p, err := parseContainersPolicy(raw)
	return err == nil && p.rejects(registry), err
}
