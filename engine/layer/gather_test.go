package layer_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/image"
	"github.com/pratique/pratique/engine/inventory"
	"github.com/pratique/pratique/engine/layer"
	it "github.com/pratique/pratique/internal/imagetest"
)

func analyzeBy(t *testing.T, config layer.Config, entries ...it.Content) *inventory.Report {
	t.Helper()
	r, err := analyzer(t, config).Analyze(t.Context(), bytes.NewReader(it.Gzip(entries...).Blob))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestRetrieve: the content of files that the configuration names is kept, to a
// limit that is told.
func TestRetrieve(t *testing.T) {
	config := layer.DefaultConfig()
	config.Retrieve = []string{"/etc/motd", "srv/*/version"}
	config.Limits.Content, config.Limits.Contents = 8, 20
	r := analyzeBy(t, config, it.File("etc/motd", "hello"), it.File("etc/motd.d/x", "no"), it.File("srv/a/version", "longer than that"), it.File("srv/a/b/version", "no"))
	want := []inventory.Retrieved{{Path: "etc/motd", Content: []byte("hello")}, {Path: "srv/a/version", Content: []byte("longer t"), Cut: true}}
	if diff := cmp.Diff(want, r.Retrieved); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"partial content-too-large"}, codes(r.Gaps)); diff != "" {
		t.Error(diff)
	}
}

// TestExpressions: text files are searched, others are not; what lies beyond the
// limit is a gap.
func TestExpressions(t *testing.T) {
	config := layer.DefaultConfig()
	config.Expressions = []layer.Expression{{Name: "ticket", Pattern: `^JIRA-\d+`}, {Name: "any", Pattern: "x"}}
	config.Limits.Content = 1 << 10
	r := analyzeBy(t, config, it.File("a", "one\nJIRA-12\nJIRA-13\n"), it.File("b", "see JIRA-12"), it.File("c", "\x00\x00JIRA-1"), it.File("d", strings.Repeat(" ", 2000)+"\nJIRA-1"))
	if diff := cmp.Diff([]inventory.ContentMatch{{Path: "a", Expression: "ticket", Line: 2}}, r.Contents); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"partial content-too-large"}, codes(r.Gaps)); diff != "" {
		t.Error(diff)
	}
}

// TestMaker: what changes a report changes the name under which it is kept.
func TestMaker(t *testing.T) {
	names := map[string]string{}
	for what, set := range map[string]func(*layer.Config){
		"defaults":    func(*layer.Config) {},
		"digests":     func(c *layer.Config) { c.FileDigests = false },
		"secrets":     func(c *layer.Config) { c.Secrets = false },
		"licences":    func(c *layer.Config) { c.Licenses = layer.LicensesMetadata },
		"retrieve":    func(c *layer.Config) { c.Retrieve = []string{"etc/motd"} },
		"expressions": func(c *layer.Config) { c.Expressions = []layer.Expression{{Name: "a", Pattern: "a"}} },
		"clamav":      func(c *layer.Config) { c.ClamAV = "tcp://127.0.0.1:3310" },
		"limits":      func(c *layer.Config) { c.Limits.Gaps = 1 },
	} {
		config := layer.DefaultConfig()
		set(&config)
		name := analyzer(t, config).Maker().Gathers
		if names[name] != "" {
			t.Errorf("%s and %s have the same name", what, names[name])
		}
		names[name] = what
	}
	config := layer.DefaultConfig()
	config.SpoolDir = t.TempDir()
	if names[analyzer(t, config).Maker().Gathers] != "defaults" {
		t.Error("the place of the spool changes the name")
	}
}

func TestConfigIsChecked(t *testing.T) {
	for name, set := range map[string]func(*layer.Config){
		"licences":                func(c *layer.Config) { c.Licenses = "all" },
		"pattern":                 func(c *layer.Config) { c.Retrieve = []string{"["} },
		"empty pattern":           func(c *layer.Config) { c.Retrieve = []string{""} },
		"expression":              func(c *layer.Config) { c.Expressions = []layer.Expression{{Name: "a", Pattern: "("}} },
		"expression, no name":     func(c *layer.Config) { c.Expressions = []layer.Expression{{Pattern: "a"}} },
		"address without a port":  func(c *layer.Config) { c.ClamAV = "tcp://clamav" },
		"address of another kind": func(c *layer.Config) { c.ClamAV = "clamav:3310" },
	} {
		config := layer.DefaultConfig()
		set(&config)
		if _, err := layer.New(config); !errors.Is(err, layer.ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// clamav speaks as clamd does: sessions of INSTREAM commands. It finds what
// holds "virus", and hangs up when it is given "crash".
func clamav(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			clamavSession(conn)
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return "tcp://" + l.Addr().String()
}

func clamavSession(conn net.Conn) {
	in := bufio.NewReader(conn)
	for n := 1; ; {
		command, err := in.ReadString(0)
		switch {
		case err != nil:
			return
		case command == "zIDSESSION\x00":
			continue
		case command != "zINSTREAM\x00":
			fmt.Fprintf(conn, "%d: UNKNOWN COMMAND\x00", n)
			return
		}
		var body bytes.Buffer
		for {
			var size uint32
			if binary.Read(in, binary.BigEndian, &size) != nil {
				return
			}
			if size == 0 {
				break
			}
			if _, err := io.CopyN(&body, in, int64(size)); err != nil {
				return
			}
		}
		switch text := body.String(); {
		case strings.Contains(text, "crash"):
			return
		case strings.Contains(text, "virus"):
			fmt.Fprintf(conn, "%d: stream: Test.Virus FOUND\x00", n)
		default:
			fmt.Fprintf(conn, "%d: stream: OK\x00", n)
		}
		n++
	}
}

// TestClamAV: every file is shown to the daemon; one that cannot be asked is a
// gap, and takes nothing else away.
func TestClamAV(t *testing.T) {
	config := layer.DefaultConfig()
	config.ClamAV = clamav(t)
	big := it.File("big", strings.Repeat("x", 300<<10)+"virus")
	r := analyzeBy(t, config, it.File("a", "clean"), it.File("b", "a virus"), big, it.File("c", "clean"))
	want := []inventory.Malware{{Scanner: "clamav", Path: "b", Signature: "Test.Virus"}, {Scanner: "clamav", Path: "big", Signature: "Test.Virus"}}
	if diff := cmp.Diff(want, r.Malware); diff != "" || len(r.Gaps) > 0 {
		t.Errorf("%s gaps %+v", diff, r.Gaps)
	}
	r = analyzeBy(t, config, append(alpine, it.File("z1", "crash"), it.File("z2", "a virus"))...)
	if diff := cmp.Diff([]string{"partial malware-unscanned"}, codes(r.Gaps)); diff != "" || len(r.Packages) == 0 {
		t.Errorf("daemon gone: %s %d packages", diff, len(r.Packages))
	}
	config.ClamAV = "tcp://127.0.0.1:1"
	r = analyzeBy(t, config, it.File("a", "clean"))
	if diff := cmp.Diff([]string{"partial malware-unscanned"}, codes(r.Gaps)); diff != "" {
		t.Error(diff)
	}
}

// TestHeldFiles: a database that is read in any order may be larger than the
// memory for it, and its log may come before or after it, or not at all.
func TestHeldFiles(t *testing.T) {
	config := layer.DefaultConfig()
	config.Limits.Memory = 1
	database, log := it.File("var/lib/rpm/rpmdb.sqlite", strings.Repeat("not a database ", 10_000)), it.File("var/lib/rpm/rpmdb.sqlite-wal", "not a log")
	link := it.HardLink("srv/var/lib/rpm/rpmdb.sqlite", "var/lib/rpm/rpmdb.sqlite")
	for name, entries := range map[string][]it.Content{"log after": {database, log}, "log before": {log, database}, "twice": {database, database}, "replaced": {log, database, it.File("var/lib/rpm/rpmdb.sqlite-wal", "")}} {
		if got := codes(analyzeBy(t, config, entries...).Gaps); !cmp.Equal(got, []string{"blind rpm-database"}) {
			t.Errorf("%s: %v", name, got)
		}
	}
	r := analyzeBy(t, config, database, link)
	if len(r.Databases) != 2 || len(r.Gaps) != 2 {
		t.Errorf("hard link: %+v %+v", r.Databases, r.Gaps)
	}
	config.Limits.Spool = 10
	if got := codes(analyzeBy(t, config, database).Gaps); !cmp.Equal(got, []string{"blind file-unread"}) {
		t.Errorf("no room on disk: %v", got)
	}
}

// tokens are lines with a credential each.
func tokens(n int) string {
	var b strings.Builder
	for i := range n {
		sum := sha256.Sum256([]byte{byte(i), byte(i >> 8)})
		fmt.Fprintf(&b, "T=ghp_%.36x\n", sum[:18])
	}
	return b.String()
}

// TestWhatIsCutIsAGap: credentials beyond what one file may have, text that looks
// like nothing but credentials, and the end of a licence file.
func TestWhatIsCutIsAGap(t *testing.T) {
	for name, test := range map[string]struct {
		path, text string
		want       []string
	}{
		"few":              {"a", tokens(3), []string{}},
		"many credentials": {"a", tokens(1001), []string{"partial too-many-findings"}},
		"nothing else":     {"a", strings.Repeat("facebook = \""+strings.Repeat("0123456789abcdef", 2)+"\"\n", 45_000), []string{"partial secrets-unread", "partial too-many-findings"}},
		"licence":          {"LICENSE", strings.Repeat("MIT License\n", 1000), []string{}},
		"long licence":     {"LICENSE", strings.Repeat("MIT License\n", 30_000), []string{"partial license-too-large"}},
	} {
		t.Run(name, func(t *testing.T) {
			config := layer.DefaultConfig()
			config.Licenses = layer.LicensesMetadata
			r := analyzeBy(t, config, it.File(test.path, test.text))
			if diff := cmp.Diff(test.want, codes(r.Gaps)); diff != "" {
				t.Error(diff)
			}
			for _, g := range r.Gaps {
				if g.Path != test.path {
					t.Errorf("%+v", g)
				}
			}
		})
	}
}

// TestSettingsThatAreCut: credentials of the configuration beyond the limit, and
// beyond what one variable may have.
func TestSettingsThatAreCut(t *testing.T) {
	config := layer.DefaultConfig()
	config.Licenses, config.Limits.Findings = layer.LicensesMetadata, 2
	for name, test := range map[string]struct {
		env  []string
		want []string
	}{
		"as many as may be": {strings.Split(strings.TrimSpace(tokens(2)), "\n"), nil},
		"one more":          {strings.Split(strings.TrimSpace(tokens(3)), "\n"), []string{"partial too-many-findings -1 the image's configuration holds 1 more credentials; they are not listed"}},
		"in one variable":   {[]string{tokens(1001)}, []string{"partial too-many-findings -1 the image's configuration holds 999 more credentials; they are not listed"}},
	} {
		t.Run(name, func(t *testing.T) {
			all, _, gaps, err := analyzer(t, config).Settings(&image.Config{Runtime: &image.Runtime{Env: test.env}})
			var got []string
			for _, g := range gaps {
				got = append(got, fmt.Sprintf("%s %s %d %s", g.Kind, g.Code, g.Layer, g.Detail))
			}
			if diff := cmp.Diff(test.want, got); diff != "" || err != nil || len(all) != 2 {
				t.Errorf("%d, %v %s", len(all), err, diff)
			}
		})
	}
}
