#!/bin/sh
# builds.sh PAGE.scd: does scdoc make a manual page of it, with every heading of it, and no warning?
set -eu
name=manual/$(basename "$1" .scd)-builds
if ! command -v scdoc >/dev/null; then
    echo "SKIP $name: scdoc is not installed"
    exit 0
fi
made=$(mktemp)
trap 'rm -f "$made" "$made.said"' EXIT
scdoc <"$1" >"$made" 2>"$made.said" || { cat "$made.said"; exit 1; }
[ ! -s "$made.said" ] || { cat "$made.said"; exit 1; }
wanted=$(grep -c '^##\? ' "$1")
got=$(grep -c '^\.S[HS] ' "$made")
[ "$wanted" -eq "$got" ] || { echo "$got of $wanted headings"; exit 1; }
echo "PASS $name"
