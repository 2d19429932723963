#!/usr/bin/env python3
"""Lists every citation of an RFC in code and tests, as a table: rfc, section, file, line.

A citation is "RFC 3261 17.1.1.2", "RFC 6026 7.1 and 7.2", "RFC 3261 10.3 step 7" or "RFC 7616"
(whose section is then empty). The list feeds the conformance report: a rule that nobody cites in
the code, or that no test cites, is a gap.

    tools/rfc_index.py [--summary] [--self-test]
"""
import collections
import os
import re
import sys
import tempfile

import source

SECTION = r"(?:[A-Z]\.)?\d+(?:\.\d+)*(?![\w])"
CITATION = re.compile(
    r"RFC[ \n*#]+(\d{3,5})\b(?:[ \n*#]+(?:section[ \n*#]+)?(" + SECTION +
    r"(?:(?:,[ \n*#]+|[ \n*#]+and[ \n*#]+|[ \n*#]+to[ \n*#]+)" + SECTION + r")*))?")
PLACES = ("src/", "tests/", "bench/")


def is_test(path):
    return path.startswith("tests/") or path.endswith(("_test.c", "_fuzz.c"))


def citations(text):
    """(rfc, section, line) of each; one that goes on in the next comment line counts too."""
    for match in CITATION.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        sections = re.findall(SECTION, match.group(2)) if match.group(2) else [""]
        for section in sections:
            # "3261 25.1" behind a comma names another RFC, not a section of this one.
            if not re.fullmatch(r"\d{4,5}", section):
                yield match.group(1), section, line


def index(root):
    found = []
    for path in source.tree_files(root):
        if path.startswith(PLACES) and "/corpus/" not in path and path.endswith(
                (".c", ".h", ".py", ".replay", ".md", ".txt")):
            found += [(rfc, section, path, line)
                      for rfc, section, line in citations(source.read(root, path))]
    return sorted(found, key=lambda row: (int(row[0]), number(row[1]), row[2], row[3]))


def number(section):
    return [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in section.split(".")]


def summary(rows):
    code, tests = collections.Counter(), collections.Counter()
    for rfc, section, path, _ in rows:
        (tests if is_test(path) else code)[(rfc, section)] += 1
    print("rfc\tsection\tin code\tin tests")
    for rfc, section in sorted(code | tests, key=lambda k: (int(k[0]), number(k[1]))):
        print(f"{rfc}\t{section}\t{code[rfc, section]}\t{tests[rfc, section]}")


def self_test():
    text = ("/* RFC 3261 17.1.1.2: because */\n// RFC 6026 7.1 and 7.2\n/* see RFC\n * 4320 4.1. */\n"
            "RFC 7616, RFC 5626 4.2 to 4.4, RFC 3261 A.1; RFC 4566 5th rfc 1 RFC 12\n"
            "RFC 7616 3.4, 3261 25.1.\n")
    wanted = [("3261", "17.1.1.2", 1), ("6026", "7.1", 2), ("6026", "7.2", 2), ("4320", "4.1", 3),
              ("7616", "", 5), ("5626", "4.2", 5), ("5626", "4.4", 5), ("3261", "A.1", 5),
              ("4566", "", 5), ("7616", "3.4", 6)]
    got = list(citations(text))
    if got != wanted:
        sys.exit(f"self-test failed\n{got}\n{wanted}")
    with tempfile.TemporaryDirectory() as root:
        os.makedirs(os.path.join(root, "src/sip"))
        for name in ("a.c", "a_test.c", "a.bin"):
            with open(os.path.join(root, "src/sip", name), "w", encoding="utf-8") as f:
                f.write("\n/* RFC 3261 8.1 */\n")
        if index(root) != [("3261", "8.1", "src/sip/a.c", 2), ("3261", "8.1", "src/sip/a_test.c", 2)]:
            sys.exit(f"self-test failed\n{index(root)}")


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    rows = index(source.ROOT)
    if sys.argv[1:] == ["--summary"]:
        return summary(rows)
    print("rfc\tsection\tfile\tline")
    for row in rows:
        print("\t".join(map(str, row)))
    return None


if __name__ == "__main__":
    main()
