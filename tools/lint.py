#!/usr/bin/env python3
"""make lint: clang-tidy (.clang-tidy) and cppcheck (tools/cppcheck.supp) over the whole tree.

    tools/lint.py [FOLDER]...    only files below these
"""
import concurrent.futures
import json
import os
import re
import shutil
import subprocess
import sys

import source

ROOT = source.ROOT
BUILD = os.path.join(ROOT, "build", "dev")
JOBS = os.cpu_count() or 1


def compiled(folders):
    """The files that the debug build compiles, from the root."""
    with open(os.path.join(BUILD, "compile_commands.json"), encoding="utf-8") as f:
        paths = {os.path.relpath(entry["file"], ROOT) for entry in json.load(f)}
    return sorted(p for p in paths if not p.startswith((".", "build/"))
                  and (not folders or p.startswith(tuple(folders))))


def tidy(path):
    run = subprocess.run(["clang-tidy", "-quiet", "-p", BUILD, path], cwd=ROOT,
                         capture_output=True, text=True, check=False)
    output = re.sub(r"^\d+ warnings? (generated|treated as errors)\.?\n", "", run.stdout, flags=re.M)
    if run.returncode and not output.strip():
        output = run.stderr
    return path, output.replace(ROOT + "/", "").strip()


def cppcheck(folders):
    command = ["cppcheck", "--quiet", "--enable=warning,performance,portability", "--inline-suppr",
               "--std=c11", "--error-exitcode=1", f"-j{JOBS}", "--suppressions-list=tools/cppcheck.supp",
               "--project=" + os.path.join(BUILD, "compile_commands.json"),
               *[f"--file-filter={os.path.join(ROOT, f)}/*" for f in folders[:1]]]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return (run.stdout + run.stderr).replace(ROOT + "/", "").strip()


def main():
    folders = [f.rstrip("/") for f in sys.argv[1:]]
    for tool in ("clang-tidy", "cppcheck", "cmake"):
        if not shutil.which(tool):
            sys.exit(f"{tool} is not installed: tools/setup.sh lint")
    subprocess.run(["cmake", "--preset", "dev"], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    paths, bad = compiled(folders), 0
    if not paths:
        sys.exit("lint: no file to look at")
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        for path, output in pool.map(tidy, paths):
            if output:
                bad += 1
                print(output, flush=True)
    output = cppcheck(folders)
    if output:
        bad += 1
        print(output)
    print(f"lint: {len(paths)} files, " + (f"{bad} with warnings" if bad else "no warning"))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
