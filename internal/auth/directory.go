package auth

import (
	"crypto/subtle"
	"fmt"
	"strings"
	"time"
)

// directory finds principals by name. It is never changed.
type directory struct {
	users  map[string]string // bcrypt hashes
	robots map[string]Robot
	costs  []int // of the users' hashes, in the order of the file
}

func newDirectory(u Users) *directory {
	d := &directory{users: map[string]string{}, robots: map[string]Robot{}}
	for _, user := range u.Users {
		d.users[user.Name] = user.Password
		var cost int
		// The hash was checked when it was read: $2a$12$...
		_, _ = fmt.Sscanf(user.Password[4:6], "%02d", &cost)
		d.costs = append(d.costs, cost)
	}
	for _, r := range u.Robots {
		d.robots[r.Name] = r
	}
	return d
}

// stored gives what is stored of a principal's secret, if there is such a
// principal and it has not run out.
func (d *directory) stored(name string, now time.Time) (string, bool) {
	if r, ok := d.robots[name]; ok {
		return r.Secret, now.Before(r.Expires)
	}
	hash, ok := d.users[name]
	return hash, ok
}

// has reports whether the file names a principal, run out or not.
func (d *directory) has(name string) bool {
	_, robot := d.robots[name]
	_, user := d.users[name]
	return robot || user
}

// dummy is a hash that no password is known for, to be compared with for a user
// that is not there. Its cost is that of some user of the file, always the same
// one for one name: or the time would tell who is there. pick is a secret
// function of the name.
func (d *directory) dummy(pick uint64) string {
	cost := bcryptCost
	if n := uint64(len(d.costs)); n > 0 {
		cost = d.costs[pick%n]
	}
	return fmt.Sprintf("$2a$%02d$%s", cost, strings.Repeat("a", 53))
}

// robot reports whether a secret is that of a robot that has not run out.
func (d *directory) robot(name, secret string, now time.Time) bool {
	r, ok := d.robots[name]
	match := subtle.ConstantTimeCompare([]byte(secretHash(secret)), []byte(r.Secret)) == 1
	return ok && match && now.Before(r.Expires)
}
