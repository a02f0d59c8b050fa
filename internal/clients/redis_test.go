package clients_test

import (
	"bufio"
	"net"
	"testing"
	"time"

	"github.com/pratique/pratique/internal/clients"
)

func TestRedis(t *testing.T) {
	t.Parallel()
	r := clients.Redis(t)
	if got := ask(t, r.Addr, "SET k v"); got != "+OK" {
		t.Errorf("SET answered %q", got)
	}
	r.Freeze()
	if got := ask(t, r.Addr, "PING"); got != "" {
		t.Errorf("a frozen server answered %q", got)
	}
	r.Thaw()
	r.Stop()
	if conn, err := net.Dial("tcp", r.Addr); err == nil {
		_ = conn.Close()
		t.Error("a stopped server accepts connections")
	}
	r.Start()
	if got := ask(t, r.Addr, "EXISTS k"); got != ":0" {
		t.Errorf("EXISTS after a restart answered %q", got)
	}
}

// ask sends one command and answers with the first line of the reply, or ""
// if none comes within a quarter of a second.
func ask(t *testing.T, addr, command string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(250*time.Millisecond)))
	_, err = conn.Write([]byte(command + "\r\n"))
	must(t, err)
	scanner := bufio.NewScanner(conn)
	scanner.Scan()
	return scanner.Text()
}
