#!/usr/bin/env python3
"""The tester is tested: each test of `kith check` against a right server and against one that is wrong
in just that clause.

  tests/check/run.py [--kith BINARY] [--role ROLE] [-k PATTERN] [--jobs N]

The right server (fake.py) must pass every test; each broken one must fail the test that it is broken
for. A test of which neither holds, or which has no switch in fake.py, makes this run fail. One line
each: PASS name, FAIL name: reason.
"""
import argparse
import asyncio
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE))
import fake  # noqa: E402
import fake_browser  # noqa: E402
import fake_meet  # noqa: E402
import fake_phone  # noqa: E402
import fake_relay  # noqa: E402
import fake_trunk  # noqa: E402

PEOPLE = {f"u{i}": f"secret-{i}-of-the-fake" for i in range(1, 31)}


class Cert:
    def __init__(self, directory, name=fake.DOMAIN):
        self.file, self.dh = str(directory / "cert.pem"), str(directory / "dh.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
                        "/CN=fake", "-addext", f"subjectAltName=DNS:{name}", "-keyout", self.file + ".key",
                        "-out", self.file + ".crt"], check=True, capture_output=True)
        pathlib.Path(self.file).write_text(pathlib.Path(self.file + ".key").read_text()
                                           + pathlib.Path(self.file + ".crt").read_text())
        subprocess.run(["openssl", "genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", "group:ffdhe2048",
                        "-out", self.dh], check=True, capture_output=True)


FAKES = {"server": fake.Fake, "relay": fake_relay.FakeRelay, "phone": fake_phone.FakePhone,
         "browser": fake_browser.FakeBrowser, "trunk": fake_trunk.FakeProvider,
         "static": fake_trunk.FakeStatic, "pbx": fake_trunk.FakePbx}
# pbx: the tester is the provider. Tests of a role that stand in another one's list are judged there.
WORDS = {"pbx": ["trunk", "--listen", "127.0.0.1:5061"], "static": ["trunk"]}
# static: a trunk whose PBX does not register. Both play the same calls; these are not applicable in the other.
ONLY = {"TRUNK-001/registers": "trunk", "REG-011/mapped": "trunk", "TRUNK-001/static": "static",
        "TRANS-003/caller": "static"}
# a phone over UDP, or so long a wait that the others of the role need not wait for it
ALONE = ("OUTB-004/stun", "NAT-007/consent", "NAT-008/late-check")
ALSO_OF = {"trunk": ("server",), "static": ("server",), "pbx": ("phone",), "browser": ("phone",)}


async def check(kith, cert, directory, role, broken, tests):
    """The verdicts of these tests against a fake that is broken so: {id: (verdict, why)}."""
    f = FAKES[role](PEOPLE, cert, broken)
    alone = tests[0] if len(tests) == 1 else ""
    out = directory / f"{role}_{(broken or 'good ' + alone).replace('/', '_')}.json"
    # no verdict because this machine is busy; what is broken is waited for in vain, so a little less
    common = ["--quiet", "--patience", 3 if broken else 4, "--json", out]
    if role == "phone":
        f.udp = tests == ["OUTB-004/stun"]
        f.hands = str(out) + ".hands"
        pathlib.Path(f.hands).write_text("")
    await f.start()
    if role == "phone":
        args = [kith, "check", role, f"127.0.0.1:{f.port}", "--hands", f.hands, *common]
    elif role == "browser":
        args = [kith, "check", role, f"127.0.0.1:{f.port}", "--cert", cert.file, "--wait", "4", *common]
    elif role == "pbx":
        args = [kith, "check", "trunk", "--listen", f"127.0.0.1:{f.port}", "--numbers", ",".join(fake_trunk.NUMBERS),
                *(["--cert", cert.file] if f.tls else []), *common]
    else:
        args = [kith, "check", *WORDS.get(role, [role]), f"sips:127.0.0.1:{f.ports['TLS']}", "--name", fake.DOMAIN,
                "--ca", cert.file, "--allow-writes", "--jobs", 16, "--load", 800, "--tcp", f"127.0.0.1:{f.ports['TCP']}", *common]
        args += (["--static", f"127.0.0.1:{f.port}", "--cert", cert.file] if role == "static" else
                 ["--accounts", directory / "people.csv"])
        if "WSS" in f.ports:
            args += ["--wss", f"wss://127.0.0.1:{f.ports['WSS']}/sip"]
        if not f.bad("TRANS-001/udp-and-tcp", "NAT-014/transports"):
            args += ["--udp", f"127.0.0.1:{f.ports['UDP']}"]
        if role in ("trunk", "static"):
            args += ["--numbers", ",".join(fake_trunk.NUMBERS)]
        if f.bad("TRUNK-006/secure"):
            args[3] = f"sip:127.0.0.1:{f.ports['TCP']};transport=tcp"
        if role == "server":
            args += ["--conference", f"sip:{fake_meet.NAME}@{fake.DOMAIN}"]
        if "TLS6" in f.ports:
            args += ["--also", f"[::1]:{f.ports['TLS6']}"]
    args += ["--row", ",".join(tests)]
    process = await asyncio.create_subprocess_exec(*[str(a) for a in args], stdout=subprocess.PIPE,
                                                   stderr=subprocess.STDOUT)
    said, _ = await process.communicate()
    await f.stop()
    if not out.exists():
        return {t: ("none", said.decode(errors="replace").strip()[-300:]) for t in tests}
    report = json.loads(out.read_text())
    return {t["test"]: (t["verdict"], t["why"]) for t in report["tests"]}


def check_now(*args):
    return asyncio.run(check(*args))


class Judge:
    """Each test of these roles twice."""
    def __init__(self):
        self.source = "".join(path.read_text() for path in HERE.glob("*.py"))
        self.good, self.broken, self.total, self.wrong = {}, {}, 0, set()

    def plan(self, role, tests, pattern):
        """[(its place in the list, role, what is broken, tests)]: in a list those that wait long come first."""
        # those of a browser are fewer than all that run in that role
        single = [t for t in tests if pattern or role == "browser" or t in ALONE]
        together = [t for t in tests if t not in single]
        parts = 4 if role == "phone" else 1  # one phone runs one test after the other
        right = [*[[t] for t in single], *[together[i::parts] for i in range(parts)]]
        self.total += len(tests)
        return [*[(tests.index(chosen[0]), role, "", chosen) for chosen in right if chosen],
                *[(tests.index(t), role, t, [t]) for t in tests if self.breaks(role, t)]]

    def breaks(self, role, t):
        """Has it a broken counterpart in this role? Else another role's is the same."""
        return ONLY.get(t, role) == role and (role != "static" or t in ONLY)

    def take(self, role, broken, tests, found):
        for t in tests:
            (self.broken if broken else self.good)[role, t] = found.get(t, ("none", "it did not run"))
            if (role, t) in self.good and ((role, t) in self.broken or not self.breaks(role, t)):
                self.tell(role, t)

    def tell(self, role, t):
        verdict, why = self.good[role, t]
        want = "pass" if ONLY.get(t, role) == role else "not-applicable"
        failed, cause = self.broken.get((role, t), ("fail", ""))
        fault = ""
        if verdict != want:
            fault = f"the right {role} gets {verdict}: {why}"
        elif f'"{t}"' not in self.source:
            fault = "no broken counterpart in tests/check"
        elif failed != "fail":
            fault = f"the broken {role} gets {failed}: {cause}"
        name = t if self.breaks(role, t) else f"{t} ({role})"
        if fault:
            self.wrong.add((role, t))
        print(f"FAIL {name}: {fault}" if fault else f"PASS {name}", flush=True)


def tests_of(kith, role):
    listed = subprocess.run([kith, "check", *WORDS.get(role, [role]), "--list"], capture_output=True, text=True,
                            check=True)
    elsewhere = {t for other in ALSO_OF.get(role, ()) for t in tests_of(kith, other)}
    return [t for t in (line.split("\t")[0] for line in listed.stdout.splitlines()) if t not in elsewhere]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--kith", default=os.environ.get("KITH", ROOT / "build" / "kith"))
    p.add_argument("-k", default="", metavar="PATTERN")
    p.add_argument("--role", default="", choices=["", *FAKES])
    p.add_argument("--jobs", type=int, default=24)
    p.add_argument("--keep", metavar="DIR", help="leave the reports there")
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as d:
        directory = pathlib.Path(a.keep or d)
        directory.mkdir(exist_ok=True)
        (directory / "people.csv").write_text("".join(f"{u}@{fake.DOMAIN},{w}\n" for u, w in PEOPLE.items()))
        cert, judge = Cert(directory), Judge()
        plan = [step for role in ([a.role] if a.role else FAKES)
                for step in judge.plan(role, [t for t in tests_of(a.kith, role) if a.k in t], a.k)]
        # side by side: most of the time they wait. Each fake has a process of its own, and is never late for
        # another one's sake
        with concurrent.futures.ProcessPoolExecutor(a.jobs) as pool:
            steps = {pool.submit(check_now, a.kith, cert, directory, *step): step
                     for _, *step in sorted(plan, key=lambda step: step[0])}
            for done in concurrent.futures.as_completed(steps):
                judge.take(*steps[done], done.result())
    print(f"{judge.total - len(judge.wrong)} passed, {len(judge.wrong)} failed")
    return 1 if judge.wrong or not judge.total else 0


if __name__ == "__main__":
    sys.exit(main())
