package layer_test

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/pratique/pratique/engine/layer"
	it "github.com/pratique/pratique/internal/imagetest"
)

// benchLayers names a folder with real layers (*.tar.gz, *.tar.zst, *.tar), as
// scripts/bench-engine makes them. Without it, made ones are measured.
const benchLayers = "PRATIQUE_BENCH_LAYERS"

// BenchmarkAnalyze measures an analysis beside what any reader of the same layer
// must do: inflate it, walk the tar, and make the digests of both forms. The two
// take turns, on one core, and what counts is the processor's time, which other
// programs do not lengthen. "ratio" is the time of the reader through that of the
// analysis; "peak-MB" the growth of anonymous memory during the analysis.
func BenchmarkAnalyze(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for name, open := range layersToMeasure(b) {
		for _, variant := range variants {
			config := layer.DefaultConfig()
			variant.set(&config)
			a := analyzer(b, config)
			b.Run(name+"/"+variant.name, func(b *testing.B) { compare(b, open, a) })
		}
	}
}

var variants = []struct {
	name string
	set  func(*layer.Config)
}{
	{"all", func(*layer.Config) {}},
	{"packages", func(c *layer.Config) { c.FileDigests, c.Secrets, c.Licenses = false, false, layer.LicensesOff }},
	{"no-digests", func(c *layer.Config) { c.FileDigests = false }},
	{"no-secrets", func(c *layer.Config) { c.Secrets = false }},
	{"no-licences", func(c *layer.Config) { c.Licenses = layer.LicensesOff }},
}

func compare(b *testing.B, open func() io.ReadCloser, a *layer.Analyzer) {
	var plain, ours time.Duration
	var peak, size int64
	for b.Loop() {
		began := processorTime(b)
		size = readPlainly(b, open())
		plain += processorTime(b) - began
		stop := watchMemory()
		began = processorTime(b)
		r := open()
		report, err := a.Analyze(b.Context(), r)
		if err = firstError(err, r.Close()); err != nil {
			b.Fatal(err)
		}
		ours += processorTime(b) - began
		peak = max(peak, stop())
		if report.Tar != size {
			b.Fatalf("analysed %d bytes of %d", report.Tar, size)
		}
	}
	b.SetBytes(0)
	b.ReportMetric(float64(size)*float64(b.N)/1e6/ours.Seconds(), "MB/s")
	b.ReportMetric(float64(size)*float64(b.N)/1e6/plain.Seconds(), "plain-MB/s")
	b.ReportMetric(plain.Seconds()/ours.Seconds(), "ratio")
	b.ReportMetric(float64(peak)/1e6, "peak-MB")
}

// processorTime is what this process has used so far, garbage collection
// included.
func processorTime(b *testing.B) time.Duration {
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// readPlainly is the reader that an analysis is compared with.
func readPlainly(b *testing.B, r io.ReadCloser) (size int64) {
	stored, whole := sha256.New(), sha256.New()
	in := bufio.NewReaderSize(io.TeeReader(r, stored), 256<<10)
	head, err := in.Peek(4)
	if err != nil {
		b.Fatal(err)
	}
	var unpacked io.Reader = in
	switch {
	case head[0] == 0x1f:
		if unpacked, err = gzip.NewReader(in); err != nil {
			b.Fatal(err)
		}
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1))
		if err != nil {
			b.Fatal(err)
		}
		defer z.Close()
		unpacked = z
	}
	counted := &counter{r: io.TeeReader(unpacked, whole)}
	for tr := tar.NewReader(counted); ; {
		if _, err := tr.Next(); err == io.EOF {
			break
		} else if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, tr); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := io.Copy(io.Discard, counted); err != nil {
		b.Fatal(err)
	}
	if err := r.Close(); err != nil {
		b.Fatal(err)
	}
	return counted.n
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// watchMemory samples the process's anonymous memory; stop tells by how much it
// has grown at most, in bytes.
func watchMemory() (stop func() int64) {
	debug.FreeOSMemory()
	start, done, peak := anonymous(), make(chan struct{}), make(chan int64)
	go func() {
		most := start
		for {
			select {
			case <-done:
				peak <- max(most, anonymous())
				return
			case <-time.After(2 * time.Millisecond):
				most = max(most, anonymous())
			}
		}
	}()
	return func() int64 {
		close(done)
		return <-peak - start
	}
}

// anonymous reads RssAnon of proc_pid_status(5), in bytes.
func anonymous() int64 {
	raw, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(raw), "RssAnon:")
	fields := strings.Fields(after)
	if len(fields) == 0 {
		return 0
	}
	kilobytes, _ := strconv.ParseInt(fields[0], 10, 64)
	return kilobytes << 10
}

func layersToMeasure(b *testing.B) map[string]func() io.ReadCloser {
	all := map[string]func() io.ReadCloser{}
	dir := os.Getenv(benchLayers)
	if dir == "" {
		for name, blob := range map[string][]byte{"made-text": it.Gzip(madeTexts(4000, 16<<10)...).Blob, "made-small-files": it.Gzip(madeTexts(100_000, 64)...).Blob} {
			all[name] = func() io.ReadCloser { return io.NopCloser(bytes.NewReader(blob)) }
		}
		return all
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.tar*"))
	if err != nil || len(files) == 0 {
		b.Fatalf("no layers in %s: %v", dir, err)
	}
	for _, file := range files {
		all[filepath.Base(file)] = func() io.ReadCloser {
			f, err := os.Open(file)
			if err != nil {
				b.Fatal(err)
			}
			return f
		}
	}
	return all
}

// madeTexts are files of words, the same with each run.
func madeTexts(files, size int) []it.Content {
	random := rand.New(rand.NewPCG(1, 2))
	var entries []it.Content
	for i := range files {
		var body strings.Builder
		for body.Len() < size {
			fmt.Fprintf(&body, "var word%d = %q;\n", random.IntN(1000), strings.Repeat("lorem ipsum ", random.IntN(4)))
		}
		entries = append(entries, it.File(fmt.Sprintf("srv/d%d/f%d.js", i%100, i), body.String()[:size]))
	}
	return entries
}
