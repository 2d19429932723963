#!/usr/bin/env python3
"""make lint: clang-tidy (.clang-tidy) and cppcheck (tools/cppcheck.supp) over the whole tree.

    tools/lint.py [FOLDER]...    only files below these
    tools/lint.py --slow         and tell which files took longest

What a file was found to be is remembered in build/lint, under a hash of all that decides it: the
file, every file of ours that it includes, its compiler flags, .clang-tidy and clang-tidy itself.
So a second run looks only at what has changed.
"""
import concurrent.futures
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time

import source

ROOT = source.ROOT
BUILD = os.path.join(ROOT, "build", "dev")
LINT = os.path.join(ROOT, "build", "lint")
JOBS = os.cpu_count() or 1
IS_TEST = re.compile(r"^tests/|_(test|rig|fuzz)\.c$")
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', re.M)


def compiled(folders):
    """{path: entry} of what the debug build compiles, each file once: a test's helper is compiled
    for every test, and clang-tidy would look at it as often."""
    with open(os.path.join(BUILD, "compile_commands.json"), encoding="utf-8") as f:
        entries = {os.path.relpath(e["file"], ROOT): e for e in json.load(f)}
    entries = {p: e for p, e in entries.items() if not p.startswith((".", "build/"))}
    os.makedirs(LINT, exist_ok=True)
    with open(os.path.join(LINT, "compile_commands.json"), "w", encoding="utf-8") as f:
        json.dump(list(entries.values()), f, indent=1)
    return {p: e for p, e in sorted(entries.items())
            if not folders or p.startswith(tuple(folders))}


def closure(path, command, seen):
    """`path` and the files of the tree that it includes, into `seen`."""
    if path in seen:
        return
    with open(path, encoding="utf-8", errors="replace") as f:
        text = seen[path] = f.read()
    folders = [os.path.dirname(path), *re.findall(r"-I ?(\S+)", command)]
    for name in INCLUDE.findall(text):
        for folder in folders:
            there = os.path.normpath(os.path.join(folder, name))
            if os.path.isfile(there):
                closure(there, command, seen)
                break


def key_of(entry, common):
    seen = {}
    closure(entry["file"], entry["command"], seen)
    h = hashlib.sha256(common)
    h.update(re.sub(r"-o \S+", "", entry["command"]).encode())
    for path in sorted(seen):
        h.update(f"\n{path}\n{seen[path]}".encode())
    return h.hexdigest()[:32]


def tidy(path, entry, common):
    """(path, what clang-tidy says, seconds)"""
    note = os.path.join(LINT, "tidy", key_of(entry, common))
    if os.path.exists(note):
        with open(note, encoding="utf-8") as f:
            return path, f.read(), 0
    begun = time.monotonic()
    # What a test does wrong shows when it runs, under the sanitizers; the analyzer would spend half
    # of its time in them.
    spare = ["-checks=-clang-analyzer-*"] if IS_TEST.search(path) else []
    run = subprocess.run(["clang-tidy", "-quiet", *spare, "-p", LINT, path], cwd=ROOT,
                         capture_output=True, text=True, check=False)
    output = re.sub(r"^\d+ warnings? (generated|treated as errors)\.?\n", "", run.stdout, flags=re.M)
    if run.returncode and not output.strip():
        return path, run.stderr.strip() or f"{path}: clang-tidy ended with {run.returncode}", 0
    output = output.replace(ROOT + "/", "").strip()
    with open(note + ".new", "w", encoding="utf-8") as f:
        f.write(output)
    os.replace(note + ".new", note)
    return path, output, time.monotonic() - begun


def cppcheck(folders):
    """It keeps notes of its own, by the hash of what it reads."""
    notes = os.path.join(LINT, "cppcheck")
    os.makedirs(notes, exist_ok=True)
    command = ["cppcheck", "--quiet", "--enable=warning,performance,portability", "--inline-suppr",
               "--std=c11", "--error-exitcode=1", f"-j{JOBS}", "--suppressions-list=tools/cppcheck.supp",
               f"--cppcheck-build-dir={notes}",
               "--project=" + os.path.join(LINT, "compile_commands.json"),
               *[f"--file-filter={os.path.join(ROOT, f)}/*" for f in folders[:1]]]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    output = (run.stdout + run.stderr).replace(ROOT + "/", "").strip()
    return output or (f"cppcheck ended with {run.returncode}" if run.returncode else "")


def main():
    slow = "--slow" in sys.argv[1:]
    folders = [f.rstrip("/") for f in sys.argv[1:] if f != "--slow"]
    for tool in ("clang-tidy", "cppcheck", "cmake"):
        if not shutil.which(tool):
            sys.exit(f"{tool} is not installed: tools/setup.sh lint")
    subprocess.run(["cmake", "--preset", "dev"], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    entries, bad, times = compiled(folders), 0, []
    if not entries:
        sys.exit("lint: no file to look at")
    os.makedirs(os.path.join(LINT, "tidy"), exist_ok=True)
    version = subprocess.run(["clang-tidy", "--version"], capture_output=True, check=True).stdout
    common = version + source.read(ROOT, ".clang-tidy").encode()
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        jobs = [pool.submit(tidy, path, entry, common) for path, entry in entries.items()]
        for job in concurrent.futures.as_completed(jobs):
            path, output, seconds = job.result()
            times.append((seconds, path))
            if output:
                bad += 1
                print(output, flush=True)
    begun = time.monotonic()
    output = cppcheck(folders)
    if output:
        bad += 1
        print(output)
    if slow:
        for seconds, path in sorted(times, reverse=True)[:20]:
            print(f"{seconds:8.1f} s  {path}")
        print(f"{time.monotonic() - begun:8.1f} s  cppcheck")
    print(f"lint: {len(entries)} files, " + (f"{bad} with warnings" if bad else "no warning"))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
