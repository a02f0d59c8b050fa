package advisory_test

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pratique/pratique/engine/advisory"
)

// benchSize is how many synthetic advisories the benchmarks use;
// PRATIQUE_BENCH_ADVISORIES sets another number.
func benchSize(b *testing.B) int {
	text := os.Getenv("PRATIQUE_BENCH_ADVISORIES")
	if text == "" {
		return 100_000
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1000 {
		b.Fatalf("PRATIQUE_BENCH_ADVISORIES=%s: want a number from 1000", text)
	}
	return n
}

// synthetic gives the i-th advisory of a set in which two advisories of three
// share their package with others, and one package (the kernel) has one of
// fifty.
func synthetic(i int) advisory.Advisory {
	a := sample()[0]
	cve := fmt.Sprintf("CVE-%d-%d", 2000+i%27, i)
	a.ID, a.Aliases = "DEBIAN-"+cve, []string{cve}
	a.Package = fmt.Sprintf("package-%d", i/3*7919%1_000_003)
	a.Summary = fmt.Sprintf("%s: a summary of the usual length, with a number %d in it", a.Package, i*31)
	a.URL = "https://security-tracker.debian.org/tracker/" + cve
	a.Ranges = []advisory.Range{{Type: "ECOSYSTEM", Events: []advisory.Event{{Introduced: "0"}, {Fixed: fmt.Sprintf("%d.%d-1", i%9, i%31)}}}}
	if i%50 == 0 {
		a.Package = "linux"
	}
	return a
}

func BenchmarkBuild(b *testing.B) {
	n := benchSize(b)
	for b.Loop() {
		stop := samplePeak()
		buildSynthetic(b, b.TempDir(), n, 0)
		b.ReportMetric(stop(), "anon-MB-peak")
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "advisories/s")
}

// buildSynthetic builds n advisories, one in every changed of them with another
// content (0: none).
func buildSynthetic(b *testing.B, dir string, n, changed int) string {
	b.Helper()
	builder, err := advisory.NewBuilder(dir)
	if err != nil {
		b.Fatal(err)
	}
	for i := range n {
		a := synthetic(i)
		if changed > 0 && i%changed == 1 {
			a.Summary = "changed"
		}
		if err := builder.Add(a); err != nil {
			b.Fatal(err)
		}
	}
	path, _, err := builder.Finish(1, built)
	if err != nil {
		b.Fatal(err)
	}
	return path
}

func BenchmarkOpen(b *testing.B) {
	path := buildSynthetic(b, b.TempDir(), benchSize(b), 0)
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		ix, err := advisory.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		ix.Close()
	}
	b.ReportMetric(float64(info.Size())/1e6, "file-MB")
}

func BenchmarkLookup(b *testing.B) {
	n := benchSize(b)
	ix := open(b, buildSynthetic(b, b.TempDir(), n, 0))
	for _, bench := range []struct {
		name string
		pkg  func(i int) string
	}{
		{"hit", func(i int) string { return synthetic(i * 127 % n).Package }},
		{"miss", func(i int) string { return fmt.Sprintf("paquet-%d", i) }},
		{"kernel", func(int) string { return "linux" }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			var names []string
			for i := 1; len(names) < 4096; i++ {
				if name := bench.pkg(i); name != "linux" || bench.name == "kernel" {
					names = append(names, name)
				}
			}
			found := 0
			for i := 0; b.Loop(); i++ {
				list, err := ix.Lookup("Debian:12", names[i%len(names)])
				if err != nil {
					b.Fatal(err)
				}
				found = len(list)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lookups/s")
			b.ReportMetric(float64(found), "advisories")
		})
	}
}

func BenchmarkDiff(b *testing.B) {
	n := benchSize(b)
	before, after := open(b, buildSynthetic(b, b.TempDir(), n, 0)), open(b, buildSynthetic(b, b.TempDir(), n, 1000))
	found := 0
	for b.Loop() {
		keys, err := advisory.Diff(before, after)
		if err != nil {
			b.Fatal(err)
		}
		found = len(keys)
	}
	b.ReportMetric(float64(found), "keys")
}

// samplePeak watches the memory of the process that no file backs, which is
// where bounded memory shows; stop gives its peak in MB.
func samplePeak() (stop func() float64) {
	peak := anonymous()
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
				peak = max(peak, anonymous())
			}
		}
	})
	return func() float64 {
		close(done)
		wg.Wait()
		return peak / 1e6
	}
}

// anonymous is RssAnon in bytes; 0 where the system does not tell.
func anonymous() float64 {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "RssAnon:"); ok {
			kb, _ := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 64)
			return kb * 1024
		}
	}
	return 0
}
