package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"go.yaml.in/yaml/v3"
	"golang.org/x/sys/unix"
)

// lockPoll is how often a writer that waits looks whether the other one is done.
const lockPoll = 50 * time.Millisecond

// usersHeader stands at the top of every users file that is written.
const usersHeader = "# Users and robots of Pratique, written by `pratique auth`, which keeps no other comments.\n" +
	"# Passwords are bcrypt hashes; secrets are sha256 sums of 256 random bits.\n"

// ReadUsers reads a users file.
func ReadUsers(path string) (_ Users, err error) {
	f, err := os.Open(path)
	if err != nil {
		return Users{}, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxUsersFile+1))
	if err != nil {
		return Users{}, fmt.Errorf("read users: %w", err)
	}
	users, err := ParseUsers(raw)
	if err != nil {
		return Users{}, fmt.Errorf("%s: %w", path, err)
	}
	return users, nil
}

// EditUsers changes a users file in one step: edit gets what is there, nothing if
// there is no file, and what it leaves is on disk when EditUsers returns nil.
// Writers wait for one another; readers see the old file or the new one.
func EditUsers(ctx context.Context, path string, edit func(*Users) error) (err error) {
	// The file that a link leads to is replaced, not the link.
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	unlock, err := lockUsers(ctx, path+".lock")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	users, err := ReadUsers(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := edit(&users); err != nil {
		return err
	}
	if err := users.validate(); err != nil {
		return err
	}
	return writeUsers(path, users)
}

// lockUsers waits for the lock on the file beside the users file. It ends with
// the process too, so a killed writer blocks nobody. The lock file stays: if it
// were removed, two writers could hold locks on two files of one name.
func lockUsers(ctx context.Context, path string) (unlock func() error, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock users: %w", err)
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f.Close, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock users: %w", err), f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("wait for another writer of %s: %w", path, ctx.Err()), f.Close())
		case <-time.After(lockPoll):
		}
	}
}

// writeUsers replaces the file; on an error the old one is as it was, unless
// only the flush of the folder failed.
func writeUsers(path string, users Users) error {
	var text bytes.Buffer
	text.WriteString(usersHeader)
	enc := yaml.NewEncoder(&text)
	enc.SetIndent(2)
	if err := errors.Join(enc.Encode(users), enc.Close()); err != nil {
		return fmt.Errorf("write users: %w", err)
	}
	if text.Len() > maxUsersFile {
		return fmt.Errorf("write users: the file would be larger than %d bytes", maxUsersFile)
	}
	temp, err := os.CreateTemp(filepath.Dir(path), ".users-*")
	if err != nil {
		return fmt.Errorf("write users: %w", err)
	}
	_, err = temp.Write(text.Bytes())
	if err = errors.Join(err, likeBefore(temp, path), temp.Sync(), temp.Close()); err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write users: %w", err), os.Remove(temp.Name()))
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("write users: %w", err)
	}
	return nil
}

// likeBefore gives the new file the owner of the old one, so that root can edit
// the file of a server that runs as somebody else, and keeps the group's right
// to read it. A temporary file has mode 0600.
func likeBefore(temp *os.File, path string) error {
	old, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	made, err := temp.Stat()
	if err != nil {
		return err
	}
	before, ok := old.Sys().(*syscall.Stat_t)
	now, also := made.Sys().(*syscall.Stat_t)
	if ok && also && (before.Uid != now.Uid || before.Gid != now.Gid) {
		if err := temp.Chown(int(before.Uid), int(before.Gid)); err != nil {
			return err
		}
	}
	return temp.Chmod(0o600 | old.Mode().Perm()&0o040)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// fileStamp tells versions of a file apart without reading it.
type fileStamp struct {
	info fs.FileInfo // nil: there is no file, or nobody may look
}

func stampOf(path string) fileStamp {
	info, err := os.Stat(path)
	if err != nil {
		return fileStamp{}
	}
	return fileStamp{info}
}

// same compares time and size, and the file itself: a replaced one may have both
// of the old.
func (a fileStamp) same(b fileStamp) bool {
	if a.info == nil || b.info == nil {
		return a.info == nil && b.info == nil
	}
	return os.SameFile(a.info, b.info) && a.info.Size() == b.info.Size() && a.info.ModTime().Equal(b.info.ModTime())
}
