#!/bin/sh
# Installs from Debian what a set of tools/packages.tsv names, if it is missing; says nothing else.
#   tools/setup.sh run|test|bench|lint
set -eu
cd "$(dirname "$0")/.."
set_name=${1:?"which set? run, test, bench or lint"}

wanted=$(awk -F '\t' -v set="$set_name" \
    '!/^#/ && (" " $1 " ") ~ (" " set " ") { print $2 }' tools/packages.tsv)
if [ -z "$wanted" ]; then
    echo "setup: tools/packages.tsv has no set named $set_name" >&2
    exit 2
fi
if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "setup: this is not Debian. What must be there, by its Debian name:" $wanted >&2
    exit 0
fi

installed() {
    # npm comes with nodejs where that is not Debian's own.
    [ "$1" = npm ] && command -v npm >/dev/null && return
    dpkg-query -W -f '${Status}\n' "$1" 2>/dev/null | grep -q 'ok installed'
}
missing=
for choices in $wanted; do
    for package in $(echo "$choices" | tr '|' ' '); do
        installed "$package" && continue 2
    done
    missing="$missing $choices"
done

# What the page is built and tested with, exactly as web/package-lock.json says. Without it (no network) the
# tests of the page say so.
page() {
    [ "$set_name" = test ] || return 0
    have=web/node_modules/.package-lock.json
    [ ! -e $have ] || [ web/package-lock.json -nt $have ] || return 0
    echo "setup: fetching what web/package-lock.json names"
    npm ci --prefix web --ignore-scripts --no-audit --no-fund >/dev/null 2>&1 </dev/null ||
        echo "setup: npm could not fetch it" >&2
}
if [ -z "$missing" ]; then
    page
    exit 0
fi

as_root=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "setup: needs root to install:$missing" >&2
        exit 1
    fi
    as_root=sudo
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() {
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
        $missing >>"$log" 2>&1 </dev/null
}
$as_root apt-get update -q >"$log" 2>&1 </dev/null || true # an old list is better than none
# Of "a|b" the first that this Debian has.
chosen=
for choices in $missing; do
    for package in $(echo "$choices" | tr '|' ' '); do
        apt-cache show "$package" >/dev/null 2>&1 && break
    done
    chosen="$chosen $package"
done
missing=$chosen
echo "setup: installing$missing"
if ! install; then
    tail -n 30 "$log" >&2
    echo "setup: could not install$missing" >&2
    exit 1
fi
page
