// Package layer reads the bytes of one layer, once, as they stream by, to an
// inventory.Report.
//
// It knows no registry, no image and no other layer: what a layer means among
// others is for inventory.Squash. Start with Analyzer.
package layer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/pratique/pratique/engine/inventory"
)

// Analyze reads r to its end and reports what it holds. The error is for r and
// ctx alone; whatever is wrong with the content is a Gap of the report. When ctx
// ends, the next read fails; one that blocks is for r's owner to end.
//
// For a compressed layer one goroutine inflates while the caller's walks the
// tar; it has ended when Analyze returns.
func (a *Analyzer) Analyze(ctx context.Context, r io.Reader) (*inventory.Report, error) {
	began := time.Now()
	src := newSource(r, ctx.Err)
	in := bufio.NewReaderSize(src, blockSize)
	rec, err := newRecorder(a)
	if err != nil {
		return nil, err
	}
	defer rec.close()
	head, err := in.Peek(sniffSize)
	if err != nil && src.failure != nil {
		return nil, fmt.Errorf("read layer: %w", src.failure)
	}
	report := rec.report
	report.Format = sniff(head)
	diffID := ""
	switch report.Format {
	case formatGzip, formatZstd:
		diffID = readCompressed(in, src, rec)
	case formatTar:
		diffID = readPlain(in, src, rec)
	case formatJSON:
		if ok, err := isDocument(in); !ok && err == nil {
			report.Format = formatOther
		}
	}
	if _, err := io.Copy(io.Discard, in); err != nil && src.failure == nil {
		src.failure = err
	}
	if src.failure != nil {
		return nil, fmt.Errorf("read layer: %w", src.failure)
	}
	report.Digest, report.Size = src.digest(), src.count.Load()
	switch {
	case diffID == sameBytes:
		report.DiffID = report.Digest
	case diffID != "":
		report.DiffID = digestOf(diffID)
	}
	rec.finish()
	report.Took = time.Since(began)
	return report, nil
}

// readPlain walks a tar that is stored as it is.
func readPlain(in io.Reader, src *source, rec *recorder) (diffID string) {
	out := &unpacked{r: in, limits: rec.limits}
	rec.waited = src.waited.Load
	rec.walk(out)
	rec.report.Tar = out.count
	if errors.Is(out.failure, errTooLarge) {
		rec.streamGap(out.failure)
		return ""
	}
	return sameBytes
}
