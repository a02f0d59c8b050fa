# shellcheck shell=bash
# Read by the other scripts: where the tree is, and how they speak.

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

# git refuses to speak about a clone that another user owns; go then stops.
git rev-parse HEAD >/dev/null 2>&1 || export GOFLAGS="${GOFLAGS:-} -buildvcs=false"

say() { printf '%s\n' "$*" >&2; }

# frame prints a heading and lines in a box that is hard to overlook.
frame() {
	local heading=$1
	shift
	say ""
	say "########################################################################"
	say "##  $heading"
	say "##"
	printf '##  %s\n' "$@" >&2
	say "########################################################################"
	say ""
}

# install_tool builds a Go program of a fixed version into bin/tools, in at most
# fifteen minutes.
install_tool() {
	local name=$1 package=$2 version=$3
	local file="$root/bin/tools/$name-$version"
	if [[ ! -x $file ]]; then
		local dir
		dir=$(mktemp -d)
		if ! GOBIN="$dir" GOFLAGS='' timeout 900 go install "$package@$version" >&2; then
			rm -rf "$dir"
			return 1
		fi
		mkdir -p "$root/bin/tools"
		mv "$dir/$name" "$file"
		rm -rf "$dir"
	fi
	printf '%s\n' "$file"
}
