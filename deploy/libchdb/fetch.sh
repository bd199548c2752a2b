#!/bin/sh
# Installs libchdb, the ClickHouse engine as a shared library, for the embedded default.
#
#   deploy/libchdb/fetch.sh DEST        e.g. deploy/libchdb/fetch.sh .cache/libchdb
#
# The library comes from the npm package @chdb/lib-<os>-<arch>, with the npm client and
# whatever registry that client is set up for. It is checked against a SHA-256 pinned
# below where one is known, and in any case against the registry's own integrity field by
# npm. Only libchdb.so is kept; nothing of the package is run. When the right library is
# there already, nothing happens.
#
# Python's chdb-core wheel is no second source: its library is an extension module that
# needs a Python process around it and does not export the C interface.
#
# Exit codes: 0 there; 2 wrong usage; 3 no package for this platform; 4 a needed program
# is missing; 5 the download failed; 6 the hash is wrong.
set -eu

version=26.5.3

say() { echo "libchdb: $*" >&2; }
die() { code=$1; shift; say "$*"; exit "$code"; }

[ $# -eq 1 ] || die 2 "usage: $0 DEST"
dest=$1

# platform PACKAGE SHA256: which package serves this machine. A dash says that the hash
# has not been pinned: then npm's integrity check stands alone.
case "${LIBCHDB_PLATFORM:-$(uname -s)-$(uname -m)}" in
Linux-x86_64)
	package=@chdb/lib-linux-x64-gnu
	pinned=4330da79405733f7572f27c1442f46c03a08301f00859dce0368645731b1e1dc ;;
Linux-aarch64 | Linux-arm64)
	package=@chdb/lib-linux-arm64-gnu pinned=- ;;
Darwin-arm64)
	package=@chdb/lib-darwin-arm64 pinned=- ;;
Darwin-x86_64)
	package=@chdb/lib-darwin-x64 pinned=- ;;
*)
	die 3 "there is no build of libchdb for $(uname -s) on $(uname -m)" ;;
esac

if command -v sha256sum >/dev/null 2>&1; then
	hash_of() { sha256sum "$1" | cut -d' ' -f1; }
elif command -v shasum >/dev/null 2>&1; then
	hash_of() { shasum -a 256 "$1" | cut -d' ' -f1; }
else
	die 4 "needs sha256sum or shasum to check the library"
fi

# The record beside the library holds the version and the hash it had when it was put there.
record=$dest/libchdb.version
if [ -f "$dest/libchdb.so" ] && [ -f "$record" ]; then
	have=$(hash_of "$dest/libchdb.so")
	if [ "$(cat "$record")" = "$version $have" ] && { [ "$pinned" = - ] || [ "$pinned" = "$have" ]; }; then
		say "version $version is in $dest already"
		exit 0
	fi
	say "the library in $dest is not version $version as it was installed; installing it again"
fi

command -v npm >/dev/null 2>&1 || die 4 "needs the npm client (install Node.js) to fetch $package@$version; or set ESTOP_LIBCHDB to a libchdb.so of your own"
command -v tar >/dev/null 2>&1 || die 4 "needs tar to unpack the package"

mkdir -p "$dest"
work=$(mktemp -d "$dest/.fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

say "fetching $package@$version (about 170 MB)"
(cd "$work" && npm pack --loglevel=error --ignore-scripts "$package@$version" >name 2>npm.log) || {
	cat "$work/npm.log" >&2
	die 5 "npm could not fetch $package@$version"
}
tarball=$work/$(tail -n 1 "$work/name")
[ -f "$tarball" ] || die 5 "npm reported no package file for $package@$version"

tar -xzf "$tarball" -C "$work" package/libchdb.so || die 5 "the package $package@$version holds no libchdb.so"
rm -f "$tarball"

got=$(hash_of "$work/package/libchdb.so")
if [ "$pinned" = - ]; then
	say "no hash is pinned for this platform: checked by npm's integrity field alone (sha256 $got)"
elif [ "$got" != "$pinned" ]; then
	die 6 "libchdb.so of $package@$version has sha256 $got, want $pinned; nothing was installed"
fi

# The record goes first and the library last, each by rename: an install that is cut short
# leaves either the old library or the new one, and a record that does not match is
# installed again.
chmod 0755 "$work/package/libchdb.so"
echo "$version $got" >"$work/record"
mv -f "$work/record" "$record"
mv -f "$work/package/libchdb.so" "$dest/libchdb.so"
say "version $version is in $dest"
