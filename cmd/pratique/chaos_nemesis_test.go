package main_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pratique/pratique/internal/faultnet"
)

// fault is one thing that the nemesis does. Of a group, one is in force at a
// time.
type fault struct {
	name, group string
	apply       func(r *rand.Rand)
	heal        func()
}

// rampage puts faults in force, one or several at a time, heals them, and stops
// everything now and then for a check.
func (c *chaos) rampage(span time.Duration) {
	r := rand.New(rand.NewPCG(c.seed, 99))
	faults := c.faults()
	checked := time.Now()
	for end := time.Now().Add(span); time.Now().Before(end); {
		time.Sleep(time.Duration(100+r.IntN(900)) * time.Millisecond)
		c.round(r, faults)
		if time.Since(checked) > quietEvery {
			c.quiet(false)
			checked = time.Now()
		}
	}
}

// round applies one to three faults and heals them in another order; a program
// that was killed is started last.
func (c *chaos) round(r *rand.Rand, faults []fault) {
	var chosen []fault
	for range 1 + r.IntN(3) {
		f := choose(r, faults)
		if slices.ContainsFunc(chosen, func(other fault) bool { return other.group == f.group }) {
			continue
		}
		c.history.fault(f.name)
		f.apply(r)
		chosen = append(chosen, f)
		time.Sleep(time.Duration(r.IntN(500)) * time.Millisecond)
	}
	time.Sleep(time.Duration(300+r.IntN(2200)) * time.Millisecond)
	r.Shuffle(len(chosen), func(i, j int) { chosen[i], chosen[j] = chosen[j], chosen[i] })
	slices.SortStableFunc(chosen, func(a, b fault) int { return order(a) - order(b) })
	for _, f := range chosen {
		f.heal()
	}
}

// choose takes a group, of which the process is two, and a fault of it.
func choose(r *rand.Rand, faults []fault) fault {
	groups := []string{process}
	by := map[string][]fault{}
	for _, f := range faults {
		if by[f.group] == nil {
			groups = append(groups, f.group)
		}
		by[f.group] = append(by[f.group], f)
	}
	group := by[groups[r.IntN(len(groups))]]
	return group[r.IntN(len(group))]
}

// process is the group of faults of the program itself.
const process = "process"

// order puts what the start needs before it: a disk that is full may keep it
// from starting, and a killed program cannot be asked to go on.
func order(f fault) int {
	if f.group == process {
		return 1
	}
	return 0
}

func (c *chaos) faults() []fault {
	all := []fault{
		{"SIGKILL and restart", process, func(*rand.Rand) { _ = c.server.stop(syscall.SIGKILL) }, c.start}, // that it was killed is no news
		{"SIGKILL and restart", process, func(*rand.Rand) { _ = c.server.stop(syscall.SIGKILL) }, c.start},
		{"SIGSTOP and SIGCONT", process, func(*rand.Rand) { c.signal(syscall.SIGSTOP) }, func() { c.signal(syscall.SIGCONT) }},
		{"redis killed", "redis", func(*rand.Rand) { c.redis.Stop() }, c.redis.Start},
		{"redis frozen", "redis", func(*rand.Rand) { c.redis.Freeze() }, c.redis.Thaw},
		{"upstream lies: short answers that look whole", "liar", func(*rand.Rand) { c.liar.lies.Store(true) }, func() { c.liar.lies.Store(false) }},
		{"slow analyser: heavy layers", "heavy", func(*rand.Rand) { c.heavy.Store(true) }, func() { c.heavy.Store(false) }},
		{"new data", "data", func(*rand.Rand) { c.newData(-1) }, func() {}},
		{"new data, its sync killed", "data", func(r *rand.Rand) { c.newData(time.Duration(r.IntN(1200)) * time.Millisecond) }, func() {}},
		{"half-written index", "data", func(*rand.Rand) { c.plantIndex() }, c.pullUpIndex},
	}
	for _, l := range []struct {
		name string
		link *faultnet.Proxy
	}{{"client", c.front}, {"upstream", c.upLink}, {"redis", c.shared}} {
		all = append(all, linkFaults(l.name, l.link)...)
	}
	if c.disk != "" {
		all = append(all, fault{"full disk", "disk", c.fill, c.empty})
	}
	return all
}

func linkFaults(name string, p *faultnet.Proxy) []fault {
	set := func(what string, make func(r *rand.Rand) faultnet.Faults) fault {
		return fault{name + " link: " + what, "link " + name, func(r *rand.Rand) { p.Set(make(r)) }, func() { p.Heal(); p.Cut() }}
	}
	return []fault{
		{name + " link: cut now", "link " + name, func(*rand.Rand) { p.Cut() }, func() {}},
		set("cut after some bytes", func(r *rand.Rand) faultnet.Faults { return faultnet.Faults{CutAfter: 1 << (8 + r.IntN(12))} }),
		set("half-closed", func(r *rand.Rand) faultnet.Faults {
			return faultnet.Faults{CutAfter: 1 << (8 + r.IntN(12)), HalfClose: true}
		}),
		set("stalled", func(*rand.Rand) faultnet.Faults { return faultnet.Faults{Stall: true} }),
		set("refused", func(*rand.Rand) faultnet.Faults { return faultnet.Faults{Refuse: true} }),
		set("slow", func(r *rand.Rand) faultnet.Faults { return faultnet.Faults{Bandwidth: 16<<10 + r.Int64N(512<<10)} }),
		set("latency", func(r *rand.Rand) faultnet.Faults {
			return faultnet.Faults{Latency: time.Duration(5+r.IntN(150)) * time.Millisecond}
		}),
	}
}

func (c *chaos) signal(sig syscall.Signal) {
	if err := c.server.cmd.Process.Signal(sig); err != nil {
		c.t.Error(err)
	}
}

// newData writes the next version of the vulnerability data and syncs it in a
// process of its own, which is killed after a time that is not negative.
func (c *chaos) newData(kill time.Duration) {
	c.version++
	writeFeed(c.t, c.feedDir, c.version)
	cmd := c.sync()
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	fatal(c.t, cmd.Start())
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	if kill < 0 {
		kill = 30 * time.Second
	}
	select {
	case <-done: // may fail: the disk may be full
	case <-time.After(kill):
		_ = cmd.Process.Kill() // may have ended this moment
		<-done
	}
}

func (c *chaos) sync() *exec.Cmd {
	return exec.Command(binary, append([]string{"feeds", "sync", "--set", "data_dir=" + c.dataDir}, smallFeed(c.feedDir)...)...)
}

// plantIndex leaves the first half of an index under the name that the next one
// would have.
func (c *chaos) plantIndex() {
	files, err := filepath.Glob(filepath.Join(c.dataDir, "vulndb", "vulndb-*.idx"))
	fatal(c.t, err)
	if len(files) == 0 {
		return
	}
	slices.Sort(files)
	newest := files[len(files)-1]
	raw, err := os.ReadFile(newest)
	if errors.Is(err, os.ErrNotExist) { // replaced this moment
		return
	}
	fatal(c.t, err)
	var sequence uint64
	_, err = fmt.Sscanf(filepath.Base(newest), "vulndb-%d-", &sequence)
	fatal(c.t, err)
	planted := filepath.Join(filepath.Dir(newest), fmt.Sprintf("vulndb-%020d-planted.idx", sequence+1))
	if err := os.WriteFile(planted, raw[:len(raw)/2], 0o600); err != nil && !errors.Is(err, syscall.ENOSPC) {
		c.t.Error(err)
	}
}

// pullUpIndex takes away what plantIndex left: Prune keeps two files by their
// names, and a crash never leaves half a file under such a name.
func (c *chaos) pullUpIndex() {
	time.Sleep(2500 * time.Millisecond) // so that the running program has seen it
	files, err := filepath.Glob(filepath.Join(c.dataDir, "vulndb", "*-planted.idx"))
	fatal(c.t, err)
	for _, f := range files {
		if err := os.Remove(f); err != nil && !errors.Is(err, os.ErrNotExist) {
			c.t.Error(err)
		}
	}
}

func (c *chaos) ballast() string { return filepath.Join(c.disk, "ballast") }

// fill takes all of the small disk but a few blocks.
func (c *chaos) fill(r *rand.Rand) {
	var s syscall.Statfs_t
	fatal(c.t, syscall.Statfs(c.disk, &s))
	size := int64(s.Bavail)*s.Bsize - int64(r.IntN(3))*r.Int64N(1<<20)
	f, err := os.Create(c.ballast())
	fatal(c.t, err)
	if err := syscall.Fallocate(int(f.Fd()), 0, 0, max(size, 1)); err != nil && !errors.Is(err, syscall.ENOSPC) {
		c.t.Error(err)
	}
	fatal(c.t, f.Close())
}

func (c *chaos) empty() { fatal(c.t, os.Remove(c.ballast())) }

// limitedBody ends after so many bytes, as if that were all.
type limitedBody struct {
	io.ReadCloser
	left int64
}

func (b *limitedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, io.EOF
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
