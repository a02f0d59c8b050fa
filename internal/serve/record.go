package serve

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"time"
)

// Record is what is known of one request when it has been answered. Handlers
// add to it through Note.
type Record struct {
	Operation string
	attrs     []slog.Attr
	status    int
	in, out   int64
}

type recordKey struct{}

// Note names the operation of the request under way and adds facts to its log
// line. It is for the goroutine that serves the request.
func Note(ctx context.Context, operation string, attrs ...slog.Attr) {
	if rec, ok := ctx.Value(recordKey{}).(*Record); ok {
		if operation != "" {
			rec.Operation = operation
		}
		rec.attrs = append(rec.attrs, attrs...)
	}
}

// Recorded writes one log line for each request and counts it. Paths under
// quiet are counted and logged at debug level only (health checks).
func Recorded(door string, log *slog.Logger, m *Metrics, quietPaths map[string]bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		rec := &Record{Operation: "other", status: http.StatusOK}
		r = r.WithContext(context.WithValue(r.Context(), recordKey{}, rec))
		r.Body = &countedBody{r.Body, rec}
		next.ServeHTTP(&countedWriter{w, rec}, r)
		took := time.Since(start)
		m.Request(door, rec.Operation, rec.status, took, rec.in, rec.out)
		level := slog.LevelInfo
		if quietPaths[r.URL.Path] {
			level = slog.LevelDebug
		}
		attrs := append([]slog.Attr{
			slog.String("door", door), slog.String("operation", rec.Operation), slog.String("method", r.Method), slog.String("path", r.URL.Path),
			slog.Int("status", rec.status), slog.Duration("took", took.Round(10*time.Microsecond)), slog.Int64("in", rec.in), slog.Int64("out", rec.out),
			slog.String("client", r.RemoteAddr), slog.String("agent", r.UserAgent()),
		}, rec.attrs...)
		log.LogAttrs(r.Context(), level, "request answered", attrs...)
	})
}

type countedWriter struct {
	http.ResponseWriter
	rec *Record
}

func (w *countedWriter) WriteHeader(status int) {
	w.rec.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *countedWriter) Write(b []byte) (int, error) {
	n, err := w.ResponseWriter.Write(b)
	w.rec.out += int64(n)
	return n, err
}

// ReadFrom keeps the copy without a buffer that the server has for files.
func (w *countedWriter) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(w.ResponseWriter, r)
	w.rec.out += n
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (w *countedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

type countedBody struct {
	io.ReadCloser
	rec *Record
}

func (b *countedBody) Read(buf []byte) (int, error) {
	n, err := b.ReadCloser.Read(buf)
	b.rec.in += int64(n)
	return n, err
}
