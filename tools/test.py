#!/usr/bin/env python3
"""make test: runs every test of the tree, in stages, and counts them.

  checks  the scripts of tools/ on themselves and on the tree
  release the build that people run (gcc), and every test of it but counterparts
  dev     the debug build and every test of it: for working, only when asked for
  asan    the tests under AddressSanitizer and UBSan (clang), but what needs the real binary
  oom     the unit tests of that build again, with each allocation failing once
  fuzz    every fuzzer of that build for a few seconds, from the corpus in the tree
  tsan    tests with the label "threads" under ThreadSanitizer
  counterparts  tests/check/run.py: the tester against right and wrong counterparts
  e2e     tests/e2e/run.py: real phones against the release build; tests/nat/natlab.py: some
          cells of the NAT laboratory
  web     the page's own tests, and the page in real browsers

The last three wait more than they compute: they run, one after another, beside the others, which
yield to them (LANES), so that neither a core stands idle nor a phone waits for a compiler.

Each test function of a cmocka program counts as one; so does each PASS, FAIL and SKIP line of a
program that prints such lines; any other program counts as one. A skip must have a row in
tests/skips.txt, else it counts as a failure. The last line is "N passed, N failed, N skipped".

  tools/test.py [--only STAGE]... [--quick] [--seconds N] [--oom-seconds N] [--match TEXT]
    --quick      checks and dev only
    --seconds    how long each fuzzer runs (4)
    --oom-seconds  how long each program walks its allocations (5)
    --match      only test programs and fuzzers whose name holds TEXT
"""
import argparse
import concurrent.futures
import contextlib
import fnmatch
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import source

ROOT = source.ROOT
JOBS = min(os.cpu_count() or 1, 8)
OUTPUT_LINES = 60  # of a failure that are shown; all of it is in build/test/
OOM_LEAST = 1000  # failed allocations that the whole stage oom must have brought about
YIELD = 5  # how nice what computes is to what waits for the clock
PATIENCE = 3  # who yields may take so many times as long
GRACE = 30  # seconds from SIGTERM to SIGKILL
LABELLED = ("replay", "torture", "sim", "check")  # tests/<folder> must bring tests with this label


def say(text):
    sys.stdout.write(text + "\n")  # one write: lanes and pools talk at once
    sys.stdout.flush()


class Results:
    """Counts, and remembers what must be said at the end."""

    def __init__(self, skip_rows):
        self.passed, self.failed, self.skipped, self.skip_rows = 0, [], [], skip_rows
        self.seconds = []

    def add_pass(self, count=1):
        self.passed += count

    def add_fail(self, name, output=""):
        self.failed.append(name)
        lines = output.rstrip().splitlines()
        if len(lines) > OUTPUT_LINES:
            lines = [f"... {len(lines) - OUTPUT_LINES} lines before this", *lines[-OUTPUT_LINES:]]
        say("\n    ".join([f"FAIL {name}", *lines]))  # in one go: others print too

    def add_skip(self, name, reason):
        if any(fnmatch.fnmatchcase(name, pattern) for pattern, _ in self.skip_rows):
            self.skipped.append((name, reason))
            say(f"SKIP {name}: {reason or 'no reason given'}")
        else:
            self.add_fail(name, f"skipped ({reason or 'no reason given'}) without a row in "
                          "tests/skips.txt")

    def add_time(self, name, seconds):
        self.seconds.append((seconds, name))

    def slowest(self, count):
        return sorted(self.seconds, reverse=True)[:count]

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.seconds += other.seconds

    def last_line(self):
        return f"{self.passed} passed, {len(self.failed)} failed, {len(self.skipped)} skipped"


RUNNING = set()  # what an interrupted run must end: each has a session of its own


def step_back(pid):
    """Linux may share the cores among sessions first (autogroup), then among processes."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PGRP, pid, YIELD)
    with contextlib.suppress(OSError), open(f"/proc/{pid}/autogroup", "w", encoding="ascii") as f:
        f.write(str(YIELD))


def run(command, timeout, env=None, cwd=ROOT, on_line=None, yields=True, grace=GRACE):
    """(exit code or None when it took too long, output). Ends all that the command started, after
    `grace` seconds by force. Each line is also given to on_line as it comes."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, cwd=cwd, start_new_session=True,
                               env={**os.environ, **(env or {})})
    RUNNING.add(process)
    if yields:
        step_back(process.pid)
    late = threading.Event()

    def end(how):
        late.set()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, how)

    clocks = [threading.Timer(timeout, end, [signal.SIGTERM]),  # it may have namespaces to remove
              threading.Timer(timeout + grace, end, [signal.SIGKILL])]
    for clock in clocks:
        clock.start()
    lines = []
    try:
        for line in process.stdout:
            lines.append(line.decode("utf-8", "replace"))
            if on_line:
                on_line(lines[-1])
        process.wait()
    finally:
        for clock in clocks:
            clock.cancel()
        RUNNING.discard(process)
    return None if late.is_set() else process.returncode, "".join(lines)


def keep(stage, name, output):
    folder = os.path.join(ROOT, "build", "test", stage)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, re.sub(r"[^\w.-]", "_", name) + ".log"), "w",
              encoding="utf-8") as f:
        f.write(output)


def how_it_ended(code):
    if code is None:
        return "took too long"
    return f"ended with {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def count_cmocka(results, name, code, output):
    """Counts from the lines of cmocka; False when there are none."""
    ran = re.findall(r"^\[ RUN      \] (\S+)", output, re.M)
    if not ran:
        return False
    def marked(word):
        found = re.findall(rf"^\[ +{word} +\] (\S+)(.*)", output, re.M)
        return {test for test, rest in found if not rest.startswith(" test(s)")}
    failed, skipped = marked("FAILED"), marked("SKIPPED")
    ended = {t for t in re.findall(r"^\[       OK \] (\S+)", output, re.M)} | failed | skipped
    for test in ran:
        if test in skipped and test not in failed:
            results.add_skip(f"{name}/{test}", "")
        elif test not in failed and test in ended:
            results.add_pass()
    lost = [test for test in ran if test not in ended]
    if failed:
        results.add_fail(f"{name}/{sorted(failed)[0]}", output)
        for test in sorted(failed)[1:]:
            results.add_fail(f"{name}/{test}", "(see above)")
    if lost or (code != 0 and not failed):
        results.add_fail(f"{name}/{lost[0] if lost else 'end'}",
                         output + f"\n{how_it_ended(code)}")
    return True


def count_lines(results, name, code, output):
    """Counts PASS, FAIL and SKIP lines; False when there are none."""
    found = re.findall(r"^(PASS|FAIL|SKIP) (.+)$", output, re.M)
    if not found:
        return False
    failed = False
    for word, rest in found:
        test, _, reason = rest.partition(": ")
        full = name if len(found) == 1 else f"{name}/{test}"
        if word == "PASS":
            results.add_pass()
        elif word == "SKIP":
            results.add_skip(full, reason)
        else:
            failed = True
            results.add_fail(full, output if len(found) == 1 else reason)
    if code != 0 and not failed:
        results.add_fail(f"{name}/end", output + f"\n{how_it_ended(code)}")
    return True


def count(results, name, code, output, is_replay=False):
    if is_replay:
        ran = re.search(r"^(\d+) inputs from (\d+) files ran$", output, re.M)
        if code == 0 and (not ran or int(ran.group(1)) == 0):
            results.add_fail(name, output + "\nno input ran")
            return
    elif count_cmocka(results, name, code, output) or count_lines(results, name, code, output):
        return
    if code == 0:
        results.add_pass()
    else:
        results.add_fail(name, output + f"\n{how_it_ended(code)}")


BUILDING = {}  # preset: (lock, {targets: was it built})


def build(results, preset, targets=()):
    """Once in a run, whichever stage asks first; the others wait for it."""
    lock, known = BUILDING.setdefault(preset, (threading.Lock(), {}))
    targets = tuple(targets)
    with lock:
        if known.get(()) or known.get(targets):
            return True
        if targets in known:
            results.add_fail(f"{preset} build", "(see above)")
            return False
        known[targets] = build_now(results, preset, targets)
        return known[targets]


def build_now(results, preset, targets):
    began = time.monotonic()
    commands = [["cmake", "--preset", preset]]
    commands.append(["cmake", "--build", "--preset", preset, "-j", str(JOBS)]
                    + (["--target", *targets] if targets else []) + ["--", "-k", "0"])
    for command in commands:
        code, output = run(command, 1200 * PATIENCE)
        keep(preset, "build", output)
        if code != 0:
            output = re.sub(r"^(\[\d+/\d+\] |/\S+ -D|: && /).*\n", "", output, flags=re.M)
            results.add_fail(f"{preset} build", output + f"\n{how_it_ended(code)}")
            return False
    say(f"  {preset} built in {time.monotonic() - began:.0f} s")
    return True


def ctest_list(preset):
    """What CTest knows of a build, as a list of dicts."""
    code, output = run(["ctest", "--test-dir", f"build/{preset}", "--show-only=json-v1"], 60)
    if code != 0:
        raise RuntimeError(f"ctest: {output}")
    tests = []
    for test in json.loads(output[output.index("{"):])["tests"]:
        properties = {p["name"]: p["value"] for p in test.get("properties", [])}
        tests.append({
            "name": test["name"], "command": test.get("command"),
            "labels": properties.get("LABELS", []),
            "timeout": float(properties.get("TIMEOUT", 300)),
            "cwd": properties.get("WORKING_DIRECTORY", ROOT),
            "serial": bool(properties.get("RUN_SERIAL", False)),
            "skip_code": properties.get("SKIP_RETURN_CODE"),
            "disabled": bool(properties.get("DISABLED", False)),
            "env": dict(v.split("=", 1) for v in properties.get("ENVIRONMENT", []))})
    return tests


def waits(test):
    """The tester's counterparts: minutes of waiting, seconds of computing."""
    return "check" in test["labels"] and test["timeout"] > 300


def run_one(test, more_env):
    if not test["command"]:
        return 127, "the program was not built", 0.0
    began = time.monotonic()
    yields = not waits(test)
    code, output = run(test["command"], test["timeout"] * (PATIENCE if yields else 1),
                       {**more_env, **test["env"]}, test["cwd"], yields=yields)
    return code, output, time.monotonic() - began


def run_all(results, stage, tests, more_env):
    """Programs side by side, one per core, but the serial ones alone and last. What only waits
    comes first and takes no core from the others."""
    def report(test, code, output, seconds):
        before = (results.passed, len(results.failed), len(results.skipped))
        keep(stage, test["name"], output)
        if test["disabled"]:
            results.add_skip(test["name"], "disabled in CMake")
        elif test["skip_code"] is not None and code == int(test["skip_code"]):
            last = output.strip().splitlines()
            results.add_skip(test["name"], last[-1] if last else "")
        else:
            count(results, test["name"], code, output, "fuzz" in test["labels"])
        results.add_time(f"{stage}: {test['name']}", seconds)
        ok = results.passed - before[0]
        bad = len(results.failed) - before[1]
        say(f"  {stage}: {test['name']}: {ok} ok{f', {bad} FAILED' if bad else ''} "
              f"({seconds:.1f} s)")
    # Long ones first; among equals the upper layers, which have most to do.
    tests = sorted(reversed(tests), key=lambda t: -t["timeout"])
    with concurrent.futures.ThreadPoolExecutor(JOBS + sum(map(waits, tests))) as pool:
        waiting = {pool.submit(run_one, t, more_env): t for t in tests if not t["serial"]}
        for done in concurrent.futures.as_completed(waiting):
            report(waiting[done], *done.result())
    for test in tests:
        if test["serial"]:
            report(test, *run_one(test, more_env))


SANITIZER_ENV = {"ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1",
                 "UBSAN_OPTIONS": "print_stacktrace=1",
                 "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1"}


def check_complete(results, tests):
    """What stands in the tree must be run: a test nobody builds would pass for ever."""
    names = {t["name"]: t for t in tests}
    files = source.tree_files(ROOT)
    for path in files:
        found = re.fullmatch(r"(?:src|tests)/(?:.*/)?(\w+_(?:test|fuzz))\.c", path)
        if not found:
            continue
        name = found.group(1)
        if name not in names:
            results.add_fail(f"tree/{name}", f"{path} is not built as a test")
        elif "<pthread.h>" in source.read(ROOT, path) and "threads" not in names[name]["labels"]:
            results.add_fail(f"tree/{name}", f"{path} has threads but not the label \"threads\"")
        else:
            results.add_pass()
    for folder in LABELLED:
        if any(p.startswith(f"tests/{folder}/") for p in files):
            if any(folder in t["labels"] for t in tests):
                results.add_pass()
            else:
                results.add_fail(f"tree/{folder}", f"tests/{folder} brings no test of that label")


def matching(tests, options):
    return [t for t in tests if options.match in t["name"]]


def stage_checks(results, options):
    python = sys.executable
    steps = [(f"{tool} --self-test", [python, f"tools/{tool}.py", "--self-test"])
             for tool in ("check_layers", "check_style", "rfc_index", "profile", "rows", "test")]
    steps += [("check_layers", [python, "tools/check_layers.py"]),
              ("check_style", [python, "tools/check_style.py"]),
              ("rfc_index", [python, "tools/rfc_index.py"]),
              ("profile", [python, "tools/profile.py", "--check"]),
              ("rows", [python, "tools/rows.py"])]
    for name, command in steps:
        if options.match not in name:
            continue
        code, output = run(command, 120 * PATIENCE)
        keep("checks", name, output)
        if code == 0 and (name != "rfc_index" or output.count("\n") > 10):
            results.add_pass()
            say(f"  checks: {name}: ok")
        else:
            results.add_fail(f"checks/{name}", output)
    for path in source.tree_files(ROOT):
        if path.endswith(".py"):
            try:
                compile(source.read(ROOT, path), path, "exec")
            except SyntaxError as error:
                results.add_fail(f"checks/{path}", str(error))


def every_test(results, options, preset, but=lambda test: False):
    if build(results, preset):
        tests = ctest_list(preset)
        if not options.match:
            check_complete(results, tests)
        run_all(results, preset, [t for t in matching(tests, options) if not but(t)], {})


def stage_dev(results, options):
    every_test(results, options, "dev")


def stage_release(results, options):
    every_test(results, options, "release", but=waits)


def stage_counterparts(results, options):
    if build(results, "release"):
        tests = [t for t in ctest_list("release") if waits(t)]
        if not tests:
            results.add_fail("counterparts", "CTest knows no such test")
        run_all(results, "release", matching(tests, options), {})


def build_asan(results):
    # As Debian's compiler runtime may be missing, say so plainly before the build fails.
    if shutil.which("clang"):
        return build(results, "asan")
    results.add_fail("asan build", "clang is not installed: tools/setup.sh test")
    return False


def stage_asan(results, options):
    if build_asan(results):
        tests = [t for t in matching(ctest_list("asan"), options) if "fuzz" not in t["labels"]]
        run_all(results, "asan", tests, SANITIZER_ENV)


def stage_oom(results, options):
    """tests/unit/unit_oom.c walks; here the programs are chosen and their walks added up."""
    # What runs the kith binary is left out: the walk would be in the test, not in what it tests.
    if not build_asan(results):
        return
    tests = [t for t in matching(ctest_list("asan"), options)
             if t["command"] and "unit" in t["labels"] and "/cli/" not in t["command"][0]]
    for test in tests:
        test["timeout"] = 60 * options.oom_seconds
    run_all(results, "oom", tests, {**SANITIZER_ENV, "KITH_OOM": str(options.oom_seconds)})
    failures = 0
    for test in tests:
        log = os.path.join(ROOT, "build", "test", "oom", test["name"] + ".log")
        if os.path.isfile(log):
            found = re.findall(r" (\d+) allocations failed", source.read("/", log))
            failures += int(found[-1]) if found else 0
    say(f"  oom: {failures} failed allocations survived")
    if not options.match and failures < OOM_LEAST:
        results.add_fail("oom", f"only {failures} allocations failed: the walk does not walk")


def stage_tsan(results, options):
    code, output = run(["cmake", "--preset", "tsan"], 300)
    if code != 0:
        results.add_fail("tsan build", output)
        return
    def threaded():
        return [t for t in matching(ctest_list("tsan"), options) if "threads" in t["labels"]]
    if not threaded():
        if not options.match and os.path.isdir(os.path.join(ROOT, "src/os")):
            results.add_fail("tsan", "no test has the label \"threads\"")
        return
    # A test's name is its target's. Others (scripts) have none and need the whole build.
    targets = [t["name"] for t in threaded()]
    code, known = run(["ninja", "-C", "build/tsan", "-t", "targets", "all"], 60)
    if any(f"\n{name}: phony" not in known for name in targets):
        targets = []
    if build(results, "tsan", targets):
        run_all(results, "tsan", threaded(), SANITIZER_ENV)


def run_fuzzer(test, seconds):
    program, corpus = test["command"][0], test["command"][-1]
    name = test["name"]
    seeds = os.listdir(corpus) if os.path.isdir(corpus) else []
    if not seeds:
        return 1, f"{corpus}: no corpus", 0.0
    grown = os.path.join(ROOT, "build", "asan", "grown", name)
    os.makedirs(grown, exist_ok=True)
    command = [program, f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=2048",
               "-print_final_stats=1", f"-artifact_prefix={grown}-crash-"]
    words = os.path.join(os.path.dirname(os.path.dirname(corpus)), name + ".dict")
    if os.path.isfile(words):
        command.append(f"-dict={words}")
    began = time.monotonic()
    code, output = run([*command, grown, corpus], seconds + 120 * PATIENCE, SANITIZER_ENV)
    ran = re.search(r"^stat::number_of_executed_units: *(\d+)", output, re.M)
    if code == 0 and (not ran or int(ran.group(1)) < len(seeds)):
        code, output = 1, output + "\nfewer inputs ran than the corpus has"
    return code, output, time.monotonic() - began


def stage_fuzz(results, options):
    if not build_asan(results):
        return
    tests = [t for t in matching(ctest_list("asan"), options) if "fuzz" in t["labels"]]
    if not tests and not options.match:
        results.add_fail("fuzz", "there is no fuzzer")
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        waiting = {pool.submit(run_fuzzer, t, options.seconds): t for t in tests}
        for done in concurrent.futures.as_completed(waiting):
            name, (code, output, seconds) = waiting[done]["name"], done.result()
            keep("fuzz", name, output)
            ran = re.search(r"^stat::number_of_executed_units: *(\d+)", output, re.M)
            if code == 0:
                results.add_pass()
                say(f"  fuzz: {name}: {ran.group(1)} inputs ({seconds:.0f} s)")
            else:
                results.add_fail(f"fuzz/{name}", output + f"\n{how_it_ended(code)}")


def stage_e2e(results, options):
    files = [p for p in source.tree_files(ROOT) if p.startswith("tests/e2e/")]
    if not files:
        return
    if "tests/e2e/run.py" not in files:
        results.add_fail("e2e", "tests/e2e holds files but no run.py")
        return
    if not build(results, "release"):
        return
    match = ["-k", options.match] if options.match else []
    def show(line):
        if line.startswith(("PASS ", "FAIL ")):
            say("  e2e: " + line.rstrip())
    def go(name, *more):
        return name, run([sys.executable, "-u", f"tests/{name}.py", *more, *match],
                         options.e2e_seconds,
                         {"KITH": os.path.join(ROOT, "build", "release", "kith")}, on_line=show,
                         yields=False)
    with concurrent.futures.ThreadPoolExecutor() as pool:  # both wait more than they compute
        jobs = [pool.submit(go, "e2e/run"), pool.submit(go, "nat/natlab", "--few")]
        silent = []
        for name, (code, output) in (job.result() for job in jobs):
            keep("e2e", os.path.basename(name), output)
            if not count_lines(results, "e2e", code, output):
                silent.append((name, f"{output}\n{how_it_ended(code)}: no PASS, FAIL or SKIP line"))
        if silent and (not options.match or len(silent) == len(jobs)):
            results.add_fail(*silent[0])


def stage_web(results, options):
    """web/dist is committed, so that building Kith needs no npm; here it is made again."""
    modules = os.path.join(ROOT, "web", "node_modules")
    if not shutil.which("node") or not os.path.isdir(modules):
        results.add_skip("web", "npm could not fetch what web/package-lock.json names")
        return
    out = os.path.join(ROOT, "build", "web-tests")
    web = os.path.join(ROOT, "web")
    for name, command in (("types", ["node_modules/.bin/tsc", "--noEmit"]),
                          ("dist", ["node", "build.mjs", "--compare"]),
                          ("unit", ["node", "build.mjs", "--tests"])):
        code, output = run(command, 120 * PATIENCE, cwd=web)
        keep("web", name, output)
        if code == 0:
            results.add_pass()
        else:
            results.add_fail(f"web/{name}", output)
            return
    files = sorted(os.path.join(out, f) for f in os.listdir(out) if f.endswith(".mjs"))
    code, output = run(["node", "--test", "--test-reporter=tap", *files], 120 * PATIENCE,
                       cwd=web)
    keep("web", "unit", output)
    passed = re.search(r"^# pass (\d+)$", output, re.M)
    if code == 0 and passed and int(passed.group(1)) > 0:
        results.add_pass(int(passed.group(1)))
    else:
        results.add_fail("web/unit", output)
    if not build(results, "release", ("kith",)):
        return
    def show(line):
        if line.startswith(("PASS ", "FAIL ")):
            say("  web: " + line.rstrip())
    code, output = run(["node", "tests/web/run.mjs", "--kith", "build/release/kith",
                        *(["-k", options.match] if options.match else [])], 900, on_line=show,
                       yields=False)
    keep("web", "browser", output)
    if not count_lines(results, "web", code, output):
        results.add_fail("web", output + f"\n{how_it_ended(code)}: no PASS or FAIL line")


STAGES = {"checks": stage_checks, "dev": stage_dev, "release": stage_release, "asan": stage_asan,
          "oom": stage_oom, "fuzz": stage_fuzz, "tsan": stage_tsan,
          "counterparts": stage_counterparts, "e2e": stage_e2e, "web": stage_web}
# The stages of a lane run one after another, the lanes side by side.
LANES = (("checks", "dev", "release", "asan", "oom", "fuzz", "tsan"),
         ("counterparts", "e2e", "web"))


def run_stages(stages, options):
    rows = [(row[0], row[1]) for row in source.rows(ROOT, "tests/skips.txt", 2)]
    results, ended = Results(rows), threading.Lock()

    def run_lane(lane):
        for name in (s for s in lane if s in stages):
            at = time.monotonic()
            say(f"== {name}")
            own = Results(rows)
            try:
                STAGES[name](own, options)
            except Exception as error:  # a lane that is lost must not look like one that passed
                own.add_fail(name, f"{type(error).__name__}: {error}")
            with ended:
                results.add(own)
                say(f"== {name}: {time.monotonic() - at:.0f} s; so far {results.last_line()}")

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as on ^C: see below
    lanes = [threading.Thread(target=run_lane, args=(lane,), daemon=True) for lane in LANES]
    for lane in lanes:
        lane.start()
    try:
        for lane in lanes:
            lane.join()
    except KeyboardInterrupt:
        for process in list(RUNNING):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        sys.exit(130)
    return results


def self_test():
    """The counting must be able to fail."""
    rows = [("known*", "why")]
    def counted(code, output, is_replay=False, name="t"):
        results = Results(rows)
        with open(os.devnull, "w", encoding="utf-8") as null:
            out, sys.stdout = sys.stdout, null
            try:
                count(results, name, code, output, is_replay)
            finally:
                sys.stdout = out
        return results.last_line()
    ok, bad = "[       OK ] {}\n", "[  FAILED  ] {}\n"
    ran = "[ RUN      ] {}\n"
    two = ran.format("a") + ok.format("a") + ran.format("b")
    cases = [
        (counted(0, two + ok.format("b")), "2 passed, 0 failed, 0 skipped"),
        (counted(1, two + bad.format("b") + "[  FAILED  ] 1 test(s), listed below:\n"
                 + bad.format("b")), "1 passed, 1 failed, 0 skipped"),
        (counted(-11, two), "1 passed, 1 failed, 0 skipped"),
        (counted(0, two), "1 passed, 1 failed, 0 skipped"),
        (counted(66, two + ok.format("b")), "2 passed, 1 failed, 0 skipped"),
        (counted(None, ""), "0 passed, 1 failed, 0 skipped"),
        (counted(0, two + "[  SKIPPED ] b\n"), "1 passed, 1 failed, 0 skipped"),
        (counted(0, two + "[  SKIPPED ] b\n", name="known"), "1 passed, 0 failed, 1 skipped"),
        (counted(0, "hello\n"), "1 passed, 0 failed, 0 skipped"),
        (counted(3, "hello\n"), "0 passed, 1 failed, 0 skipped"),
        (counted(0, "PASS a\nFAIL b: why\nSKIP c: no root\n"), "1 passed, 2 failed, 0 skipped"),
        (counted(1, "PASS a\nSKIP c: no root\n", name="known"), "1 passed, 1 failed, 1 skipped"),
        (counted(0, "2010 inputs from 10 files ran\n", True), "1 passed, 0 failed, 0 skipped"),
        (counted(0, "0 inputs from 0 files ran\n", True), "0 passed, 1 failed, 0 skipped"),
        (counted(0, "", True), "0 passed, 1 failed, 0 skipped"),
    ]
    for at, (got, wanted) in enumerate(cases):
        if got != wanted:
            sys.exit(f"self-test failed: case {at}: {got}, not {wanted}")
    for handler, wanted in (("lambda *_: sys.exit('put back')", "ready\nput back\n"),
                            ("signal.SIG_IGN", "ready\n")):
        program = (f"import signal, sys, time; signal.signal(signal.SIGTERM, {handler}); "
                   "print('ready', flush=True); time.sleep(60); print('not ended')")
        for seconds in (0.5, 5, 50):  # until the machine was quick enough for its first line
            code, output = run([sys.executable, "-c", program], seconds,
                               grace=GRACE if "put back" in wanted else 0.1)
            if output:
                break
        if code is not None or output != wanted:
            sys.exit(f"self-test failed: a program that hangs, at SIGTERM {handler}: {output!r}")
    with tempfile.TemporaryDirectory() as empty:
        test = {"command": ["/bin/true", empty], "name": "x"}
        if run_fuzzer(test, 1)[0] == 0:
            sys.exit("self-test failed: a fuzzer without a corpus passed")


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=list(STAGES), default=[])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--oom-seconds", type=int, default=5)
    parser.add_argument("--e2e-seconds", type=int, default=900)
    parser.add_argument("--match", default="")
    options = parser.parse_args()
    stages = options.only or (["checks", "dev"] if options.quick
                               else [s for s in STAGES if s != "dev"])
    began = time.monotonic()
    results = run_stages(stages, options)
    print()
    for name in results.failed:
        print(f"failed: {name}")
    for name, reason in results.skipped:
        print(f"skipped: {name}: {reason or 'see tests/skips.txt'}")
    for seconds, name in results.slowest(10):
        print(f"slow: {seconds:6.1f} s  {name}")
    print(f"{time.monotonic() - began:.0f} s in all; the output of every test is in build/test/")
    if results.passed == 0 and not results.failed:
        results.add_fail("nothing was run")
    say(results.last_line())
    return sys.exit(1 if results.failed else 0)


if __name__ == "__main__":
    main()
