package misconfig

// Severities.
const (
	low      = "low"
	medium   = "medium"
	high     = "high"
	critical = "critical"
)

// rule says what a finding means for a person, and what to do.
type rule struct{ severity, message string }

// rules are all that is looked for, by id.
var rules = map[string]rule{
	// The configuration.
	"root-user":        {medium, "containers run as root: name another user (USER in the Dockerfile)"},
	"no-healthcheck":   {low, "there is no health check: a program that hangs is not noticed (HEALTHCHECK in the Dockerfile, or probes of the cluster)"},
	"exposed-ssh":      {high, "port 22 is exposed: containers are managed from outside, not logged in to"},
	"exposed-admin":    {low, "a port of remote administration is exposed"},
	"sshd":             {high, "the image starts an SSH server"},
	"docker-socket":    {critical, "the socket of the container engine is a volume: who has it is root on the host"},
	"debug-enabled":    {low, "debugging is switched on in the environment"},
	"secret-in-env":    {high, "a credential stands in the environment: everybody who has the image has it"},
	"secret-in-labels": {high, "a credential stands in the labels: everybody who has the image has it"},

	// How the image was made.
	"secret-in-history": {high, "a credential stands in the history: everybody who has the image has it (use a build secret)"},
	"secret-deleted":    {high, "a credential was deleted by a later layer and is still in its own: build without it"},
	"add-from-http":     {medium, "ADD fetches from an http address: what comes can be changed on its way"},
	"add-remote":        {low, "ADD fetches from an address without a checksum (ADD --checksum)"},
	"pipe-to-shell":     {medium, "a script from the network is run as it comes: fetch it, check it, then run it"},
	"unverified-fetch":  {medium, "a download does not check the server's certificate"},
	"history-too-long":  {medium, "the history is too long to be looked at whole"},
	"unsigned-packages": {medium, "packages are installed without a look at their signatures"},
	"upgrade-all":       {low, "a step upgrades all packages: what comes depends on the day (a newer base image says which)"},
	"latest-tag":        {low, "the tag latest names another image tomorrow: use a version, or a digest"},
	"chmod-777":         {low, "a step lets everybody write (chmod 777)"},

	// Files.
	"setuid-file":              {low, "a program runs with the rights of its owner (setuid)"},
	"setgid-file":              {low, "a program runs with the rights of its group (setgid)"},
	"file-capabilities":        {medium, "a program has capabilities of root"},
	"strong-file-capabilities": {high, "a program has capabilities that are as good as root"},
	"world-writable-directory": {medium, "everybody may write, rename and delete in a directory (no sticky bit)"},
	"world-writable-file":      {medium, "everybody may write a file"},

	// Accounts.
	"empty-password":   {critical, "an account has no password"},
	"second-root":      {high, "an account beside root has the user id 0"},
	"readable-shadow":  {high, "everybody may read the password hashes"},
	"writable-account": {critical, "everybody may write a file of accounts"},
	"sudo-nopasswd":    {high, "sudo asks for no password"},
}

// adminPorts are those of remote administration, beside SSH.
var adminPorts = map[int]string{
	23: "telnet", 512: "rexec", 513: "rlogin", 514: "rsh", 2375: "Docker's API without TLS", 3389: "RDP", 5900: "VNC", 10250: "kubelet",
}

// strongCaps let a program become root in one way or another: capabilities(7).
var strongCaps = map[string]bool{
	"cap_sys_admin": true, "cap_sys_module": true, "cap_sys_ptrace": true, "cap_sys_rawio": true, "cap_dac_override": true, "cap_dac_read_search": true,
	"cap_setuid": true, "cap_setgid": true, "cap_chown": true, "cap_fowner": true, "cap_setfcap": true, "cap_bpf": true,
}
