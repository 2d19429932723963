"""The rows of bench/run.py about too much load: a server held to a small share of one core, so that
the generator on the same machine can offer ten times what it can bear.

Calls: phones that know nothing of overload control, each with an open connection; a caller waits 3 s
and then gives up, a call lasts 1 s. What counts is completed calls a second. The same with a peer
that obeys RFC 7339. New connections: calls at 0.7 of the best rate while handshakes flood in.

The share is one that bears about RATE calls a second, for a pair whose caller gave up stays busy
until its CANCEL is read, and under ten times that rate each second takes a thousand new pairs. Who
obeys needs few of them, so his points last longer: what counts there is the loop, once it is closed.

The server has some 20 ms of a core each second; what a call costs it then varies by a quarter from
one second to the next (cold caches, other guests of the machine), and drifts over minutes. So no
single point is a figure. The curves are taken ROUNDS times, each point is the median, and they show at
which load the server does best. What is promised is then measured in pairs: that load and ten times
the best rate, one right after the other, in alternating order; the figure is the median of the
pairs' ratios. Whatever drifts meets both halves of a pair, and the best of a pair was chosen before it
was taken (the highest of many points is more luck than any one of them). A server whose few
milliseconds the host has taken for other guests bears less than its share (what they take while it
runs is charged to it): a point during which the host took more than STOLEN_MAX of the time in which
the machine had something to do is taken again, at most AGAIN times in the whole run, and of its tries
the calmest counts, whatever it showed.

Each kind of client is compared with its own best. Phones that know nothing leave a deep queue, which
is worked off with warm caches, some tenths cheaper for each call than what comes one by one; a peer
that obeys leaves none. What he gets of the others' best is told beside it.

Every wait has a limit, and fails at it. A generator that had no phone free for more than a hundredth
of the calls it was to offer says so: a pair whose caller gave up is free when its 487 has come.
"""
import os
import pathlib
import statistics
import time

RATE = 100  # calls a second that the share would bear by what a call costs alone; in a queue, more
SHARE_MIN, SHARE_MAX = 0.015, 0.05  # of one core
PERIOD_US, PACE_US = 100000, 400  # the kernel's own period; it takes no quota below 1 ms
PATIENCE_MS, HOLD_MS = 3000, 1000
PHONES, FLOOD = 16000, 3600  # 8,000 pairs: ten times the best rate, each busy for 3 s and a little
OPEN_SECONDS = 150           # for all of them to register
CLEAR_SECONDS = 30           # for the server to read what a point has left, at full speed
FACTORS, OBEYING = (0.5, 1.0, 1.5, 3.0, 10.0), (1.0, 1.5, 3.0, 10.0)
SECONDS, WARM = 7, 2                    # of a point; the first ones do not count
OBEYING_SECONDS, OBEYING_WARM = 24, 4
ROUNDS, PAIRS, OBEYING_PAIRS = 2, 7, 5
STOLEN_MAX, AGAIN = 0.05, 40
CALM_BELOW, CALM_RUN = 0.01, 5  # calm: less than this of all was stolen in each of so many seconds


class OverloadFailure(OSError):
    pass


def put_on(pid, cpus):
    """All threads of a process."""
    for thread in pathlib.Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), cpus)


def files_left(process, name, wanted):
    """The server and the generator have a descriptor for each phone, and a limit each."""
    with open(f"/proc/{process.pid}/limits") as f:
        limit = next(line.split()[3] for line in f if line.startswith("Max open files"))
    if limit != "unlimited" and int(limit) < wanted:
        raise OverloadFailure(f"{name} may open {limit} files, {wanted} are needed: ulimit -n")
    return f"{name} {limit}"


class Share:
    """Holds a process to a share of one core by its own control group (version 1 or 2).

    The kernel meters a quota when something happens on the processor, or else at its tick: whoever has
    enough to do runs for 4 ms where 1.6 were given to him, and then stands still for a quarter of a
    second to pay for it, and so does each call. So the process has a processor to itself (when there
    are several), on which a thread of real-time priority wakes every PACE_US and does nothing:
    measured so, it runs for 1.7 ms in each tenth of a second."""

    def __init__(self, rig, server):
        self.pid, self.share, self.rig = server.process.pid, None, rig
        cpus = sorted(os.sched_getaffinity(0))
        put_on(self.pid, cpus[-1:])
        put_on(server.load.pid, cpus[:-1] or cpus)
        try:
            self.pacer = rig.start(["cyclictest", "--quiet", "--priority=1", f"--interval={PACE_US}",
                                    f"--affinity={cpus[-1]}", "--threads=1"], "pacer.log")
        except FileNotFoundError:
            raise OverloadFailure("cyclictest is missing: apt install rt-tests") from None
        v1, v2 = pathlib.Path("/sys/fs/cgroup/cpu"), pathlib.Path("/sys/fs/cgroup")
        self.is_v1 = (v1 / "cpu.cfs_quota_us").exists()
        self.home = (v1 if self.is_v1 else v2) / f"kith-bench-{self.pid}"
        if not self.is_v1:
            (v2 / "cgroup.subtree_control").write_text("+cpu")
        self.home.mkdir()
        (self.home / "cgroup.procs").write_text(str(self.pid))
        time.sleep(1)
        if self.pacer.poll() is not None:
            raise OverloadFailure("cyclictest ended at once: it needs the right to real-time priority")

    def lower(self):
        self._set(self.share)

    def lift(self):
        self._set(None)

    def clear(self):
        """What a flood has left unread is read before the next point begins: with 1 % of a core that
        takes a minute, so the limit is lifted until the process has nothing more to do."""
        self.lift()
        end, before = time.monotonic() + CLEAR_SECONDS, self.used()
        while time.monotonic() < end:
            time.sleep(0.5)
            now = self.used()
            if now - before < 0.005:
                break
            before = now
        self.lower()

    def used(self):
        """Seconds of the processor, of all threads."""
        return sum(int((t / "schedstat").read_text().split()[0])
                   for t in pathlib.Path(f"/proc/{self.pid}/task").iterdir()) / 1e9

    def _set(self, share):
        quota = int(PERIOD_US * share) if share else -1
        if self.is_v1:
            (self.home / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (self.home / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (self.home / "cpu.max").write_text(f"{quota if share else 'max'} {PERIOD_US}")

    def close(self):
        """When the process has ended."""
        self.rig.stop(self.pacer)
        for _ in range(50):
            try:
                self.home.rmdir()
                return
            except OSError:
                time.sleep(0.1)


def rate(result, name, begin, end):
    return statistics.mean(result[name][begin:end])


def offer(server, share, phases):
    """phases: [(calls a second, seconds)]"""
    seconds = sum(s for _, s in phases) + 10 + (PATIENCE_MS + HOLD_MS) / 1000  # the generator's own
    before, used = machine_times(), share.used()
    r = server.do("offer", ",".join(f"{r:.2f}:{s}" for r, s in phases), seconds + 20)
    r["used"] = (share.used() - used) / seconds
    whole, stolen, idle = (b - a for a, b in zip(before, machine_times()))
    r["stolen"], r["idle"], r["slowed"] = stolen / whole, idle / whole, stolen / (whole - idle)
    if r["broken"]:
        print(f"        {r['broken']} connections broke", flush=True)
    share.clear()
    return r


def machine_times():
    """What the processors have done so far: (all, of that taken away by the host, of that idle)."""
    with open("/proc/stat") as f:
        t = [int(n) for n in f.readline().split()[1:9]]
    return sum(t), t[7], t[3] + t[4]


def wait_for_calm(seconds):
    """Until the host has left the idle machine alone for CALM_RUN seconds in a row; so many seconds
    at most. What it waited."""
    begun, run, before = time.monotonic(), 0, machine_times()
    while run < CALM_RUN and time.monotonic() - begun < seconds:
        time.sleep(1)
        now = machine_times()
        whole, stolen, _ = (b - a for a, b in zip(before, now))
        run = run + 1 if stolen < CALM_BELOW * whole else 0
        before = now
    return time.monotonic() - begun


class Calm:
    """Takes again what the host has disturbed, while there are tries left."""

    def __init__(self, again, wait_seconds):
        self.left, self.wait_seconds = again, wait_seconds

    def __call__(self, take):
        tries = [self._one(take)]
        while tries[-1]["slowed"] > STOLEN_MAX and self.left > 0:
            self.left -= 1
            print(f"        again: the host took {tries[-1]['slowed']:.0%} of what the machine could "
                  "use", flush=True)
            tries.append(self._one(take))
        return min(tries, key=lambda p: p["slowed"])

    def wait(self):
        wait_for_calm(self.wait_seconds)

    def _one(self, take):
        self.wait()
        return take()


def first_guess(server, share, seconds, guess, calm):
    """About the best rate, to begin with; `guess`: what a call costs alone says. Offered more than
    that, too: what completes all that came has not shown what it can."""
    return max(rate(calm(lambda f=f: offer(server, share, [(guess * f, seconds)])), "completed", 2, seconds)
               for f in (1.0, 1.5, 2.0))


EACH = ("offered", "completed", "refused", "given_up", "shed", "blocked", "answer_ms")
SUMS = ("byes", "byes_late", "byes_lost")


def one_point(server, share, best, seconds, f, is_obeying):
    warm = WARM
    if is_obeying:
        seconds, warm = OBEYING_SECONDS, OBEYING_WARM
    server.set("control", int(is_obeying))
    r = offer(server, share, [(best * f, seconds)])
    p = {name: rate(r, name, warm, seconds) for name in EACH}
    p.update({name: r[name] for name in SUMS + ("bye_worst_ms", "own_cpu", "own_lag_ms", "stolen",
                                                "slowed", "idle", "used")})
    print(f"        {f:5.2f} x{', RFC 7339' if is_obeying else '          '}: offered "
          f"{p['offered']:8.1f}, completed {p['completed']:7.1f} a second, refused "
          f"{p['refused']:6.1f}, given up {p['given_up']:6.1f}, blocked {p['blocked']:6.1f}, held back "
          f"{p['shed']:6.1f}, answered in {p['answer_ms']:6.1f} ms, {p['byes_late']} of {p['byes']} "
          f"BYEs late, the last after {p['bye_worst_ms']:.0f} ms; machine {p['idle']:.0%} idle, "
          f"{p['stolen']:.0%} taken by its host, {p['slowed']:.0%} of what was wanted; server used "
          f"{p['used']:.2%} of a core", flush=True)
    return p


def middle(points, f):
    """One point of a curve, of the same point in all rounds."""
    m = {"factor": f, "each": [{name: p[name] for name in ("completed", "stolen", "slowed", "idle")}
                              for p in points]}
    m.update({name: statistics.median(p[name] for p in points) for name in EACH})
    m.update({name: sum(p[name] for p in points) for name in SUMS})
    m["bye_worst_ms"] = max(p["bye_worst_ms"] for p in points)
    m["stolen"] = max(p["stolen"] for p in points)
    return m


def curves(server, share, best, seconds, plain, obeying, rounds, calm):
    asked = [(f, False) for f in plain] + [(f, True) for f in obeying]
    points = {a: [] for a in asked}
    for n in range(rounds):
        print(f"        round {n + 1} of {rounds}", flush=True)
        most = 0  # ten times is of the best of this round, not of what was guessed
        for a in asked:
            of = most if a[0] == plain[-1] else best
            points[a].append(calm(lambda a=a, of=of: one_point(server, share, of, seconds, *a)))
            most = max(most, points[a][-1]["completed"])
    server.set("control", 0)
    found = [middle(points[a], a[0]) for a in asked]
    return found[:len(plain)], found[len(plain):]


def in_pairs(server, share, best, seconds, curve, is_obeying, count, calm):
    """The load at which `curve` is highest and ten times the best rate, back to back, `count` times.
    The best rate is what that load completed in the pairs before, since it drifts: `best` to begin
    with. Of each pair what was completed at the one, at the other, and the ratio; all points."""
    above = [p for p in curve[:-1] if p["factor"] > 1]  # a load that is borne shows itself, not the best
    top = max(above, key=lambda p: p["completed"])["factor"]
    loads = [top, curve[-1]["factor"]]
    pairs, points, lows = [], [], [best]
    for n in range(count):
        of = statistics.median(lows[-3:])
        print(f"        pair {n + 1} of {count}, of {of:.1f} a second", flush=True)
        took = {}
        for f in loads[::-1] if n % 2 else loads:
            took[f] = calm(lambda f=f: one_point(server, share, of, seconds, f, is_obeying))
        low, high = (took[f]["completed"] for f in loads)
        lows.append(low)
        pairs.append({"low": low, "high": high, "ratio": high / low, "factor": top, "best": of})
        points += took.values()
        print(f"        {high:.1f} of {low:.1f} a second: {high / low:.2f}", flush=True)
    server.set("control", 0)
    return pairs, points


def ratio_of(pairs):
    return statistics.median(p["ratio"] for p in pairs)


def recovery(server, share, best, seconds, calm):
    """Seconds after the end of a flood until all calls attempted are served again, at 0.7 of the
    best rate."""
    after = 10
    r = calm(lambda: offer(server, share, [(best * 10, seconds), (best * 0.7, after)]))
    each = list(zip(r["offered"][seconds:], r["served"][seconds:]))
    print("        after the flood, served of those attempted in each second: " +
          ", ".join(f"{s} of {o}" for o, s in each), flush=True)
    first = next((s for s in range(after)
                  if all(served >= 0.95 * offered for offered, served in each[s:])), after)
    return {"row": "recovery", "what": "until calls are all served again after a flood of ten times "
            "the best rate", "target": 5, "unit": "s", "value": first, "each": each,
            "stolen": r["stolen"]}


def rows(rig, start_kith, args):
    """The rows; what the curves hold is in them for the picture."""
    seconds, factors = (5, (1.0, 3.0, 10.0)) if args.quick else (SECONDS, FACTORS)
    server = start_kith(rig, "kith-overload", users=PHONES + 4000, workers=1)
    share, found = None, []
    try:
        share = Share(rig, server)
        print("        open files: " + ", ".join((
            files_left(server.process, "server", PHONES + FLOOD + 200),
            files_left(server.load, "generator", PHONES + 100))), flush=True)
        begun = time.monotonic()
        server.do("open", PHONES, OPEN_SECONDS)
        print(f"        {PHONES} phones registered in {time.monotonic() - begun:.0f} s", flush=True)
        one = server.do("calls", 1000, 60)["server_cpu_us"] / 1e6
        share_of = min(SHARE_MAX, max(SHARE_MIN, RATE * one))
        guess = share_of / one
        server.set("patience", PATIENCE_MS)
        server.set("hold", HOLD_MS)
        share.share = share_of
        share.clear()  # what opening left to do
        calm = Calm(AGAIN, args.calm)
        best = first_guess(server, share, seconds, guess, calm)
        print(f"        about {best:.1f} calls a second at {share_of:.1%} of a core", flush=True)
        loads = OBEYING[-2:] if args.quick else OBEYING
        plain, obeying = curves(server, share, best, seconds, factors, loads, 1 if args.quick else ROUNDS,
                                calm)
        top = max(p["completed"] for p in plain)
        pairs, points = in_pairs(server, share, top, seconds, plain, False, 1 if args.quick else PAIRS,
                                 calm)
        pairs_oc, points_oc = in_pairs(server, share, max(p["completed"] for p in obeying), seconds,
                                       obeying, True, 1 if args.quick else OBEYING_PAIRS, calm)
        found.append({"row": "overload", "what": "completed calls under ten times the best rate",
                      "target": 0.9, "at_least": True, "unit": "of the best rate",
                      "value": ratio_of(pairs), "pairs": pairs, "best": top, "share": share_of,
                      "phones": PHONES, "curve": plain, "stolen": most_stolen(plain + points)})
        found.append(byes_row(plain + obeying + points + points_oc))
        of_others = statistics.median(p["high"] for p in pairs_oc) / statistics.median(
            p["low"] for p in pairs)
        found.append({"row": "overload-oc", "what": "the same with a peer that obeys RFC 7339, of his own "
                      f"best rate ({of_others:.2f} of the best of those who do not)",
                      "target": 0.9, "at_least": True, "unit": "of the best rate",
                      "value": ratio_of(pairs_oc), "pairs": pairs_oc, "of_others": of_others,
                      "curve": obeying, "stolen": most_stolen(obeying + points_oc)})
        found.append(recovery(server, share, top, seconds, calm))
        found.append(handshakes(rig, server, share, top, seconds, calm))
    finally:
        if share:
            share.lift()  # its end needs more than a small share
        server.close()
        if share:
            share.close()
    blocked = max(p["blocked"] / p["offered"] for p in plain)
    if blocked > 0.01:
        print(f"        the generator had no phone free for up to {blocked:.0%} of the calls it was to "
              "offer: beyond that load the curve says less", flush=True)
    return found


def most_stolen(points):
    return max(p["stolen"] for p in points)


def byes_row(points):
    late, lost, byes = (sum(p[k] for p in points) for k in ("byes_late", "byes_lost", "byes"))
    worst = max(p["bye_worst_ms"] for p in points)
    return {"row": "overload-up", "what": "calls that were up and ended within 1 s of their BYE, under "
            f"all those loads ({late} of {byes} late, the last after {worst / 1000:.1f} s, {lost} never)",
            "target": 0.999, "at_least": True, "unit": "of all", "value": 1 - late / max(1, byes),
            "worst_ms": worst, "stolen": most_stolen(points)}


def handshakes(rig, server, share, best, seconds, calm):
    """Calls at 0.7 of the best rate, while new connections come at a multiple of what would use up
    the whole share."""
    flood = rig.start([rig.tool("bench_load"), "--server", f"127.0.0.1:{server.port}", "--pid",
                       str(server.process.pid), "--domain", server.domain, "--first-user",
                       str(PHONES + 10), "--json", "-"], "flood.load.log", stdin=-1, stdout=-1,
                      text=True)

    def tell(line):
        flood.stdin.write(line + "\n")
        flood.stdin.flush()

    files_left(flood, "the generator of handshakes", FLOOD + 100)
    share.lift()
    tell("register 500")
    alone = rig.read(flood, "500 handshakes", 60)["server_cpu_us"]
    share.lower()
    bear = share.share * 1e6 / alone  # handshakes with REGISTER a second, with nothing else to do
    points = []
    for f in (0, 10) if seconds < SECONDS else (0, 1, 3, 10):
        calm.wait()
        count = int(bear * f * seconds)
        if count:
            tell(f"width {FLOOD}")
            tell(f"rate {max(1, int(bear * f))}")
            tell(f"register {min(count, FLOOD)}")
        r = offer(server, share, [(best * 0.7, seconds)])
        came = {"done": 0, "failed": 0}
        if count:  # what is left of them is not what the next point is about
            share.lift()
            came = rig.read(flood, f"{min(count, FLOOD)} handshakes", 60)
            share.lower()
        points.append({"factor": f, "offered_handshakes": bear * f, "done": came["done"],
                       "failed": came["failed"], "completed": rate(r, "completed", 2, seconds),
                       "offered": rate(r, "offered", 2, seconds),
                       "answer_ms": rate(r, "answer_ms", 2, seconds), "stolen": r["stolen"]})
        print(f"        {bear * f:7.1f} new connections a second: {points[-1]['completed']:.1f} of "
              f"{points[-1]['offered']:.1f} calls a second completed, answered in "
              f"{points[-1]['answer_ms']:.1f} ms; {came['done']} registered later or sooner", flush=True)
    flood.stdin.close()
    rig.stop(flood)
    return {"row": "handshakes", "what": "completed calls while ten times as many handshakes come "
            "as the server could do with nothing else", "target": 0.9, "at_least": True,
            "unit": "of those without", "value": points[-1]["completed"] / points[0]["completed"],
            "bear": bear, "curve": points, "stolen": most_stolen(points)}


# ---- the picture ----

def picture(found, path):
    """offered against completed, as SVG."""
    by = {r["row"]: r for r in found}
    best, w, h, left, base = by["overload"]["best"], 640, 340, 60, 290
    wide = 540

    def x(f):
        return left + f / 10 * wide

    def y(done):
        return base - done / best * 220

    def line(points, colour, dash=""):
        at = " ".join(f"{x(p['offered'] / best):.1f},{y(p['completed']):.1f}" for p in points)
        dots = "".join(f'<circle cx="{x(p["offered"] / best):.1f}" cy="{y(p["completed"]):.1f}" '
                       f'r="3" fill="{colour}"/>' for p in points)
        return f'<polyline points="{at}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>{dots}'

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="{h}" '
           'font-family="sans-serif" font-size="12">', '<rect width="100%" height="100%" fill="white"/>']
    for f in range(0, 11):
        out.append(f'<line x1="{x(f)}" y1="{base}" x2="{x(f)}" y2="{base + 4}" stroke="black"/>'
                   f'<text x="{x(f)}" y="{base + 18}" text-anchor="middle">{f}</text>')
    for part in (0, 0.5, 0.9, 1.0):
        out.append(f'<line x1="{left}" y1="{y(best * part)}" x2="{left + wide}" y2="{y(best * part)}" '
                   f'stroke="#ccc"/><text x="{left - 8}" y="{y(best * part) + 4}" '
                   f'text-anchor="end">{part:.0%}</text>')
    out.append(f'<line x1="{left}" y1="{base}" x2="{left + wide}" y2="{base}" stroke="black"/>')
    out.append(line(by["overload"]["curve"], "#c03030"))
    out.append(line(by["overload-oc"]["curve"], "#3060c0", ' stroke-dasharray="6 3"'))
    out.append(f'<text x="{left}" y="24" font-size="14">Completed calls a second, of the best rate '
               f'({best:.0f})</text>'
               f'<text x="{left}" y="42" fill="#c03030">phones that know nothing of overload control'
               '</text>'
               f'<text x="{left + 300}" y="42" fill="#3060c0">a peer that obeys RFC 7339</text>'
               f'<text x="{left + wide / 2}" y="{base + 38}" text-anchor="middle">offered calls, '
               'multiples of the best rate</text></svg>')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(out) + "\n")
