package auth

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"golang.org/x/crypto/bcrypt"
)

// Limits of a users file.
const (
	maxUsersFile   = 1 << 20 // bytes
	maxPrincipals  = 5000
	maxDescription = 256 // bytes
	maxPassword    = 72  // bytes; bcrypt reads no more
	bcryptCost     = 12  // of new passwords: about a quarter of a second
	maxBcryptCost  = 16  // of a file from elsewhere: some seconds
)

// RobotPrefix stands before the name of every robot. A colon cannot stand in a
// Basic user name, and a dollar sign is eaten by shells.
const RobotPrefix = "robot+"

// secretPrefix makes secrets easy to find for scanners of leaked ones.
const secretPrefix = "prtq_"

var (
	userName     = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)
	bcryptHash   = regexp.MustCompile(`^\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}$`)
	storedSecret = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// ErrNoPrincipal: no user or robot has this name.
var ErrNoPrincipal = errors.New("there is no user or robot of this name")

// Users are the contents of a users file.
type Users struct {
	Users  []User  `yaml:"users,omitempty"`
	Robots []Robot `yaml:"robots,omitempty"`
}

// User is a person with a password.
type User struct {
	Name     string `yaml:"name" json:"name"`
	Password string `yaml:"password" json:"-"` // bcrypt: $2a$, $2b$ or htpasswd's $2y$
}

// Robot is a program with a secret that runs out.
type Robot struct {
	Name string `yaml:"name" json:"name"` // with RobotPrefix
	// Secret is the sha256 of the secret. That is enough, and quick: there are
	// 256 random bits to guess, where a password has few.
	Secret      string    `yaml:"secret" json:"-"`
	Expires     time.Time `yaml:"expires" json:"expires"`
	Description string    `yaml:"description,omitempty" json:"description"`
}

// ParseUsers reads a users file strictly. No error repeats a value of it.
func ParseUsers(raw []byte) (Users, error) {
	if len(raw) > maxUsersFile {
		return Users{}, fmt.Errorf("larger than %d bytes", maxUsersFile)
	}
	var u Users
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	switch err := dec.Decode(&u); {
	case errors.Is(err, io.EOF):
		return Users{}, nil
	case err != nil:
		return Users{}, maskYAML(err)
	}
	if err := dec.Decode(&Users{}); !errors.Is(err, io.EOF) {
		return Users{}, errors.New("more than one YAML document")
	}
	return u, u.validate()
}

// yamlLine finds where a YAML error was.
var yamlLine = regexp.MustCompile(`line [0-9]+`)

// maskYAML keeps the line of an error and drops its words, which may repeat a
// value: a password that somebody wrote down unhashed, or in the wrong place.
func maskYAML(err error) error {
	if line := yamlLine.FindString(err.Error()); line != "" {
		return fmt.Errorf("%s: not what a users file holds: users with name and password, robots with name, secret, expires and description", line)
	}
	return errors.New("not a users file: it holds users with name and password, robots with name, secret, expires and description")
}

func (u Users) validate() error {
	if n := len(u.Users) + len(u.Robots); n > maxPrincipals {
		return fmt.Errorf("%d users and robots, at most %d", n, maxPrincipals)
	}
	seen := map[string]bool{}
	for i, user := range u.Users {
		switch cost, err := bcrypt.Cost([]byte(user.Password)); {
		case ValidUserName(user.Name) != nil:
			return fmt.Errorf("users[%d].name: %w", i, ValidUserName(user.Name))
		case seen[user.Name]:
			return fmt.Errorf("users[%d].name: %s is there twice", i, user.Name)
		case err != nil || !bcryptHash.MatchString(user.Password):
			return fmt.Errorf("users[%d].password of %s: no bcrypt hash ($2a$, $2b$ or $2y$); `pratique auth user add` and `htpasswd -B` make them", i, user.Name)
		case cost > maxBcryptCost:
			return fmt.Errorf("users[%d].password of %s: a bcrypt cost of %d takes too long, at most %d", i, user.Name, cost, maxBcryptCost)
		}
		seen[user.Name] = true
	}
	for i, r := range u.Robots {
		switch err := r.validate(); {
		case err != nil:
			return fmt.Errorf("robots[%d].%w", i, err)
		case seen[r.Name]:
			return fmt.Errorf("robots[%d].name: %s is there twice", i, r.Name)
		}
		seen[r.Name] = true
	}
	return nil
}

func (r Robot) validate() error {
	bare, ok := strings.CutPrefix(r.Name, RobotPrefix)
	switch {
	case !ok || ValidUserName(bare) != nil:
		return errors.New("name: want " + RobotPrefix + "NAME, NAME of a-z 0-9 . _ -, at most 63, the first a letter or digit")
	case !storedSecret.MatchString(r.Secret):
		return fmt.Errorf("secret of %s: want sha256: and 64 hex digits", r.Name)
	case r.Expires.IsZero():
		return fmt.Errorf("expires of %s: missing; every robot's secret runs out", r.Name)
	case len(r.Description) > maxDescription:
		return fmt.Errorf("description of %s: longer than %d bytes", r.Name, maxDescription)
	}
	return nil
}

// ValidUserName says what is wrong with the name of a user, or of a robot
// without its prefix. The name is not repeated.
func ValidUserName(name string) error {
	if !userName.MatchString(name) {
		return errors.New("want a-z 0-9 . _ -, at most 63, the first a letter or digit")
	}
	if name == Anonymous {
		return errors.New("anonymous is the name of those who have none")
	}
	return nil
}

// AddUser adds a user with a password.
func (u *Users) AddUser(name, password string) error {
	if err := ValidUserName(name); err != nil {
		return fmt.Errorf("user name: %w", err)
	}
	if slices.ContainsFunc(u.Users, func(o User) bool { return o.Name == name }) {
		return fmt.Errorf("user %s is there already", name)
	}
	if password == "" {
		return errors.New("the password is empty")
	}
	if len(password) > maxPassword {
		return fmt.Errorf("the password is longer than %d bytes: bcrypt would ignore the rest", maxPassword)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcryptCost)
	if err != nil {
		return fmt.Errorf("hash the password: %w", err)
	}
	u.Users = append(u.Users, User{Name: name, Password: string(hash)})
	return nil
}

// AddRobot adds a robot, its name with or without prefix, and returns its
// secret, which is stored nowhere.
func (u *Users) AddRobot(name, description string, expires time.Time) (secret string, err error) {
	random := make([]byte, 32)
	rand.Read(random)
	secret = secretPrefix + base64.RawURLEncoding.EncodeToString(random)
	r := Robot{
		Name: RobotPrefix + strings.TrimPrefix(name, RobotPrefix), Secret: secretHash(secret),
		Expires: expires.UTC().Truncate(time.Second), Description: description,
	}
	if err := r.validate(); err != nil {
		return "", fmt.Errorf("robot %w", err)
	}
	if slices.ContainsFunc(u.Robots, func(o Robot) bool { return o.Name == r.Name }) {
		return "", fmt.Errorf("robot %s is there already", r.Name)
	}
	u.Robots = append(u.Robots, r)
	return secret, nil
}

// RemoveUser removes a user.
func (u *Users) RemoveUser(name string) error {
	n := len(u.Users)
	u.Users = slices.DeleteFunc(u.Users, func(o User) bool { return o.Name == name })
	if len(u.Users) == n {
		return ErrNoPrincipal
	}
	return nil
}

// RemoveRobot removes a robot, its name with or without prefix.
func (u *Users) RemoveRobot(name string) error {
	n, full := len(u.Robots), RobotPrefix+strings.TrimPrefix(name, RobotPrefix)
	u.Robots = slices.DeleteFunc(u.Robots, func(o Robot) bool { return o.Name == full })
	if len(u.Robots) == n {
		return ErrNoPrincipal
	}
	return nil
}

// Check says why a user or robot could not log in now, whatever the password.
func (u Users) Check(name string, now time.Time) error {
	d := newDirectory(u)
	if _, ok := d.stored(name, now); !ok && d.has(name) {
		return fmt.Errorf("the secret expired at %s", d.robots[name].Expires.Format(time.RFC3339))
	} else if !ok {
		return ErrNoPrincipal
	}
	return nil
}

func secretHash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return "sha256:" + hex.EncodeToString(sum[:])
}
