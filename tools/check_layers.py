#!/usr/bin/env python3
"""Fails when a folder under src/ includes, or links, what tools/layers.tsv does not allow it, or
includes a system or library header that tools/system_headers.tsv keeps for other folders.

    tools/check_layers.py [--self-test]
"""
import fnmatch
import os
import re
import sys
import tempfile

import source

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]', re.M)
TEST_NAMES = ("_test.c", "_fuzz.c", "_bench.c", "_rig.c")  # _rig: what several tests share
UNIT_HEADERS = ("unit.h", "guard.h")


def read_layers(root):
    layers, problems = {}, []
    for name, allowed in source.rows(root, "tools/layers.tsv", 2):
        for other in allowed.split():
            if other not in layers:
                problems.append(f"tools/layers.tsv: {name} names {other}, which is not above it")
        layers[name] = set(allowed.split()) | {name}
    return layers, problems


def layer_of(path):
    parts = path.split("/")
    return parts[1] if parts[0] == "src" and len(parts) > 1 else None


def check_include(root, layers, reserved, path, text):
    layer, is_test = layer_of(path), path.endswith(TEST_NAMES)
    if layer not in layers:
        yield f"{path}: tools/layers.tsv has no row for {layer}"
        return
    for match in INCLUDE.finditer(source.blank(text, keep_strings=True)):
        where = f"{path}:{text.count(chr(10), 0, match.start()) + 1}"
        name = match.group(2)
        if match.group(1) == "<":
            for pattern, folders in reserved:
                if fnmatch.fnmatch(name, pattern) and layer not in folders and not is_test:
                    yield f"{where}: <{name}> is kept for {' '.join(folders) or 'nobody'}"
            continue
        if name in UNIT_HEADERS and is_test:
            continue
        folder = name.split("/")[0]
        if "/" not in name or folder not in layers:
            yield f'{where}: "{name}" is not of the form "layer/file.h"'
        elif folder not in layers[layer]:
            yield f"{where}: {layer} may not include {folder}"
        elif not os.path.isfile(os.path.join(root, "src", name)):
            yield f'{where}: there is no "{name}"'


def check_links(layers, path, text):
    """USES of kith_layer() must be a part of what may be included."""
    for call in re.finditer(r"kith_layer\(\s*(\w+)(.*?)\)", re.sub(r"#.*", "", text), re.S):
        name, rest = call.groups()
        if name != layer_of(path):
            yield f"{path}: kith_layer({name}) does not stand in src/{name}"
            continue
        uses = re.search(r"\bUSES\b(.*?)(?:\b(?:SOURCES|LIBS|TESTS|FUZZ)\b|$)", rest, re.S)
        for other in uses.group(1).split() if uses else []:
            if other not in layers.get(name, ()):
                yield f"{path}: {name} may not link {other}"


def check(root):
    layers, problems = read_layers(root)
    reserved = [(p, f.split()) for p, f, _ in source.rows(root, "tools/system_headers.tsv", 3)]
    for path in source.tree_files(root):
        if not path.startswith("src/"):
            continue
        if path.endswith((".c", ".h")):
            problems += check_include(root, layers, reserved, path, source.read(root, path))
        elif path.endswith("CMakeLists.txt"):
            problems += check_links(layers, path, source.read(root, path))
    return problems


def self_test():
    files = {
        "tools/layers.tsv": "# x\nbase\t\nsip\tbase\nos\tbase\nmain.c\tbase sip\n",
        "tools/system_headers.tsv": "sys/socket.h\tos\tsockets are the business of os\n",
        "src/base/a.h": '#include <stddef.h>\n/* #include "sip/s.h" */\n',
        "src/base/bad.c": '#include "base/a.h"\n#include "sip/s.h"\n',
        "src/sip/s.h": '#include "base/a.h"\n  #  include "os/none.h"\n#include "s.h"\n',
        "src/sip/s.c": '#include <sys/socket.h>\n#include "base/none.h"\n#include "unit.h"\n',
        "src/sip/s_test.c": '#include "unit.h"\n#include <sys/socket.h>\n#include "sip/s.h"\n',
        "src/os/o.c": "#include <sys/socket.h>\n",
        "src/os/CMakeLists.txt": "kith_layer(os SOURCES o.c USES base sip LIBS x)\n",
        "src/new/n.c": "",
        "src/main.c": '#include "sip/s.h"\n#include "os/o.h"\n',
    }
    wanted = ["src/base/bad.c:2: base may not include sip",
              "src/main.c:2: main.c may not include os",
              "src/new/n.c: tools/layers.tsv has no row for new",
              "src/os/CMakeLists.txt: os may not link sip",
              "src/sip/s.c:1: <sys/socket.h> is kept for os",
              'src/sip/s.c:2: there is no "base/none.h"',
              'src/sip/s.c:3: "unit.h" is not of the form "layer/file.h"',
              "src/sip/s.h:2: sip may not include os",
              'src/sip/s.h:3: "s.h" is not of the form "layer/file.h"']
    with tempfile.TemporaryDirectory() as root:
        for path, text in files.items():
            os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as f:
                f.write(text)
        got = sorted(check(root))
        if got != wanted:
            sys.exit("self-test failed\n" + "\n".join(sorted(set(got) ^ set(wanted))))
        with open(os.path.join(root, "tools/layers.tsv"), "w", encoding="utf-8") as f:
            f.write("base\tsip\nsip\tbase\n")
        if not any("not above it" in p for p in check(root)):
            sys.exit("self-test failed: a circle of layers was not seen")


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    problems = check(source.ROOT)
    print("\n".join(problems) if problems else "layers: ok")
    return sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
