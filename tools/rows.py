#!/usr/bin/env python3
"""Which rows of the profile does a replay scenario show, and which none?

    tools/rows.py               fail if a row for a server is shown by nothing
    tools/rows.py --list        every row and what shows it
    tools/rows.py --self-test   show that every check can fail

A scenario in tests/replay/ names rows in its head (row: CORE-006, ROUTE-004). Every row with the role
server in AREAS must be named by one, or stand in one of two tables there:

  na.tsv    row, proof, reason. Proof "-": a user agent's duty that no proxy or registrar ever has, or
            a capability that this server does not offer. "deviation": it knowingly does something
            else, and docs/conformance.md names the row. Else the tests, in files that must exist and
            hold them, that show what only the layers with sockets can: file:function, file:function
  open.tsv  row, what is missing. For the time in which it is built; nothing else stands there
"""
import os
import re
import sys
import tempfile

import source

AREAS = ("core", "outbound", "registration", "transport", "ipv6", "overload", "privacy")
OTHER = ("gin",)  # capabilities whose rows another part of the work shows
# The draft of the profile asked this of servers too; what a proxy has of it is shown here.
MORE = ("CORE-011",)
TABLES = "tests/replay/"


def profile(root):
    """(ids of all rows, ids of the rows to be shown)"""
    known, wanted = set(), set(MORE)
    for row in source.rows(root, "profile/out/rows.tsv", 8):
        known.add(row[0])
        if row[1] in AREAS and "server" in row[3].split(",") and row[4] not in OTHER:
            wanted.add(row[0])
    return known, wanted


def scenarios(root, problems):
    """{row: [scenario]}"""
    shown = {}
    for path in source.tree_files(root):
        if not path.startswith(TABLES) or not path.endswith(".replay"):
            continue
        is_head = True
        for number, line in enumerate(source.read(root, path).splitlines(), 1):
            if line.startswith("row:"):
                if not is_head:
                    problems.append(f"{path}:{number}: row: belongs to the head")
                for row in line[4:].split(","):
                    shown.setdefault(row.strip(), []).append(os.path.basename(path))
            elif not re.match(r"title:|rule:|says:|#|$", line):
                is_head = False
    return shown


def is_test(root, path, name):
    """Is `name` a test of that file, and does something run it?"""
    if not re.fullmatch(r"(src|tests|bench)/[\w/.-]+", path) or not re.fullmatch(r"\w+", name) \
            or not os.path.isfile(os.path.join(root, path)):
        return False
    text = source.read(root, path)
    if path.endswith("_test.c"):
        text = source.blank(text)
        return bool(re.search(rf"^static void {name}\(void \*\*\w+\) \{{", text, re.M)) \
            and len(re.findall(rf"\b{name}\b", text)) > 1
    return path.endswith(".py") and bool(re.search(rf"^@test\(.*\)\ndef {name}\(", text, re.M))


def check_na(root, rows, problems):
    conformance = source.read(root, "docs/conformance.md")
    for row, proof, reason in rows:
        if not proof or not reason:
            problems.append(f"na.tsv: {row}: three columns: row, proof or -, reason")
        if proof == "deviation" and not re.search(rf"\b{row}\b", conformance):
            problems.append(f"na.tsv: {row}: docs/conformance.md does not name it")
        for one in [] if proof in ("-", "deviation") else proof.split(","):
            path, _, name = one.strip().rpartition(":")
            if not is_test(root, path, name):
                problems.append(f"na.tsv: {row}: {one.strip()} is no test that is run")


def check(root):
    """(what shows each row, problems)"""
    problems = []
    known, wanted = profile(root)
    shown = scenarios(root, problems)
    na = source.rows(root, TABLES + "na.tsv", 3)
    still = source.rows(root, TABLES + "open.tsv", 2)
    for row, names in sorted(shown.items()):
        if row not in known:
            problems.append(f"{names[0]}: {row} is no row of the profile")
    check_na(root, na, problems)
    how = {row: names for row, names in shown.items() if row in wanted}
    for name, table in (("na.tsv", na), ("open.tsv", still)):
        for row, *rest in table:
            if row not in wanted:
                problems.append(f"{name}: {row} is no row that must be shown")
            elif row in how:
                problems.append(f"{name}: {row} is shown already by {', '.join(how[row])}: "
                                "take it out here")
            elif not all(rest):
                problems.append(f"{name}: {row}: an empty column")
            how.setdefault(row, [name] + rest)
    problems += [f"{row}: no scenario names it, nor na.tsv" for row in sorted(wanted - set(how))]
    return how, problems


def show_list(how):
    for row, what in sorted(how.items()):
        print(f"{row}\t" + (": ".join(what) if what[0].endswith(".tsv") else ", ".join(what)))


def count(how):
    def so_many(name, proof=None):
        return sum(1 for what in how.values() if what[0] == name and proof in (None, what[1]))
    total, na, still = len(how), so_many("na.tsv"), so_many("open.tsv")
    never, knowingly = so_many("na.tsv", "-"), so_many("na.tsv", "deviation")
    return (f"{total} rows for a server: {total - na - still} shown by scenarios, "
            f"{na - never - knowingly} by other tests; {never} never this server's part, "
            f"{knowingly} deviations, {still} still open")


def self_test():
    row = "{}\t{}\tMUST\t{}\t{}\tRFC 1\t1\tText.\n"
    rows = "".join(row.format(*cells) for cells in (
        ("CORE-001", "core", "phone,server", ""), ("CORE-002", "core", "server", ""),
        ("CORE-003", "core", "phone", ""), ("CORE-011", "core", "phone", ""),
        ("REG-009", "registration", "server", "gin"), ("AUTH-001", "auth", "server", "")))
    unit = "static void f(void **state) {\n}\nstatic void g(void **state) {\n}\n{ t(f) /* t(g) */ }\n"
    good = {"profile/out/rows.tsv": rows, "src/a/a_test.c": unit,
            "tests/e2e/cases_a.py": "@test(60)\ndef call(r):\n    pass\n\ndef help(r):\n    pass\n",
            TABLES + "a.replay": "title: a\nrule: b\nsays: c\nrow: CORE-001, AUTH-001\n\nuser a\n",
            TABLES + "na.tsv": "CORE-002\tsrc/a/a_test.c:f, tests/e2e/cases_a.py:call\twhy\n",
            TABLES + "open.tsv": "# row\nCORE-011\tthe rest\n",
            "docs/conformance.md": "we do otherwise (CORE-002)\n"}
    head = good[TABLES + "a.replay"]
    cases = [  # what is changed, and what must be said of it
        ({}, ""),
        ({TABLES + "open.tsv": ""}, "CORE-011: no scenario"),
        ({TABLES + "a.replay": head.replace("AUTH-001", "AUTH-002")}, "AUTH-002 is no row"),
        ({TABLES + "a.replay": head.replace("CORE-001, ", "")}, "CORE-001: no scenario"),
        ({TABLES + "a.replay": head.replace("AUTH-001", "CORE-011")}, "CORE-011 is shown already"),
        ({TABLES + "a.replay": head + "row: CORE-011\n"}, "belongs to the head"),
        ({TABLES + "na.tsv": "CORE-002\tsrc/a/a_test.c:g\twhy\n"}, "a_test.c:g is no test"),
        ({TABLES + "na.tsv": "CORE-002\tsrc/a/b_test.c:f\twhy\n"}, "b_test.c:f is no test"),
        ({TABLES + "na.tsv": "CORE-002\ttests/e2e/cases_a.py:help\twhy\n"}, "help is no test"),
        ({TABLES + "na.tsv": "CORE-002\t-\t\n"}, "three columns"),
        ({TABLES + "na.tsv": "CORE-002\tdeviation\twhy\n"}, ""),
        ({TABLES + "na.tsv": "CORE-002\tdeviation\twhy\n", "docs/conformance.md": ""},
         "conformance.md does not name it"),
        ({TABLES + "na.tsv": "CORE-002\t-\twhy\nCORE-003\t-\twhy\n"}, "CORE-003 is no row that"),
        ({TABLES + "na.tsv": "CORE-002\t-\twhy\nREG-009\t-\twhy\n"}, "REG-009 is no row that"),
        ({TABLES + "open.tsv": "CORE-011\t\n"}, "an empty column")]
    for changes, wanted in cases:
        with tempfile.TemporaryDirectory() as root:
            for path, text in {**good, **changes}.items():
                os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
                with open(os.path.join(root, path), "w", encoding="utf-8") as f:
                    f.write(text)
            _, problems = check(root)
        if (wanted == "") != (not problems) or not any(wanted in p for p in problems or [""]):
            sys.exit(f"self-test failed: wanted \"{wanted}\", got {problems}")


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    how, problems = check(source.ROOT)
    if sys.argv[1:] == ["--list"]:
        show_list(how)
    for problem in problems:
        print(problem)
    print(count(how))
    return sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
