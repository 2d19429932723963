#!/usr/bin/env python3
"""Makes C source of the built page, so that one program is all there is to install.

  tools/web_files.py web/dist OUT.c

Each file stands in it compressed when that is smaller, and as it is unless that is too large. A file whose name holds its
hash may be kept by browsers for good; those that pages of other origins load are marked too."""
import gzip
import hashlib
import pathlib
import re
import sys

TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8",
         ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml", ".png": "image/png",
         ".ico": "image/x-icon", ".webmanifest": "application/manifest+json",
         ".json": "application/json", ".txt": "text/plain; charset=utf-8", ".woff2": "font/woff2",
         ".mp3": "audio/mpeg", ".ogg": "audio/ogg", ".wav": "audio/wav"}
KEPT = re.compile(r"[.-](?:[0-9a-f]{8,}|[0-9A-Z]{8})\.[a-z0-9]+$")
FILE_MAX = 250_000  # what io lets wait for one connection


def array(name, data):
    rows = [",".join(str(b) for b in data[i:i + 24]) for i in range(0, len(data), 24)]
    return f"static const uint8_t {name}[] = {{\n" + ",\n".join(rows) + "\n};\n"


def text(s):
    return f'{{ "{s}", {len(s)} }}'


def main():
    root, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    arrays, rows = [], []
    files = sorted((p for p in root.rglob("*") if p.is_file()),
                   key=lambda p: ("/" + p.relative_to(root).as_posix()).encode())
    for i, path in enumerate(files):
        name, data = "/" + path.relative_to(root).as_posix(), path.read_bytes()
        if path.suffix not in TYPES:
            sys.exit(f"web_files: {path}: no type is known for {path.suffix!r}")
        small = gzip.compress(data, 9, mtime=0)
        has_small, has_plain = len(small) < len(data), 0 < len(data) <= FILE_MAX
        if min(len(small), len(data)) > FILE_MAX:
            sys.exit(f"web_files: {path}: {len(small)} bytes compressed, more than {FILE_MAX}")
        if has_plain:
            arrays.append(array(f"plain_{i}", data))
        if has_small:
            arrays.append(array(f"gzip_{i}", small))
        etag = 'W/\\"' + hashlib.sha256(data).hexdigest()[:32] + '\\"'
        packed = f"{{ (const char *)gzip_{i}, {len(small)} }}" if has_small else "{ NULL, 0 }"
        plain = f"{{ (const char *)plain_{i}, {len(data)} }}" if has_plain else "{ NULL, 0 }"
        is_open = name == "/kith-call.js" or name.startswith("/embed/")
        rows.append(f"    {{ {text(name)}, {text(TYPES[path.suffix])}, {{ \"{etag}\", 36 }},\n"
                    f"      {plain}, {packed},\n"
                    f"      {'true' if KEPT.search(name) else 'false'}, "
                    f"{'true' if is_open else 'false'} }},\n")
    body = '#include "daemon/web_files.h"\n\n' + "\n".join(arrays)
    if rows:
        body += "\nstatic const struct http_file files[] = {\n" + "".join(rows) + "};\n"
        body += f"const struct http_site web_site = {{ files, {len(rows)} }};\n"
    else:
        body += "\nconst struct http_site web_site = { NULL, 0 };\n"
    if not out.exists() or out.read_text() != body:
        out.write_text(body)


main()
