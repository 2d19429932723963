"""What the checks of the tree share: its files, and C text without comments and strings."""
import os
import re
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def tree_files(root=ROOT):
    """Paths from the root of every file that is, or would be, committed."""
    git = subprocess.run(
        ["git", "-C", root, "ls-files", "-co", "--exclude-standard", "-z"],
        capture_output=True, check=False) if os.path.exists(os.path.join(root, ".git")) else None
    if git and git.returncode == 0:
        paths = [p for p in git.stdout.decode().split("\0") if p]
    else:  # an unpacked archive, or a checkout that git will not look into
        paths = []
        for folder, names, files in os.walk(root):
            names[:] = [n for n in names if n not in ("build", ".git", "__pycache__")]
            paths += [os.path.relpath(os.path.join(folder, f), root) for f in files]
    return sorted(p for p in set(paths) if os.path.isfile(os.path.join(root, p)))


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8", errors="replace") as f:
        return f.read()


def rows(root, path, columns):
    """The lines of a tab-separated table; a line that starts with # is a comment."""
    table = []
    for number, line in enumerate(read(root, path).splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        cells = line.split("\t")
        if len(cells) > columns:
            raise ValueError(f"{path}:{number}: more than {columns} columns")
        table.append([c.strip() for c in cells] + [""] * (columns - len(cells)))
    return table


TOKEN = re.compile(
    r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def blank(text, keep_strings=False):
    """C text with comments (and the inside of literals) made blank; lines stay where they are."""
    def put(match):
        found = match.group()
        if found[0] == "/":
            return re.sub(r"[^\n]", " ", found)
        return found if keep_strings else found[0] + " " * (len(found) - 2) + found[0]
    return TOKEN.sub(put, text)


def functions(text):
    """(name, first line, lines) of each function definition. The tree is clang-formatted, so a
    body ends with a brace at the start of a line."""
    lines = blank(text).split("\n")
    found, start = [], None
    for i, line in enumerate(lines):
        if start is None and line.rstrip().endswith("{") and not line.startswith(("}", "#")):
            head, at = line, i
            while head[:1] in (" ", "\t", "") and at > 0:
                at -= 1
                head = lines[at] + " " + head.strip()
            if head[:1].isalpha() or head[:1] == "_":
                name = re.match(r"[^=;{}]*?(\w+)\s*\((?!\()", re.sub(
                    r"__attribute__\s*\(\(.*?\)\)\s*", "", head))
                if name and "=" not in head.split("(")[0]:
                    start = (name.group(1), at)
        elif start is not None and line.startswith("}"):
            found.append((start[0], start[1] + 1, i - start[1] + 1))
            start = None
    return found
