package misconfig

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/pratique/pratique/engine/inventory"
)

// Bits of a mode: inode(7).
const (
	setuid        = 0o4000
	setgid        = 0o2000
	sticky        = 0o1000
	worldWritable = 0o0002
	worldReadable = 0o0004
)

// file looks at a path that stands out by its mode.
func (c *checker) file(f inventory.MarkedFile) {
	mode := fmt.Sprintf("%04o, owner %d:%d", f.Mode, f.UID, f.GID)
	if f.Kind == inventory.File {
		if f.Mode&setuid != 0 {
			c.add("setuid-file", f.Path, mode, f.Layer)
		}
		if f.Mode&setgid != 0 {
			c.add("setgid-file", f.Path, mode, f.Layer)
		}
		if names := capabilities(f.Caps); len(names) > 0 {
			c.add(capsRule(names), f.Path, strings.Join(names, ","), f.Layer)
		}
	}
	switch {
	case isAccountFile(f.Path) && f.Mode&worldWritable != 0:
		c.add("writable-account", f.Path, mode, f.Layer)
	case (f.Path == "etc/shadow" || f.Path == "etc/gshadow") && f.Mode&worldReadable != 0:
		c.add("readable-shadow", f.Path, mode, f.Layer)
	case f.Mode&worldWritable == 0:
	case f.Kind == inventory.File:
		c.add("world-writable-file", f.Path, mode, f.Layer)
	case f.Mode&sticky == 0:
		c.add("world-writable-directory", f.Path, mode, f.Layer)
	}
}

func isAccountFile(path string) bool {
	switch path {
	case "etc/passwd", "etc/shadow", "etc/group", "etc/gshadow", "etc/sudoers":
		return true
	}
	return false
}

func capsRule(names []string) string {
	for _, name := range names {
		if strongCaps[name] {
			return "strong-file-capabilities"
		}
	}
	return "file-capabilities"
}

// capNames are the capabilities by their number: linux/capability.h.
var capNames = [...]string{
	"cap_chown", "cap_dac_override", "cap_dac_read_search", "cap_fowner", "cap_fsetid", "cap_kill", "cap_setgid", "cap_setuid", "cap_setpcap",
	"cap_linux_immutable", "cap_net_bind_service", "cap_net_broadcast", "cap_net_admin", "cap_net_raw", "cap_ipc_lock", "cap_ipc_owner",
	"cap_sys_module", "cap_sys_rawio", "cap_sys_chroot", "cap_sys_ptrace", "cap_sys_pacct", "cap_sys_admin", "cap_sys_boot", "cap_sys_nice",
	"cap_sys_resource", "cap_sys_time", "cap_sys_tty_config", "cap_mknod", "cap_lease", "cap_audit_write", "cap_audit_control", "cap_setfcap",
	"cap_mac_override", "cap_mac_admin", "cap_syslog", "cap_wake_alarm", "cap_block_suspend", "cap_audit_read", "cap_perfmon", "cap_bpf",
	"cap_checkpoint_restore",
}

// capabilities reads the attribute security.capability: struct vfs_cap_data of
// linux/capability.h, a word of flags, then permitted and inheritable sets, the
// low words first.
func capabilities(text string) []string {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) < 12 {
		return nil
	}
	permitted := uint64(binary.LittleEndian.Uint32(raw[4:])) | uint64(binary.LittleEndian.Uint32(raw[8:]))
	if len(raw) >= 20 {
		permitted |= uint64(binary.LittleEndian.Uint32(raw[12:])|binary.LittleEndian.Uint32(raw[16:])) << 32
	}
	var names []string
	for i := range 64 {
		if permitted&(1<<i) == 0 {
			continue
		}
		if i < len(capNames) {
			names = append(names, capNames[i])
		} else {
			names = append(names, fmt.Sprintf("capability %d", i))
		}
	}
	return names
}

// accounts looks at who may log in. A password field of /etc/passwd that points
// at /etc/shadow says nothing by itself.
func (c *checker) accounts() {
	layer := map[string]int{}
	for _, f := range c.image.Marked {
		layer[f.Path] = f.Layer
	}
	for _, a := range c.image.Accounts {
		if a.Password == "empty" {
			c.add("empty-password", a.Path, a.Name, layer[a.Path])
		}
		if isZero(a.UID) && a.Name != "root" {
			c.add("second-root", a.Path, a.Name, layer[a.Path])
		}
	}
	for _, s := range c.image.Sudoers {
		c.add("sudo-nopasswd", s.Path, s.Line, layer[s.Path])
	}
}
