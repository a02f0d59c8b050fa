package cataloger

import "regexp"

// sure compiles a pattern of the table.
func sure(pattern string) *regexp.Regexp { return regexp.MustCompile(pattern) }

// redisBuild is what stands behind the version in the id of a build: the
// builder's name, the time, and zeros where a commit would stand (src/release.c
// and src/mkreleasehdr.sh of Redis). A name of digits alone is not told from the
// version and not taken.
const redisBuild = `(?:(?:[0-9a-f]{12}|[a-z][0-9a-z-]*)-)?\d{10}0{9}\x00`

// programTexts is the table of programs that are known by their version's text.
// A row stands here when the text can be nothing else: it comes from the
// program's own name and version, or stands alone in a file of that name.
var programTexts = []programText{
	// Languages
	{[]string{"python3.*", "libpython3.*"}, "3.*.", 1, sure(`^[\x00/-](3\.\d+\.\d+(?:(?:a|b|rc)\d+)?)\+?\x00`), "python", "python:python"},
	{[]string{"python2.*", "libpython2.*"}, "2.*.", 1, sure(`^[\x00/-](2\.\d+\.\d+(?:(?:a|b|rc)\d+)?)\+?\x00`), "python", "python:python"},
	{[]string{"node", "nodejs", "libnode.so*"}, "node.js/v", 0, sure(`^node\.js/v(\d+\.\d+\.\d+)\x00`), "node", "nodejs:node.js"},
	{[]string{"node", "nodejs", "libnode.so*"}, "https://nodejs.org/download/release/v", 0, sure(`^https://nodejs\.org/download/release/v(\d+\.\d+\.\d+)/node-v`), "node", "nodejs:node.js"},
	{[]string{"php*", "libphp*"}, "X-Powered-By: PHP/", 0, sure(`^X-Powered-By: PHP/(\d+\.\d+\.\d+(?:(?:alpha|beta|RC)\d+)?)\x00`), "php", "php:php"},
	{[]string{"perl", "perl5*", "libperl.so*"}, "\x00v5.", 0, sure(`^\x00v(5\.\d+\.\d+)\x00`), "perl", "perl:perl"},
	{[]string{"ruby*", "libruby*"}, "\x00ruby ", 0, sure(`^\x00ruby (\d+\.\d+\.\d+)(?:p\d+|(?:preview|rc|dev)\d*)? \(\d{4}-\d\d-\d\d `), "ruby", "ruby-lang:ruby"},
	{[]string{"lua", "luac", "lua5*", "luac5*", "liblua*"}, "$Lua", 0, sure(`^\$Lua(?:Version)?: Lua (\d+\.\d+\.\d+) `), "lua", "lua:lua"},
	{[]string{"gcc-*", "x86_64-linux-gnu-gcc-*", "aarch64-linux-gnu-gcc-*"}, "\x00*.", 0, sure(`^\x00(\d+\.\d+\.\d+)\x00`), "gcc", "gnu:gcc"},

	// Web and proxy servers
	{[]string{"nginx", "nginx-debug"}, "nginx version: nginx/", 0, sure(`^nginx version: nginx/(\d+\.\d+\.\d+)`), "nginx", "f5:nginx"},
	{[]string{"httpd", "apache2"}, "Apache/2.", 0, sure(`^Apache/(2\.\d+\.\d+)(?: \([A-Za-z ]+\))?\x00`), "httpd", "apache:http_server"},
	{[]string{"haproxy"}, ", released 2", 64, sure(` version (\d+\.\d+(?:\.\d+)?(?:-dev\d+)?)[^\x00]*, released \d{4}/\d\d/\d\d`), "haproxy", "haproxy:haproxy"},
	{[]string{"lighttpd"}, "\x00lighttpd/1.", 0, sure(`^\x00lighttpd/(1\.\d+\.\d+)`), "lighttpd", "lighttpd:lighttpd"},
	{[]string{"squid"}, "\x00squid/", 0, sure(`^\x00squid/(\d+(?:\.\d+)+)\x00`), "squid", "squid-cache:squid"},

	// Databases and caches
	{[]string{"redis-server", "redis-sentinel", "redis-check-rdb", "redis-check-aof"}, "000000000\x00", 120, sure(`(?:^|[^0-9.])(\d+\.\d+\.\d+?)` + redisBuild), "redis", "redis:redis"},
	{[]string{"valkey-server", "valkey-sentinel", "valkey-check-rdb", "valkey-check-aof"}, "000000000\x00", 120, sure(`valkey(\d+\.\d+\.\d+?)` + redisBuild), "valkey", "lfprojects:valkey"},
	{[]string{"postgres"}, "postgres (PostgreSQL) ", 0, sure(`^postgres \(PostgreSQL\) (\d+(?:\.\d+)*(?:(?:beta|rc)\d+)?)[ \n\x00]`), "postgresql", "postgresql:postgresql"},
	{[]string{"psql"}, "psql (PostgreSQL) ", 0, sure(`^psql \(PostgreSQL\) (\d+(?:\.\d+)*(?:(?:beta|rc)\d+)?)[ \n\x00]`), "postgresql", "postgresql:postgresql"},
	{[]string{"mariadbd", "mysqld", "mariadb", "mysql", "mariadb-dump", "mariadb-admin"}, "-MariaDB", 16, sure(`\x00(\d+\.\d+\.\d+)-MariaDB[-\x00]`), "mariadb", "mariadb:mariadb"},
	{[]string{"memcached"}, "\x00memcached ", 0, sure(`^\x00memcached (\d+\.\d+\.\d+)[\n\x00]`), "memcached", "memcached:memcached"},
	{[]string{"sqlite3", "libsqlite3.so*"}, "\x003.", 0, sure(`^\x00(3\.\d+\.\d+)\x00`), "sqlite", "sqlite:sqlite"},

	// Name and mail servers, directories, shells by network
	{[]string{"named"}, "BIND 9.", 0, sure(`^BIND (9\.\d+\.\d+)`), "bind", "isc:bind"},
	{[]string{"unbound"}, "\x00unbound 1.", 0, sure(`^\x00unbound (1\.\d+\.\d+)\x00`), "unbound", "nlnetlabs:unbound"},
	{[]string{"dnsmasq"}, "\x00dnsmasq-2.", 0, sure(`^\x00dnsmasq-(2\.\d+)\x00`), "dnsmasq", "thekelleys:dnsmasq"},
	{[]string{"slapd"}, "$OpenLDAP: slapd ", 0, sure(`^\$OpenLDAP: slapd (\d+\.\d+\.\d+)`), "openldap", "openldap:openldap"},
	{[]string{"postconf"}, "\x00mail_version=", 0, sure(`^\x00mail_version=(\d+\.\d+\.\d+)\x00`), "postfix", "postfix:postfix"},
	{[]string{"dovecot"}, "Dovecot v", 0, sure(`^Dovecot v(\d+(?:\.\d+)+) \(`), "dovecot", "dovecot:dovecot"},
	{[]string{"proftpd"}, "ProFTPD Version 1.", 0, sure(`^ProFTPD Version (1\.\d+\.\d+[a-z]?)[ \n\x00]`), "proftpd", "proftpd:proftpd"},
	{[]string{"ssh", "sshd", "sshd-session"}, "\x00OpenSSH_", 0, sure(`^\x00OpenSSH_(\d+\.\d+)(p\d+)[ \x00]`), "openssh", "openbsd:openssh"},

	// Tools and libraries
	{[]string{"busybox*"}, "\x00BusyBox v", 0, sure(`^\x00BusyBox v(\d+\.\d+\.\d+)[ \x00]`), "busybox", "busybox:busybox"},
	{[]string{"openssl", "libcrypto*", "libssl*"}, "OpenSSL ", 0, sure(`^OpenSSL (\d+\.\d+\.\d+[a-z]*(?:-(?:alpha|beta|pre)\d+)?)(?:-fips)? +\d{1,2} [A-Z][a-z]{2} \d{4}\x00`), "openssl", "openssl:openssl"},
	{[]string{"curl"}, "\x00curl/", 0, sure(`^\x00curl/(\d+\.\d+\.\d+)\x00`), "curl", "haxx:curl"},
	{[]string{"curl", "libcurl*"}, "\x00libcurl/", 0, sure(`^\x00libcurl/(\d+\.\d+\.\d+)\x00`), "libcurl", "haxx:libcurl"},
	{[]string{"bash", "bash-static"}, "@(#)Bash version ", 0, sure(`^@\(#\)Bash version (\d+\.\d+\.\d+)\(`), "bash", "gnu:bash"},
	{[]string{"git"}, "git/", 1, sure(`git/(\d+\.\d+\.\d+)\x00`), "git", "git-scm:git"},
	{[]string{"ffmpeg"}, "%s version ", 0, sure(`^%s version n?(\d+\.\d+(?:\.\d+)?)(?:[-+][^\x00\n]*)?[\x00\n]`), "ffmpeg", "ffmpeg:ffmpeg"},
	{[]string{"libavcodec*", "libavformat*", "libavutil*"}, "FFmpeg version ", 0, sure(`^FFmpeg version n?(\d+\.\d+(?:\.\d+)?)(?:[-+][^\x00]*)?\x00`), "ffmpeg", "ffmpeg:ffmpeg"},
	{[]string{"libz.so*"}, " inflate 1.", 0, sure(`^ inflate (1\.\d+(?:\.\d+)+) Copyright`), "zlib", "zlib:zlib"},
	{[]string{"libexpat.so*"}, "\x00expat_", 0, sure(`^\x00expat_(\d+\.\d+\.\d+)\x00`), "expat", "libexpat_project:libexpat"},
	{[]string{"libgnutls.so*"}, "Enabled GnuTLS ", 0, sure(`^Enabled GnuTLS (\d+\.\d+\.\d+) logging`), "gnutls", "gnu:gnutls"},
}
