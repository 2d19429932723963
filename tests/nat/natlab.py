#!/usr/bin/env python3
"""The NAT laboratory: two clients, each behind a network of some kind, call each other by Kith.

  tests/nat/natlab.py [--kith BINARY] [-k PATTERN] [--few] [--list] [--keep] [--jobs N]
                      [--results FILE] [--write docs/nat.md]

One line per cell: PASS name: path, times; FAIL name: reason; CLIENT name: why that client cannot;
SKIP name: what this kernel lacks. --few: the cells that `make test` runs. --write puts the tables
into a document, between their marks; --results keeps the verdicts in a file, so that a table can be
made of several runs. Cells that share a world (group_of) run one after the other, in namespaces of
their own: a browser is started once for all calls from its network. Needs root.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(ROOT / "tests" / "e2e")]

import cases  # noqa: E402
import clients  # noqa: E402
import dual  # noqa: E402
import net  # noqa: E402
import rig  # noqa: E402
import run as e2e  # noqa: E402
import world  # noqa: E402

KEPT = ROOT / "build" / "nat"
MARK = "verdict"  # begins the lines by which a group tells of its cells
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
HAIRPIN = ("hairpin", "hairpin")
MAKES = {m.MAKE: m for m in (clients.Baresip, clients.Chromium, clients.Linphone,
                              dual.Dual)}
OTHERS = {  # cells that stand by themselves, and what they show
    "dual:ipv6--baresip:open": "an IPv6-only and an IPv4-only client, by a dual-family allocation",
    "dual:ipv6--baresip:ipv6": "the same allocation, through its IPv6 address",
    "linphone:port-restricted--baresip:port-restricted": "linphone behind NAT, with ICE",
    "linphone:symmetric--baresip:symmetric": "the same where only a relay helps",
    "chromium:port-restricted--linphone:port-restricted": "a browser calls linphone",
    "chromium:symmetric--linphone:symmetric": "the same where only a relay helps",
    "chromium:only-443--linphone:port-restricted": "a browser behind a firewall calls linphone",
    "linphone:port-restricted--chromium:port-restricted": "linphone calls a browser",
    "baresip:port-restricted--chromium:port-restricted": "baresip calls a browser",
    "baresip:symmetric--chromium:only-443": "the same with a browser behind a firewall",
}
FEW = [
    "baresip:full-cone--baresip:full-cone", "chromium:udp-blocked--chromium:only-443",
    "baresip:port-restricted--baresip:symmetric", "baresip:symmetric--baresip:symmetric",
    "baresip:hairpin--baresip:hairpin", "chromium:only-443--baresip:port-restricted",
    "baresip:ipv6--baresip:ipv6", "baresip:port-restricted--baresip:poor",
    "uclient:udp-blocked--peer:open", "uclient:only-443--peer:open", "dual:ipv6--baresip:open",
    "uclient:nat64--peer:open",
]
LIMIT = 300  # seconds a cell may take; the machine may be busy
TONES = (440, 880)  # hertz, of the caller and the callee


class House:
    """Kith on the internet of a world, and the clients of its sides."""

    def __init__(self, w):
        self.world, self.rig, self.clients, self.secrets = w, w.rig_on(w.internet), {}, {}
        self.kith = Kith(self.rig, "198.51.100.0/24, 203.0.113.0/24, 2001:db8::/32")
        self.kith.start()

    def person(self, name):
        """An account that nobody had before."""
        name = f"{name}{len(self.secrets) + 1}"
        self.secrets[name] = self.kith.user(f"{name}@{rig.DOMAIN}")
        return name

    def client(self, make, end, kind, other):
        """The caller (end 0, 440 Hz) or the callee (1, 880 Hz) on a network of this kind."""
        key = make, end, kind
        if key not in self.clients:
            self.clients[key] = make(self, self.person("alice" if end == 0 else "bob"),
                                     self.world.side(end, kind), TONES[end], other)
        return self.clients[key]

    def leave(self, *clients):
        for key in [k for k, c in self.clients.items() if c in clients]:
            self.clients.pop(key).close()

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


class Cannot(Exception):
    """A client's own log proves that it, and not Kith, is why there is no sound."""


class Broken(Exception):
    """The same, of a race in the client: it does not occur in each call."""


def call(house, make, kinds, **how):
    """The call of one cell: path, seconds until it was up, and until both heard the other."""
    alice, bob = ends = [house.client(m, end, kind, make[1 - end])
                         for end, (m, kind) in enumerate(zip(make, kinds))]
    try:
        told = talk(house, alice, bob, how)
        alice.hang_up()
        for phone in ends:
            phone.over()
    except Exception:
        house.leave(*ends)  # nobody knows what they are up to
        raise
    house.leave(*(phone for phone in ends if not phone.STAYS))
    return told


def talk(house, alice, bob, how):
    for phone in (bob, alice):
        phone.register()
    began = time.monotonic()
    alice.call(bob.aor, **how)
    try:
        alice.up(40)
        bob.up(40)
        up = time.monotonic() - began
        for phone, hertz in ((alice, TONES[1]), (bob, TONES[0])):
            rig.wait(lambda: phone.hears(hertz) or excuse(alice, bob), 60,
                     lambda: f"{hertz} Hz at {phone.name}: {phone.tell()}")
    except rig.Failure as why:
        for phone in (alice, bob):
            if phone.broken():
                raise Broken(f"{phone.MAKE}: {phone.broken()}") from None
        turn = house.kith.status()["turn"]
        raise rig.Failure(f"{why}; {bob.tell()}; the relay: {turn}") from None
    heard = time.monotonic() - began
    # What the relay carries of a call that goes another way is a keep-alive now and then. A second
    # of media both ways is a hundred packets: so much must pass, or the media goes past it.
    before = house.relayed()
    rig.wait(alice.goes_on(), 30, "a second of audio")
    path = "relayed" if house.relayed() - before >= 50 else "direct"
    return path, up, heard


def excuse(*phones):
    for phone in phones:
        why = phone.excuse()
        if why:
            raise Cannot(f"{phone.MAKE}: {why}")


def relay(house, kind):
    """A relay alone: from a network of this kind through Kith to an IPv4 host."""
    w = house.world
    began = time.monotonic()
    clients.Uclient(house, w.side(0, kind), w.side(1, "open")).relay()
    if house.relayed() < 30:
        raise rig.Failure("the packets did not go through Kith")
    return f"relayed, {time.monotonic() - began:.1f} s"


def run_cell(house, name, attempt):
    if name.startswith("uclient:"):
        return "PASS " + relay(house, name.split("--")[0].split(":")[1])
    make, kinds = take_apart(name)
    for i, m in enumerate(make):
        why = m.cannot(kinds[i], kinds[1 - i], make[1 - i])
        if why and not attempt:
            return f"CLIENT {m.MAKE}: {why}"
    more = ""
    try:
        try:
            path, up, heard = call(house, make, kinds)
        except Broken as why:
            more = f" (the second call; the first: {why})"
            path, up, heard = call(house, make, kinds)
    except Broken as why:
        if name in FEW:  # there it is known to do
            raise rig.Failure(f"twice: {why}") from None
        return f"CLIENT {why}, in two calls of two"
    except Cannot as why:
        if make[0] != clients.Chromium:
            return f"CLIENT {why}"
        path, up, heard = call(house, make, kinds, one_way=True)
        path = f"{path}*"  # the browser was told to: see the document
        more += f" (the first call: {why})"
    return f"PASS {path}, up after {up:.1f} s, heard after {heard:.1f} s{more}"


def judged(name, args, house):
    """The verdict of one cell, whatever happens in it."""
    signal.alarm(LIMIT)
    try:
        return run_cell(house, name, args.attempt)
    except rig.Skip as why:
        return f"SKIP {why}"
    except rig.Failure as why:
        return f"FAIL {why}"
    except Exception as why:  # a mistake in the laboratory itself must not look like a pass
        traceback.print_exc()
        return f"FAIL {type(why).__name__}: {why}"
    finally:
        signal.alarm(0)


def inside(args):
    """Runs a group of cells in one world. A line for each: its verdict."""
    def late(*_):
        raise rig.Failure("took too long")

    signal.signal(signal.SIGALRM, late)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    w, house, names = None, None, args.inside.split(",")
    verdicts = dict.fromkeys(names, "FAIL its world ended")
    try:
        w = world.World(args.dir, args.kith, f"{os.getpid()}")
        if args.capture:
            rig.Capture(w.rig_on(w.internet))
        house = House(w)
        for name in names:
            verdicts[name] = " ".join(judged(name, args, house).split())
            if name != names[-1]:
                print(MARK, name, verdicts[name], flush=True)
    except (rig.Skip, rig.Failure) as why:  # no world at all
        word = "SKIP" if isinstance(why, rig.Skip) else "FAIL"
        for name in names:
            verdicts[name] = " ".join(f"{word} {why}".split())
            if name != names[-1]:
                print(MARK, name, verdicts[name], flush=True)
    finally:
        if w:
            w.close()
    # The last one also answers for what the server said of itself.
    trouble = cases.server_trouble(w) if w else ""
    print(MARK, names[-1], f"FAIL {trouble}" if trouble else verdicts[names[-1]], flush=True)


def cell_name(makes, kinds):
    return f"{makes[0]}:{kinds[0]}--{makes[1]}:{kinds[1]}"


def take_apart(name):
    ends = [end.split(":") for end in name.split("--")]
    return [MAKES[m] for m, _ in ends], [k for _, k in ends]


def relay_name(kind):
    return f"uclient:{kind}--peer:open"


def pairs_of_makes():
    return [("baresip", "baresip"), ("chromium", "chromium"), ("chromium", "baresip")]


def pairs_of_kinds(makes):
    """Who is behind which network. Of two alike it makes no odds which of them calls."""
    return [(a, b) for i, a in enumerate(KINDS)
            for b in list(KINDS)[i if makes[0] == makes[1] else 0:]] + [HAIRPIN]


def all_cells():
    return [cell_name(m, k) for m in pairs_of_makes() for k in pairs_of_kinds(m)] + \
        [relay_name(k) for k in KINDS] + list(OTHERS)


def group_of(name):
    """Cells of one group share a world. Browsers are slow to start: all their cells are one group;
    others are one for each network of the caller's."""
    makes = [end.split(":")[0] for end in name.split("--")]
    return "--".join(makes) if "chromium" in makes else name.split("--")[0]


# ---- the document -------------------------------------------------------------------------------

def short(verdict):
    """What of a cell's verdict fits into the table."""
    word, reason = verdict
    if word != "PASS":
        return {"CLIENT": "client", "SKIP": "skipped"}.get(word, word)
    path, seconds = re.match(r"([\w*]+), (?:.*heard after )?([\d.]+) s", reason).groups()
    return f"{path} {float(seconds):.1f} s"


def networks():
    return ["| network | what it is |", "|---|---|"] + [f"| {k} | {w} |" for k, w in KINDS.items()]


def table(verdicts, makes):
    kinds = list(KINDS)
    lines = [f"| {makes[0]} \\ {makes[1]} | " + " | ".join(kinds) + " |",
             "|---" * (len(kinds) + 1) + "|"]
    pairs = pairs_of_kinds(makes)
    for a in kinds:
        row = [short(verdicts[cell_name(makes, (a, b))]) if (a, b) in pairs else "" for b in kinds]
        lines.append(f"| **{a}** | " + " | ".join(row) + " |")
    lines += ["", "Both behind one translator, in networks that do not see each other (hairpin): " +
              short(verdicts[cell_name(makes, HAIRPIN)]) + "."]
    why = sorted({verdicts[cell_name(makes, k)][1] for k in pairs
                  if verdicts[cell_name(makes, k)][0] == "CLIENT"})
    return lines + ([""] if why else []) + [f"- client: {r}" for r in why]


def relays(verdicts):
    return ["| the relay alone, to an IPv4 host, from | " + " | ".join(KINDS) + " |",
            "|---" * (len(KINDS) + 1) + "|",
            "| uclient | " + " | ".join(short(verdicts[relay_name(k)]) for k in KINDS) + " |"]


def others(verdicts):
    lines = ["| caller | callee | | |", "|---|---|---|---|"]
    why = [f"- client: {verdicts[n][1]}" for n in OTHERS if verdicts[n][0] == "CLIENT"]
    for name, story in OTHERS.items():
        ends = " | ".join(end.replace(":", ", ") for end in name.split("--"))
        lines.append(f"| {ends} | {short(verdicts[name])} | {story} |")
    return lines + ([""] + why if why else [])


def write(path, verdicts):
    """Each table stands between marks of its own; those whose cells all ran are written anew. What
    is wrong is returned: a table is whole or it stays as it was."""
    tables = {" ".join(m): ([cell_name(m, k) for k in pairs_of_kinds(m)],
                            lambda m=m: table(verdicts, m)) for m in pairs_of_makes()}
    tables["relay"] = [relay_name(k) for k in KINDS], lambda: relays(verdicts)
    tables["others"] = list(OTHERS), lambda: others(verdicts)
    parts, wrong = {"networks": networks()}, []
    for name, (cells, lines) in tables.items():
        missing = [cell for cell in cells if cell not in verdicts]
        if not missing:
            parts[name] = lines()
        elif len(missing) < len(cells):
            wrong.append(f"{path}: the table of {name} is not written: {len(missing)} of its cells "
                         f"never ran, the first is {missing[0]}")
    text = path.read_text()
    for name, lines in parts.items():
        before, begin, rest = text.partition(f"<!-- natlab: {name} -->\n")
        _, end, after = rest.partition("<!-- natlab: end -->")
        if not end:
            raise ValueError(f"{path} has no marks for {name}")
        text = before + begin + "\n" + "\n".join(lines) + "\n\n" + end + after
    path.write_text(text)
    return wrong


def run_group(name, cells, args, tell):
    """The cells of one world in a child process; its namespaces and its directory go with it."""
    with tempfile.TemporaryDirectory(prefix="kith-nat-", ignore_cleanup_errors=True) as directory:
        run_in(directory, name, cells, args, tell)


def run_in(directory, name, cells, args, tell):
    command = [sys.executable, "-u", __file__, "--inside", ",".join(cells), "--dir", directory,
               "--kith", str(args.kith), *(["--capture"] if args.capture else []),
               *(["--attempt"] if args.attempt else [])]
    child = e2e.children.start(command, directory)
    backstop = threading.Timer(LIMIT * (len(cells) + 1), child.terminate)
    backstop.start()
    output, verdicts = [], {}
    for line in child.stdout:
        output.append(line)
        if line.startswith(MARK + " "):
            _, cell, verdicts[cell] = line.strip().split(" ", 2)
            tell(cell, verdicts[cell])
    child.wait()
    backstop.cancel()
    for left in net.namespaces(f"nat{child.pid}-"):
        net.remove(left)
    for cell in cells:
        if cell not in verdicts:
            verdicts[cell] = "FAIL no verdict: " + " | ".join(x.strip() for x in output[-3:])
            tell(cell, verdicts[cell])
    if args.keep or args.capture or any(v.startswith("FAIL") for v in verdicts.values()):
        kept = KEPT / (cells[0] if len(cells) == 1 else name)
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(directory, kept, ignore_dangling_symlinks=True, ignore=e2e.NOT_KEPT)
        (kept / "test.log").write_text("".join(output))


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--kith", type=pathlib.Path, default=None)
    p.add_argument("-k", metavar="PATTERN", default="", help="only cells whose name matches")
    p.add_argument("--few", action="store_true", help="the cells of `make test`")
    p.add_argument("--list", action="store_true")
    p.add_argument("--keep", action="store_true", help="keep the files of passed cells too")
    p.add_argument("--attempt", action="store_true", help="call even where a client cannot")
    p.add_argument("--capture", action="store_true", help="keep what passes through the internet")
    p.add_argument("--jobs", type=int, default=4)
    p.add_argument("--results", type=pathlib.Path, help="verdicts of earlier runs, and of this one")
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
    groups = {}
    for n in names:
        groups.setdefault(group_of(n), []).append(n)
    verdicts = {}

    def tell(name, verdict):
        word, _, reason = verdict.partition(" ")
        verdicts[name] = [word, reason]
        print(f"{word} {name}: {reason}", flush=True)

    with e2e.children.pool(args.jobs) as pool:
        jobs = [pool.submit(run_group, name, cells, args, tell) for name, cells in groups.items()]
        for job in concurrent.futures.as_completed(jobs):
            job.result()
    words = [word for word, _ in verdicts.values()]
    count = {w: words.count(w) for w in ("PASS", "FAIL", "CLIENT", "SKIP")}
    print(", ".join(f"{n} {w.lower()}" for w, n in count.items()))
    if args.results:
        if args.results.exists():
            verdicts = {**json.loads(args.results.read_text()), **verdicts}
        args.results.write_text(json.dumps(verdicts, indent=1) + "\n")
    wrong = write(args.write, verdicts) if args.write else []
    for line in wrong:
        print(line)
    return 1 if count["FAIL"] or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
