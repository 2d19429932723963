#!/usr/bin/env python3
"""The NAT laboratory: two clients, each behind a network of some kind, call each other by Kith.

  tests/nat/natlab.py [--kith BINARY] [-k PATTERN] [--few] [--list] [--keep] [--jobs N]
                      [--write docs/nat.md]

One line per cell: PASS name: path, times; FAIL name: reason; CLIENT name: why that client cannot;
SKIP name: what this kernel lacks. --few: the cells that `make test` runs. --write puts the tables
into a document, between their marks. Every cell has namespaces of its own. Needs root.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(ROOT / "tests" / "e2e")]

import cases  # noqa: E402
import clients  # noqa: E402
import rig  # noqa: E402
import run as e2e  # noqa: E402
import world  # noqa: E402

KEPT = ROOT / "build" / "nat"
KINDS = {
    "open": "a public IPv4 address",
    "full-cone": "anybody may send to a mapped port (RFC 4787: endpoint-independent filtering)",
    "restricted": "only whom the client has sent to, from any port (address-dependent)",
    "port-restricted": "only address and port that the client has sent to",
    "symmetric": "each destination sees another port",
    "carrier-grade": "two translators in a row",
    "udp-blocked": "TCP only",
    "only-443": "TCP to port 443 only",
    "ipv6": "IPv6 only",
    "nat64": "IPv6 only, IPv4 by NAT64; the server is reached at its IPv4 address",
    "poor": "port-restricted, 150 ms each way and 5 % loss each way",
}
PAIRS = [(a, b) for i, a in enumerate(KINDS) for b in list(KINDS)[i:]] + [("hairpin", "hairpin")]
MAKES = {"baresip": clients.Baresip, "chromium": clients.Chromium}
FEW = [
    "baresip:full-cone--baresip:full-cone", "baresip:restricted--baresip:port-restricted",
    "baresip:port-restricted--baresip:symmetric", "baresip:symmetric--baresip:symmetric",
    "baresip:hairpin--baresip:hairpin", "baresip:symmetric--baresip:carrier-grade",
    "baresip:ipv6--baresip:ipv6", "baresip:port-restricted--baresip:poor",
    "uclient:udp-blocked--peer:open", "uclient:only-443--peer:open", "uclient:ipv6--peer:open",
    "uclient:nat64--peer:open",
]
LIMIT = 300  # seconds a cell may take; the machine may be busy


class House:
    """Kith on the internet, with the people of the cell."""

    def __init__(self, w, *people):
        self.world, self.rig = w, w.rig_on(w.internet)
        allow = "198.51.100.0/24, 192.0.2.0/24, 203.0.113.0/24, 2001:db8::/32"
        self.kith = Kith(self.rig, allow)
        for name in people:
            self.kith.user(f"{name}@{rig.DOMAIN}")
        self.kith.start()

    def certificate(self, name):
        return self.kith.device(f"{name}@{rig.DOMAIN}", f"{name}-device")

    def credential(self, name):
        told = json.loads(self.kith.cli("turn", "credential", f"{name}@{rig.DOMAIN}", "--json"))
        return told["username"], told["password"]

    def relayed(self):
        turn = self.kith.status()["turn"]
        return turn["packets_up"] + turn["packets_down"]


class Kith(rig.Kith):
    """Signalling on 5061 and 443, the relay on 3478, both families."""

    def __init__(self, r, allow):
        super().__init__(r, name=rig.DOMAIN, more=f"[turn]\nallow = {allow}\n")
        at = ", ".join(f"{h}:{p}" for h in (world.SERVER4, f"[{world.SERVER6}]")
                       for p in (rig.TLS_PORT, 443))
        text = self.conf.read_text()
        self.conf.write_text(re.sub(r"(?m)^tls = .*$", f"tls = {at}", text))

    def _listens(self):
        with self.rig.space.inside():
            return super()._listens()


def call(w, make, kinds):
    """The call of one cell: path, seconds until it was up, and until both heard the other."""
    sides = [world.Side(w, i + 1, kind) for i, kind in enumerate(kinds)]
    house = House(w, "alice", "bob")
    alice = make[0](house, "alice", sides[0], 440, make[1])
    bob = make[1](house, "bob", sides[1], 880, make[0])
    for phone in (bob, alice):
        phone.register()
    began = time.monotonic()
    alice.call(f"bob@{rig.DOMAIN}")
    try:
        alice.up(40)
        bob.up(40)
        up = time.monotonic() - began
        alice.heard(880)
        bob.heard(440)
    except rig.Failure as why:
        raise rig.Failure(f"{why}; {bob.tell()}; the relay: {house.kith.status()['turn']}") from None
    heard = time.monotonic() - began
    # What the relay carries of a call that goes another way is a keep-alive now and then. A second
    # of media both ways is a hundred packets: so much must pass, or the media goes past it.
    before = house.relayed()
    rig.wait(alice.goes_on(), 30, "a second of audio")
    path = "relayed" if house.relayed() - before >= 50 else "direct"
    return path, up, heard


def relay(w, kind):
    """A relay alone: from a network of this kind through Kith to an IPv4 host."""
    side, peer = world.Side(w, 1, kind), world.Side(w, 2, "open")
    house = House(w, "alice")
    began = time.monotonic()
    clients.Uclient(house, side, peer).relay()
    if house.relayed() < 30:
        raise rig.Failure("the packets did not go through Kith")
    return f"relayed, {time.monotonic() - began:.1f} s"


def run_cell(w, name):
    if name.startswith("uclient:"):
        return "PASS " + relay(w, name.split("--")[0].split(":")[1])
    make, kinds = take_apart(name)
    for i, m in enumerate(make):
        why = m.cannot(kinds[i], kinds[1 - i])
        if why:
            return f"CLIENT {m.MAKE}: {why}"
    path, up, heard = call(w, make, kinds)
    return f"PASS {path}, up after {up:.1f} s, heard after {heard:.1f} s"


def inside(args):
    """Runs one cell. The last line is the verdict."""
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(rig.Failure("took too long")))
    w, verdict = None, ""
    try:
        w = world.World(args.dir, args.kith, f"{os.getpid()}")
        if args.capture:
            rig.Capture(w.rig_on(w.internet))
        verdict = run_cell(w, args.inside)
    except rig.Skip as why:
        verdict = f"SKIP {why}"
    except rig.Failure as why:
        verdict = f"FAIL {why}"
    except Exception as why:  # a mistake in the laboratory itself must not look like a pass
        traceback.print_exc()
        verdict = f"FAIL {type(why).__name__}: {why}"
    finally:
        if w:
            w.close()
    trouble = cases.server_trouble(w) if w else ""
    print(" ".join((f"FAIL {trouble}" if trouble else verdict).split()), flush=True)


def cell_name(makes, kinds):
    return f"{makes[0]}:{kinds[0]}--{makes[1]}:{kinds[1]}"


def take_apart(name):
    ends = [end.split(":") for end in name.split("--")]
    return [MAKES[m] for m, _ in ends], [k for _, k in ends]


def relay_name(kind):
    return f"uclient:{kind}--peer:open"


def pairs_of_makes():
    return [(a, b) for i, a in enumerate(MAKES) for b in list(MAKES)[i:]]


def all_cells():
    return [cell_name(m, k) for m in pairs_of_makes() for k in PAIRS] + \
        [relay_name(k) for k in KINDS]


# ---- the document -------------------------------------------------------------------------------

def short(verdict):
    """What of a cell's verdict fits into the table."""
    word, reason = verdict
    if word != "PASS":
        return {"CLIENT": "client", "SKIP": "skipped"}.get(word, word)
    path, seconds = re.match(r"(\w+), (?:.*heard after )?([\d.]+) s", reason).groups()
    return f"{path} {float(seconds):.0f} s"


def networks():
    return ["| network | what it is |", "|---|---|"] + [f"| {k} | {w} |" for k, w in KINDS.items()]


def table(verdicts, makes):
    kinds = list(KINDS)
    lines = [f"| {makes[0]} \\ {makes[1]} | " + " | ".join(kinds) + " |",
             "|---" * (len(kinds) + 1) + "|"]
    for i, a in enumerate(kinds):
        row = [short(verdicts[cell_name(makes, (a, b))]) if j >= i else ""
               for j, b in enumerate(kinds)]
        lines.append(f"| **{a}** | " + " | ".join(row) + " |")
    lines += ["", "Both behind one translator, in networks that do not see each other (hairpin): " +
              short(verdicts[cell_name(makes, ("hairpin", "hairpin"))]) + "."]
    why = sorted({verdicts[cell_name(makes, k)][1] for k in PAIRS
                  if verdicts[cell_name(makes, k)][0] == "CLIENT"})
    return lines + ([""] if why else []) + [f"- client: {r}" for r in why]


def relays(verdicts):
    return ["| the relay alone, to an IPv4 host, from | " + " | ".join(KINDS) + " |",
            "|---" * (len(KINDS) + 1) + "|",
            "| uclient | " + " | ".join(short(verdicts[relay_name(k)]) for k in KINDS) + " |"]


def write(path, verdicts):
    """Each table stands between marks of its own; those whose cells all ran are written anew."""
    parts = {"networks": networks()}
    for makes in pairs_of_makes():
        if all(cell_name(makes, k) in verdicts for k in PAIRS):
            parts[f"{makes[0]} {makes[1]}"] = table(verdicts, makes)
    if all(relay_name(k) in verdicts for k in KINDS):
        parts["relay"] = relays(verdicts)
    text = path.read_text()
    for name, lines in parts.items():
        before, begin, rest = text.partition(f"<!-- natlab: {name} -->\n")
        _, end, after = rest.partition("<!-- natlab: end -->")
        if not end:
            raise ValueError(f"{path} has no marks for {name}")
        text = before + begin + "\n" + "\n".join(lines) + "\n\n" + end + after
    path.write_text(text)


def one(name, args):
    """One cell as a child process; its namespaces go with it."""
    directory = tempfile.mkdtemp(prefix="kith-nat-")
    command = [sys.executable, __file__, "--inside", name, "--dir", directory, "--kith",
               str(args.kith), *(["--capture"] if args.capture else [])]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             stdin=subprocess.DEVNULL, text=True)
    try:
        output, _ = child.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        child.terminate()
        output, _ = child.communicate(timeout=60)
    lines = output.strip().split("\n")
    verdict = lines[-1] if re.match("PASS|FAIL|SKIP|CLIENT", lines[-1]) else \
        "FAIL no verdict: " + " | ".join(lines[-3:])
    if args.keep or args.capture or verdict.startswith("FAIL"):
        kept = KEPT / name
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(directory, kept, ignore_dangling_symlinks=True,
                        ignore=shutil.ignore_patterns("*.sock", "profile"))
        (kept / "test.log").write_text(output)
    shutil.rmtree(directory, ignore_errors=True)
    return name, verdict


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--kith", type=pathlib.Path, default=None)
    p.add_argument("-k", metavar="PATTERN", default="", help="only cells whose name matches")
    p.add_argument("--few", action="store_true", help="the cells of `make test`")
    p.add_argument("--list", action="store_true")
    p.add_argument("--keep", action="store_true", help="keep the files of passed cells too")
    p.add_argument("--capture", action="store_true", help="keep what passes through the internet")
    p.add_argument("--jobs", type=int, default=4)
    p.add_argument("--write", type=pathlib.Path, help="the document that holds the table")
    p.add_argument("--inside", help=argparse.SUPPRESS)
    p.add_argument("--dir", help=argparse.SUPPRESS)
    args = p.parse_args()
    args.kith = (args.kith or e2e.find_kith()).resolve()
    if args.inside:
        inside(args)
        return 0
    names = [n for n in (FEW if args.few else all_cells()) if re.search(args.k, n)]
    if args.list or os.geteuid() != 0:
        for n in names:
            print(n if args.list else f"SKIP {n}: network namespaces need root")
        return 0
    verdicts = {}
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        try:
            for job in concurrent.futures.as_completed([pool.submit(one, n, args) for n in names]):
                name, verdict = job.result()
                word, _, reason = verdict.partition(" ")
                verdicts[name] = (word, reason)
                print(f"{word} {name}: {reason}", flush=True)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise
    words = [word for word, _ in verdicts.values()]
    count = {w: words.count(w) for w in ("PASS", "FAIL", "CLIENT", "SKIP")}
    print(", ".join(f"{n} {w.lower()}" for w, n in count.items()))
    if args.write:
        write(args.write, verdicts)
    return 1 if count["FAIL"] else 0


if __name__ == "__main__":
    sys.exit(main())
