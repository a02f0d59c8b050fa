package cataloger_test

import (
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/cataloger"
)

// programs are texts as they stand in the real ones, one for each row of the
// table or more, and what they tell; "" where it is not certain.
var programs = []struct{ file, text, want string }{
	{"python3.11", "pymalloc_debug\x003.11.2\x00strict", "python 3.11.2 python:python:3.11.2"},
	{"libpython3.13.so.1.0", "/root/.pyenv/versions/3.13.0\x00EXEC_PREFIX", "python 3.13.0 python:python:3.13.0"},
	{"python3.12", "\x003.12.0rc1+\x00", "python 3.12.0rc1 python:python:3.12.0rc1"},
	{"python3.11", "\x003.12.4\x00", ""},
	{"libpython3.so", "\x003.12.4\x00", ""},
	{"python2.7", "\x002.7.18\x00", "python 2.7.18 python:python:2.7.18"},
	{"node", "/json\x00node.js/v20.20.2\x00(delegate_)", "node 20.20.2 nodejs:node.js:20.20.2"},
	{"libnode.so.108", "https://nodejs.org/download/release/v18.20.4/node-v18.20.4.tar.gz\x00", "node 18.20.4 nodejs:node.js:18.20.4"},
	{"node", "node.js/v20.20.2\x00https://nodejs.org/download/release/v20.20.2/node-v20.20.2.tar.gz\x00", "node 20.20.2 nodejs:node.js:20.20.2"},
	{"php8.2", "X-Powered-By: PHP/8.2.36\x00ZEND", "php 8.2.36 php:php:8.2.36"},
	{"libphp.so", "X-Powered-By: PHP/8.3.0RC1\x00", "php 8.3.0RC1 php:php:8.3.0RC1"},
	{"perl", "PERL_INTERNAL_RAND_SEED\x00v5.36.0\x00panic", "perl 5.36.0 perl:perl:5.36.0"},
	{"libruby-3.1.so.3.1.2", "\x00ruby 3.1.2p20 (2022-04-12 revision 4491bb740a) [x86_64-linux-gnu]\x00", "ruby 3.1.2 ruby-lang:ruby:3.1.2"},
	{"ruby", "\x00ruby 3.3.0 (2023-12-25 revision 5124f9ac75) [x86_64-linux]\x00", "ruby 3.3.0 ruby-lang:ruby:3.3.0"},
	{"lua5.4", "$LuaVersion: Lua 5.4.4  Copyright (C) 1994-2022", "lua 5.4.4 lua:lua:5.4.4"},
	{"lua5.1", "$Lua: Lua 5.1.5 Copyright (C) 1994-2012 Lua.org, PUC-Rio $", "lua 5.1.5 lua:lua:5.1.5"},
	{"x86_64-linux-gnu-gcc-12", " zstd\x0012.2.0\x00(Debian 12.2.0-14+deb12u1) \x00gcc version %s %s\n", "gcc 12.2.0 gnu:gcc:12.2.0"},
	{"nginx", "nginx version: nginx/1.22.1\x00", "nginx 1.22.1 f5:nginx:1.22.1"},
	{"nginx", "nginx version: nginx/1.22.1\x00nginx version: nginx/1.22.2\x00", "gap program-version"},
	{"apache2", "Apache/2.4\x00Apache/2.4.71\x00Apache/2.4.71 (Debian)\x00", "httpd 2.4.71 apache:http_server:2.4.71"},
	{"haproxy", "since HAProxy version 2.5.\x00 version 2.6.12-1+deb12u4, released 2026/10/17\x00", "haproxy 2.6.12 haproxy:haproxy:2.6.12"},
	{"lighttpd", "\x00lighttpd/1.4.69 (ssl) - a light and fast webserver\n\x00", "lighttpd 1.4.69 lighttpd:lighttpd:1.4.69"},
	{"squid", "/usr/lib/squid/log_file_daemon\x00squid/5.7\x00", "squid 5.7 squid-cache:squid:5.7"},
	{"redis-server", "A7.0.151790282056000000000\x00", "redis 7.0.15 redis:redis:7.0.15"},
	{"redis-server", "\x007.2.4buildkitsandbox-1704798473000000000\x00", "redis 7.2.4 redis:redis:7.2.4"},
	{"redis-server", "\x006.2.133fabcdef0123-1704798473000000000\x00", "redis 6.2.13 redis:redis:6.2.13"},
	{"redis-server", "\x007.0.15\x007.0.0\x007.0.3\x00", ""},
	{"valkey-server", "\x00valkey8.0.1buildkitsandbox-1727953520000000000\x00", "valkey 8.0.1 lfprojects:valkey:8.0.1"},
	{"postgres", "postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)\n\x00", "postgresql 15.20 postgresql:postgresql:15.20"},
	{"psql", "psql (PostgreSQL) 17beta1\n\x00", "postgresql 17beta1 postgresql:postgresql:17beta1"},
	{"mariadbd", "for example 10.1.1-MariaDB-mariadb1precise-log\x00-0+deb12u1\x0010.11.19-MariaDB\x00x86_64", "mariadb 10.11.19 mariadb:mariadb:10.11.19"},
	{"memcached", "\x00memcached 1.6.18\n\x00VERSION 1.6.18\x00", "memcached 1.6.18 memcached:memcached:1.6.18"},
	{"libsqlite3.so.0.8.6", "\x003.40.1\x00", "sqlite 3.40.1 sqlite:sqlite:3.40.1"},
	{"named", "BIND 9 is\x00BIND 9.18.49-1~deb12u3-Debian\x00", "bind 9.18.49 isc:bind:9.18.49"},
	{"unbound", "\x00unbound 1.17.1\x00", "unbound 1.17.1 nlnetlabs:unbound:1.17.1"},
	{"dnsmasq", "\x00dnsmasq-2.90\x00", "dnsmasq 2.90 thekelleys:dnsmasq:2.90"},
	{"slapd", "@(#) $OpenLDAP: slapd 2.5.13+dfsg-5 (Feb  8 2023 01:56:12) $", "openldap 2.5.13 openldap:openldap:2.5.13"},
	{"postconf", "\x00mail_version=3.7.11\x00", "postfix 3.7.11 postfix:postfix:3.7.11"},
	{"dovecot", "Dovecot v2.3.19.1 (9b53102964) starting up", "dovecot 2.3.19.1 dovecot:dovecot:2.3.19.1"},
	{"proftpd", "ProFTPD Version 1.3.8\x00", "proftpd 1.3.8 proftpd:proftpd:1.3.8"},
	{"sshd", "\x00OpenSSH_2*,OpenSSH_3*\x00OpenSSH_9.2p1 Debian-2+deb12u10\x00OpenSSH_9.2\x00", "openssh 9.2p1 openbsd:openssh:9.2:p1"},
	{"busybox", "\x00BusyBox v1.35.0 (Debian 1:1.35.0-4+b1)\x00syslogd started: BusyBox v1.35.0\x00", "busybox 1.35.0 busybox:busybox:1.35.0"},
	{"libcrypto.so.3", "OpenSSL 3.0.22 25 Aug 2026\x00", "openssl 3.0.22 openssl:openssl:3.0.22"},
	{"openssl", "OpenSSL 1.1.1w  11 Sep 2023\x00", "openssl 1.1.1w openssl:openssl:1.1.1w"},
	{"libssl.so.10", "OpenSSL 1.0.2k-fips  26 Jan 2017\x00", "openssl 1.0.2k openssl:openssl:1.0.2k"},
	{"curl", "\x00curl 7.88.1 (x86_64-pc-linux-gnu) %s\n\x00curl/7.88.1\x00", "curl 7.88.1 haxx:curl:7.88.1"},
	{"libcurl.so.4.8.0", "CLIENT libcurl 7.88.1\x00libcurl/7.88.1\x00", "libcurl 7.88.1 haxx:libcurl:7.88.1"},
	{"bash", "@(#)Bash version 5.2.15(1) release GNU\x00", "bash 5.2.15 gnu:bash:5.2.15"},
	{"git", "share/doc/git/html\x00\xfegit/2.39.5\x00", "git 2.39.5 git-scm:git:2.39.5"},
	{"ffmpeg", "%s version 5.1.9-0+deb12u1\x00", "ffmpeg 5.1.9 ffmpeg:ffmpeg:5.1.9"},
	{"libavcodec.so.59.37.100", "FFmpeg version 5.1.9-0+deb12u1\x00", "ffmpeg 5.1.9 ffmpeg:ffmpeg:5.1.9"},
	{"libz.so.1.2.13", " inflate 1.2.13 Copyright 1995-2022 Mark Adler ", "zlib 1.2.13 zlib:zlib:1.2.13"},
	{"libexpat.so.1.8.10", "\x00expat_2.5.0\x00", "expat 2.5.0 libexpat_project:libexpat:2.5.0"},
	{"libgnutls.so.30.34.3", "Enabled GnuTLS 3.7.9 logging...\n\x00", "gnutls 3.7.9 gnu:gnutls:3.7.9"},
	{"other", "nginx version: nginx/1.22.1\x00X-Powered-By: PHP/8.2.36\x00", ""},
}

func TestProgramText(t *testing.T) {
	for _, p := range programs {
		t.Run(p.file, func(t *testing.T) {
			var want []string
			if p.want != "" {
				want = []string{p.want}
			}
			for _, pad := range []int{0, 128<<10 - 20, 128<<10 - 36, 300 << 10} {
				body := "\x7fELF" + strings.Repeat("\x00", 12+pad) + p.text + strings.Repeat("\x00", 10)
				out := cataloger.NewResult("usr/bin/"+p.file, limits)
				cataloger.ForContent([]byte(body)[:16]).Read(iotest.HalfReader(strings.NewReader(body)), out)
				got := products(out)
				for i := range got {
					got[i] = strings.ReplaceAll(strings.TrimRight(got[i], ":*"), "cpe:2.3:a:", "")
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("after %d bytes: %s", pad, diff)
				}
				for _, found := range out.Packages {
					if found.Type != "binary" || found.Evidence != "version-string" {
						t.Errorf("%+v", found)
					}
				}
			}
		})
	}
}

// TestManyNeedles: text made to be looked at everywhere costs little and is not
// called read.
func TestManyNeedles(t *testing.T) {
	body := "\x7fELF" + strings.Repeat("\x00", 12) + strings.Repeat("nginx version: nginx/x", 20_000) + "nginx version: nginx/1.22.1\x00"
	if diff := cmp.Diff([]string{"partial program-version"}, told(read(t, "sbin/nginx", body))); diff != "" {
		t.Error(diff)
	}
}
