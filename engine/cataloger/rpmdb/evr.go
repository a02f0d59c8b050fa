package rpmdb

import "strings"

// EVR joins the parts of a version as rpm prints them:
// "[epoch:]version[-release]". An empty epoch or release is left out.
func EVR(epoch, version, release string) string {
	if release != "" {
		version += "-" + release
	}
	if epoch == "" {
		return version
	}
	return epoch + ":" + version
}

// SourceName takes the file name of a source package apart:
// "util-linux-2.32.1-42.el8_8.src.rpm" is util-linux, 2.32.1 and 42.el8_8. All
// parts are empty when the name is not of that form.
func SourceName(sourceRPM string) (name, version, release string) {
	rest, ok := strings.CutSuffix(sourceRPM, ".src.rpm")
	if !ok {
		rest, ok = strings.CutSuffix(sourceRPM, ".nosrc.rpm")
	}
	r := strings.LastIndexByte(rest, '-')
	if !ok || r < 0 {
		return "", "", ""
	}
	v := strings.LastIndexByte(rest[:r], '-')
	if v < 1 || v+1 == r || r+1 == len(rest) {
		return "", "", ""
	}
	return rest[:v], rest[v+1 : r], rest[r+1:]
}
