#!/usr/bin/env python3
"""Find a perfect hash for the header names of msg.h and print the table that words.c holds.

Run it after a row of SIP_HEADER_TABLE was added; words_test fails until the table fits again."""
import pathlib
import re

here = pathlib.Path(__file__).parent
rows = re.findall(r'^ +X\((\w+), "([^"]+)", ', (here / "msg.h").read_text(), re.M)


def slots(a, b, c):
    out = {}
    for ident, name in rows:
        low = name.lower()
        h = (ord(low[0]) * a + ord(low[-1]) * b + len(low) * c) & 255
        if h in out:
            return None
        out[h] = ident
    return out


for a, b, c in ((a, b, c) for a in range(1, 64) for b in range(1, 64) for c in range(64)):
    found = slots(a, b, c)
    if found:
        print(f"#define HASH_FIRST {a}u\n#define HASH_LAST {b}u\n#define HASH_LEN {c}u")
        print("static const uint8_t name_slots[256] = {")
        for h in sorted(found):
            print(f"    [{h}] = HDR_{found[h]},")
        print("};")
        break
