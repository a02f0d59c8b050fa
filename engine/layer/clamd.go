package layer

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/pratique/pratique/engine/inventory"
)

// Bounds of one conversation with clamd.
const (
	clamdConnect = 5 * time.Second
	clamdAnswer  = 2 * time.Minute
	clamdReply   = 4 << 10 // bytes
)

// clamdAddress reads "tcp://host:port" or "unix:///path".
func clamdAddress(raw string) (network, address string, err error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
	case u.Scheme == "tcp" && u.Port() != "" && u.Path == "":
		return "tcp", u.Host, nil
	case u.Scheme == "unix" && u.Host == "" && len(u.Path) > 1:
		return "unix", u.Path, nil
	}
	return "", "", fmt.Errorf("%w: clamav: %q: want tcp://host:port or unix:///path", ErrConfig, raw)
}

// clamd gives files to a ClamAV daemon, one after the other, over one
// connection for the files of a layer: a session of INSTREAM commands.
// clamd(8), "COMMANDS".
type clamd struct {
	network, address string
	conn             net.Conn // nil: not connected
	in               *bufio.Reader
	failed           error // why the daemon is not asked any more
	unasked          int   // files
}

func newClamd(address string) *clamd {
	network, host, err := clamdAddress(address)
	return &clamd{network: network, address: host, failed: err}
}

// stream begins a file.
func (d *clamd) stream() *clamdTap {
	t := &clamdTap{clamd: d}
	if d.failed == nil && d.conn == nil {
		d.connect()
	}
	if d.failed == nil {
		d.send([]byte("zINSTREAM\x00"))
	}
	return t
}

func (d *clamd) connect() {
	conn, err := net.DialTimeout(d.network, d.address, clamdConnect)
	if err != nil {
		d.failed = err
		return
	}
	d.conn, d.in = conn, bufio.NewReaderSize(conn, clamdReply)
	d.send([]byte("zIDSESSION\x00"))
}

func (d *clamd) send(b []byte) {
	if d.failed != nil {
		return
	}
	err := d.conn.SetDeadline(time.Now().Add(clamdAnswer))
	if err == nil {
		_, err = d.conn.Write(b)
	}
	d.failed = err
}

// answer reads "1: stream: OK" or "1: stream: Name FOUND".
func (d *clamd) answer() (signature string) {
	d.send([]byte{0, 0, 0, 0})
	if d.failed != nil {
		return ""
	}
	line, err := d.in.ReadSlice(0)
	if err != nil {
		d.failed = err
		return ""
	}
	_, text, _ := strings.Cut(strings.TrimRight(string(line), "\x00"), "stream: ")
	switch name, found := strings.CutSuffix(text, " FOUND"); {
	case found:
		return name
	case text != "OK":
		d.failed = errors.New(strings.TrimRight(string(line), "\x00"))
	}
	return ""
}

func (d *clamd) close() {
	if d.conn != nil {
		_ = d.conn.Close() // every answer was read, or a gap says which was not
	}
}

// clamdTap is one file on its way to the daemon.
type clamdTap struct {
	*clamd
}

func (t *clamdTap) Write(p []byte) (int, error) {
	if len(p) > 0 {
		t.send(binary.BigEndian.AppendUint32(nil, uint32(len(p))))
		t.send(p)
	}
	return len(p), nil
}

func (t *clamdTap) end(rec *recorder, path string) {
	signature := t.answer()
	if signature != "" && rec.more(path) {
		rec.report.Malware = append(rec.report.Malware, inventory.Malware{Scanner: "clamav", Path: path, Signature: inventory.Printable(signature)})
	}
	if t.failed != nil {
		if t.unasked++; t.unasked == 1 {
			rec.gap(inventory.Partial, "malware-unscanned", path, "from this file on the layer was not seen by ClamAV: "+t.failed.Error())
		}
	}
}
