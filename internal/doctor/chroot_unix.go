//go:build unix

package doctor

import (
	"os/exec"
	"syscall"
)

// changeRoot has a program run in the node's file system. It takes root.
func changeRoot(cmd *exec.Cmd, root string) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	return nil
}
