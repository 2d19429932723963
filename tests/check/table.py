#!/usr/bin/env python3
"""Reports of `kith check` side by side, as a Markdown table: requirements passed of those judged.

  tests/check/table.py NAME=REPORT.json[,ANOTHER.json] ...
"""
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
areas = {}
for line in (ROOT / "profile/out/rows.tsv").read_text().splitlines():
    if not line.startswith("#"):
        row, area, level = line.split("\t")[:3]
        areas.setdefault(area, []).append((row, level))
reports = []
for name, _, files in (a.partition("=") for a in sys.argv[1:]):
    rows = {}
    for file in files.split(","):
        rows.update(json.loads(pathlib.Path(file).read_text())["rows"])
    reports.append((name, rows))


def cell(rows, chosen):
    verdicts = [rows[r] for r, _ in chosen if rows.get(r) not in (None, "not-applicable")]
    return f"{verdicts.count('pass')} of {len(verdicts)}" if verdicts else "-"


print("| area | " + " | ".join(name for name, _ in reports) + " |")
print("|---|" + "---|" * len(reports))
for area, chosen in areas.items():
    cells = [cell(rows, chosen) for _, rows in reports]
    if any(c != "-" for c in cells):
        print(f"| {area} | " + " | ".join(cells) + " |")
for level in ("MUST", "SHOULD"):
    chosen = [(r, lv) for rows in areas.values() for r, lv in rows if lv == level]
    print(f"| **all {level}** | " + " | ".join(cell(rows, chosen) for _, rows in reports) + " |")
