#!/usr/bin/env python3
"""End-to-end tests: Kith with real phones (baresip, linphone, SIPp), real TLS, real audio.

  tests/e2e/run.py [--kith BINARY] [-k PATTERN] [--list] [--keep] [--jobs N]

One line per test: PASS name, FAIL name: reason, or SKIP name: reason. Each test has a network
namespace and a directory of its own; both are removed at the end, and only processes inside the
namespace are ended. The logs of a failed test stay under build/e2e/NAME. Needs root.
"""
import argparse
import concurrent.futures
import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE))

import cases  # noqa: E402
import net  # noqa: E402
import rig  # noqa: E402

KEPT = ROOT / "build" / "e2e"
# Sockets, and what browsers leave behind.
NOT_KEPT = shutil.ignore_patterns("*.sock", "profile", "*org.chromium.*", "pulse-*")


def find_kith():
    if os.environ.get("KITH"):
        return pathlib.Path(os.environ["KITH"])
    for preset in ("dev", "release", "asan"):
        path = ROOT / "build" / preset / "kith"
        if path.exists():
            return path
    return ROOT / "build" / "dev" / "kith"


def inside(name, directory, kith):
    """Runs one test; we are in its namespace already. The last line is the verdict."""
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(rig.Failure("took too long")))
    r = rig.Rig(directory, kith)
    verdict = "PASS"
    try:
        cases.all_cases()[name].run(r)
    except rig.Skip as why:
        verdict = f"SKIP {why}"
    except rig.Failure as why:
        verdict = f"FAIL {why}"
    except Exception as why:  # a mistake in the test itself must not look like a pass
        traceback.print_exc()
        verdict = f"FAIL {type(why).__name__}: {why}"
    finally:
        r.close()
    trouble = cases.server_trouble(r)
    if verdict == "PASS" and trouble:
        verdict = f"FAIL {trouble}"
    print(" ".join(verdict.split()), flush=True)


class Children:
    """The tests that run, each a process with a directory of its own for whatever it and its phones
    put into a temporary one. When we are told to end they end, and the threads that wait for them
    clean up."""

    def __init__(self):
        self.lock, self.running, self.ended = threading.Lock(), set(), False

    def start(self, command, directory):
        with self.lock:
            if self.ended:
                raise rig.Failure("the run was ended")
            child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                     stdin=subprocess.DEVNULL, text=True,
                                     env={**os.environ, "TMPDIR": directory})
            self.running.add(child)
        return child

    def _end(self):
        with self.lock:
            self.ended = True
            for child in self.running:
                child.terminate()

    @contextlib.contextmanager
    def pool(self, jobs):
        """Threads that wait for children. SIGTERM and Ctrl-C end those; no other one starts."""
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            try:
                yield pool
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                self._end()
                raise


children = Children()


def one(name, args):
    """Namespace, directory, the test as a child process, and everything away again."""
    started = time.monotonic()
    shutil.rmtree(KEPT / name, ignore_errors=True)
    directory = tempfile.mkdtemp(prefix="kith-e2e-")
    try:
        space = net.Namespace(f"kith-{os.getpid()}-{re.sub(r'[^a-z0-9]', '', name)[:20]}")
    except OSError as why:
        shutil.rmtree(directory, ignore_errors=True)
        return name, f"SKIP no network namespace: {why}", 0.0
    try:
        command = space.command([sys.executable, __file__, "--inside", name, "--dir", directory,
                                 "--kith", str(args.kith)])
        child = children.start(command, directory)
        try:
            output, _ = child.communicate(timeout=cases.all_cases()[name].seconds)
        except subprocess.TimeoutExpired:
            child.terminate()
            try:
                output, _ = child.communicate(timeout=15)
            except subprocess.TimeoutExpired:
                child.kill()
                output, _ = child.communicate()
    finally:
        space.remove()
    lines = output.strip().split("\n")
    verdict = lines[-1] if lines[-1][:4] in ("PASS", "FAIL", "SKIP") else "FAIL no verdict: " + \
        " | ".join(lines[-3:])
    if args.keep or verdict.startswith("FAIL"):
        kept = KEPT / name
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(directory, kept, ignore_dangling_symlinks=True, ignore=NOT_KEPT)
        (kept / "test.log").write_text(output)
    shutil.rmtree(directory, ignore_errors=True)
    return name, verdict, time.monotonic() - started


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--kith", type=pathlib.Path, default=None)
    p.add_argument("-k", metavar="PATTERN", default="", help="only tests whose name matches")
    p.add_argument("--list", action="store_true")
    p.add_argument("--keep", action="store_true", help="keep the files of passed tests too")
    p.add_argument("--jobs", type=int, default=4)
    p.add_argument("--inside", help=argparse.SUPPRESS)
    p.add_argument("--dir", help=argparse.SUPPRESS)
    args = p.parse_args()
    args.kith = (args.kith or find_kith()).resolve()
    if args.inside:
        inside(args.inside, args.dir, args.kith)
        return 0
    every = cases.all_cases()  # the long ones first, so that no long one is left over at the end
    names = sorted((n for n in every if re.search(args.k, n)), key=lambda n: -every[n].seconds)
    if args.list:
        for n in names:
            print(f"{n:32} {cases.all_cases()[n].story}")
        return 0
    if os.geteuid() != 0:
        for n in names:
            print(f"SKIP {n}: network namespaces need root")
        return 0
    counts = {"PASS": 0, "FAIL": 0, "SKIP": 0}
    with children.pool(args.jobs) as pool:
        jobs = [pool.submit(one, n, args) for n in names]
        for job in concurrent.futures.as_completed(jobs):
            name, verdict, seconds = job.result()
            word, _, reason = verdict.partition(" ")
            counts[word] += 1
            print(f"{word} {name}" + (f": {reason}" if reason else ""),
                  f"({seconds:.1f} s)" if word == "PASS" else "", flush=True)
    print(f"{counts['PASS']} passed, {counts['FAIL']} failed, {counts['SKIP']} skipped")
    return 1 if counts["FAIL"] else 0


if __name__ == "__main__":
    sys.exit(main())
