package cataloger

import (
	"bytes"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/pratique/pratique/engine/inventory"
)

// jdkReleaseStart are the lines that such a file begins with.
var jdkReleaseStart = []string{"IMPLEMENTOR=", "JAVA_VERSION=", "JAVA_RUNTIME_VER", "BUILD_TYPE=", "GRAALVM_VERSION="}

// jdkVersion matches the versions that such a file may tell.
var jdkVersion = regexp.MustCompile(`^[0-9]+(\.[0-9]+)*(_[0-9]+)?(-[a-z]+)?$`)

// isJDKRelease: the file "release" at the root of a JDK or JRE, by its content,
// since any program may have that name.
func isJDKRelease(head []byte) bool {
	return slices.ContainsFunc(jdkReleaseStart, func(start string) bool { return bytes.HasPrefix(head, []byte(start)) })
}

// readJDKRelease reads what a Java runtime says of itself.
// https://openjdk.org/jeps/223, and make/ReleaseFile.gmk of the JDK's tree
func readJDKRelease(r io.Reader, out *Result) {
	if path.Base(out.Path) != "release" {
		return
	}
	fields := map[string]string{}
	for in := newLines(r); in.next(); {
		key, value, _ := strings.Cut(in.text, "=")
		switch key {
		case "JAVA_VERSION", "GRAALVM_VERSION", "BUILD_TYPE":
			fields[key] = unquote(strings.TrimSpace(value))
		}
	}
	version := fields["JAVA_VERSION"]
	if !jdkVersion.MatchString(version) {
		out.gap(inventory.Partial, "java-release", "the version of a Java runtime could not be read from its release file")
		return
	}
	name, product := "openjdk", "oracle:openjdk"
	if fields["BUILD_TYPE"] == "commercial" {
		name, product = "java", "oracle:jdk"
	}
	out.add(inventory.Package{Type: inventory.TypeBinary, Name: name, Version: version, CPE: jdkCPE(product, version)})
	if graal := fields["GRAALVM_VERSION"]; jdkVersion.MatchString(graal) {
		out.add(inventory.Package{Type: inventory.TypeBinary, Name: "graalvm", Version: graal})
	}
}

// jdkCPE names a Java runtime as NVD does: up to Java 8 the number behind "_"
// is an update of its own, and OpenJDK has no "1." before it.
func jdkCPE(product, version string) string {
	base, update, old := strings.Cut(version, "_")
	if !old {
		return cpe(product, version)
	}
	if product == "oracle:openjdk" {
		base = strings.TrimSuffix(strings.TrimPrefix(base, "1."), ".0")
	}
	return "cpe:2.3:a:" + product + ":" + base + ":update" + update + ":*:*:*:*:*:*"
}

// cpe makes the CPE name of an application; product is "vendor:product" as
// NVD's dictionary has it, version is of letters, digits, "." and "-".
// https://csrc.nist.gov/pubs/ir/7695/final
func cpe(product, version string) string {
	return "cpe:2.3:a:" + product + ":" + version + ":*:*:*:*:*:*:*"
}
