#!/usr/bin/env python3
"""Each MUST of the profile has a test of `kith check`, or stands with its reason in
src/check/untested.tsv.

  tests/check/untested.py [--kith BINARY]

Also fails when a row that is listed there has a test by now, or does not exist, when a fake has a
switch for a test that does not, and prints the figures. One line each: PASS name, FAIL name: reason.
"""
import argparse
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
ROLES = (["server"], ["phone"], ["relay"], ["trunk"], ["trunk", "--listen", "x"], ["browser"])


def table(path, columns):
    rows = [line.split("\t") for line in (ROOT / path).read_text().splitlines()
            if line and not line.startswith("#")]
    short = [r for r in rows if len(r) < columns]
    if short:
        sys.exit(f"FAIL {path}: a line has too few columns: {short[0]}")
    return rows


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--kith", default=ROOT / "build" / "kith")
    kith = p.parse_args().kith
    tested, tests, ids = {}, 0, set()
    for role in ROLES:
        done = subprocess.run([kith, "check", *role, "--list"], capture_output=True, text=True)
        lines = done.stdout.splitlines() if done.returncode == 0 else []
        for line in lines:
            tested.setdefault(line.split("/")[0], set()).add(role[0])
            tests += 1
            ids.add(line.split("\t")[0])
    rows = {r[0]: r for r in table("profile/out/rows.tsv", 8)}
    listed = {r[0]: r[1] for r in table("src/check/untested.tsv", 2)}
    wrong = [f"{r}: a MUST without a test and without a reason" for r in rows
             if rows[r][2] == "MUST" and r not in tested and r not in listed]
    wrong += [f"{r}: is listed as untested and has a test" for r in listed if r in tested]
    wrong += [f"{r}: there is no such requirement" for r in [*listed, *tested] if r not in rows]
    switches = {t for f in (ROOT / "tests" / "check").glob("*.py")
                for t in re.findall(r'"([A-Z0-9]+-\d{3}/[a-z0-9-]+)"', f.read_text())}
    wrong += [f"{t}: a switch in tests/check, and there is no such test" for t in sorted(switches - ids)]
    for w in wrong:
        print(f"FAIL {w}")
    must = [r for r in rows if rows[r][2] == "MUST"]
    print(f"{tests} tests of {len(tested)} requirements; of {len(must)} MUST rows {sum(r in tested for r in must)} "
          f"are tested, {sum(r in listed for r in must)} are listed with a reason")
    if not wrong:
        print("PASS every MUST is tested or listed")
    return 1 if wrong or not tested else 0


if __name__ == "__main__":
    sys.exit(main())
