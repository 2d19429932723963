"""The rows of bench/run.py about too much load: a server held to a small share of one core, so that
the generator on the same machine can offer ten times what it can bear.

Calls: phones that know nothing of overload control, each with an open connection; a caller waits 3 s
and then gives up, a call lasts 1 s. What counts is completed calls a second. The same with a peer
that obeys RFC 7339. New connections: calls at 0.7 of the best rate while handshakes flood in.
"""
import json
import os
import pathlib
import statistics
import time

SHARE = 0.05  # of one core
PERIOD_US = 50000
PATIENCE_MS, HOLD_MS = 3000, 1000
FACTORS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0)


class Share:
    """Holds a process to a share of one core by its own control group (version 1 or 2)."""

    def __init__(self, pid, share):
        v1, v2 = pathlib.Path("/sys/fs/cgroup/cpu"), pathlib.Path("/sys/fs/cgroup")
        self.is_v1 = (v1 / "cpu.cfs_quota_us").exists()
        self.home = (v1 if self.is_v1 else v2) / f"kith-bench-{pid}"
        if not self.is_v1:
            (v2 / "cgroup.subtree_control").write_text("+cpu")
        self.home.mkdir()
        (self.home / "cgroup.procs").write_text(str(pid))
        self.set(share)

    def set(self, share):
        """None: no limit."""
        quota = int(PERIOD_US * share) if share else -1
        if self.is_v1:
            (self.home / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (self.home / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (self.home / "cpu.max").write_text(f"{quota if share else 'max'} {PERIOD_US}")

    def close(self):
        """When the process has ended."""
        for _ in range(50):
            try:
                self.home.rmdir()
                return
            except OSError:
                time.sleep(0.1)


def rate(result, name, begin, end):
    return statistics.mean(result[name][begin:end])


def offer(server, phases):
    """phases: [(calls a second, seconds)]"""
    return server.do("offer", ",".join(f"{r:.2f}:{s}" for r, s in phases))


def best_rate(server, seconds):
    """The best completed-call rate that any offered rate gives."""
    best, offered, beyond = 0, 40.0, 0
    while beyond < 2:
        r = offer(server, [(offered, seconds)])
        done = rate(r, "completed", 2, seconds)
        best = max(best, done)
        beyond = beyond + 1 if done < 0.85 * offered else 0
        offered *= 1.25
    return best


def curve(server, best, seconds, factors=FACTORS):
    points = []
    for f in factors:
        r = offer(server, [(best * f, seconds)])
        points.append({"factor": f, "offered": rate(r, "offered", 2, seconds),
                       "completed": rate(r, "completed", 2, seconds),
                       "refused": rate(r, "refused", 2, seconds),
                       "given_up": rate(r, "given_up", 2, seconds),
                       "shed": rate(r, "shed", 2, seconds),
                       "blocked": rate(r, "blocked", 2, seconds),
                       "answer_ms": rate(r, "answer_ms", 2, seconds),
                       "byes": r["byes"], "byes_late": r["byes_late"],
                       "bye_worst_ms": r["bye_worst_ms"], "own_cpu": r["own_cpu"],
                       "own_lag_ms": r["own_lag_ms"]})
        print(f"        {f:5.2f} x: offered {points[-1]['offered']:8.1f}, completed "
              f"{points[-1]['completed']:7.1f} a second, refused {points[-1]['refused']:6.1f}, "
              f"given up {points[-1]['given_up']:6.1f}, blocked {points[-1]['blocked']:6.1f}, held back "
              f"{points[-1]['shed']:6.1f}, answered in {points[-1]['answer_ms']:6.1f} ms, "
              f"{r['byes_late']} of {r['byes']} BYEs late", flush=True)
    return points


def recovery(server, best, seconds):
    """Seconds after the end of a flood until calls at 0.7 of the best rate are all served again."""
    after = 10
    r = offer(server, [(best * 10, seconds), (best * 0.7, after)])
    for s in range(after):
        if all(r["answered"][seconds + i] >= 0.95 * r["offered"][seconds + i]
               for i in range(s, after)):
            return s
    return after


def rows(rig, start_kith, args):
    """The rows; what the curves hold is in them for the picture."""
    phones, seconds = (3000, 5) if args.quick else (10000, 7)
    share_of = SHARE / 2 if args.quick else SHARE
    server = start_kith(rig, "kith-overload", users=phones + 4000, workers=1)
    share = Share(server.process.pid, None)
    found = []
    try:
        server.do("open", phones)
        server.set("patience", PATIENCE_MS)
        server.set("hold", HOLD_MS)
        share.set(share_of)
        time.sleep(3)  # what opening left to do
        best = best_rate(server, seconds)
        print(f"        best rate at {share_of:.0%} of a core: {best:.1f} calls a second", flush=True)
        plain = curve(server, best, seconds)
        top = max(best, *(p["completed"] for p in plain))
        late = sum(p["byes_late"] for p in plain)
        found.append({"row": "overload", "what": "completed calls under ten times the best rate",
                      "target": 0.9, "at_least": True, "unit": "of the best rate",
                      "value": plain[-1]["completed"] / top, "best": top, "share": share_of,
                      "curve": plain})
        found.append({"row": "overload-up", "what": "calls that were up and ended within 1 s of "
                      "their BYE, under all those loads", "target": 0.999, "at_least": True,
                      "unit": "of all", "value": 1 - late / max(1, sum(p["byes"] for p in plain))})
        server.set("control", 1)
        obeying = curve(server, best, seconds, (1.0, 3.0, 10.0))
        server.set("control", 0)
        found.append({"row": "overload-oc", "what": "the same with a peer that obeys RFC 7339",
                      "target": 0.9, "at_least": True, "unit": "of the best rate",
                      "value": obeying[-1]["completed"] / top, "curve": obeying})
        found.append({"row": "recovery", "what": "until calls are all served again after a flood of "
                      "ten times the best rate", "target": 5, "unit": "s",
                      "value": recovery(server, best, seconds)})
        found.append(handshakes(rig, server, share, share_of, top, seconds, phones))
    finally:
        server.close()
        share.close()
    return found


def handshakes(rig, server, share, share_of, best, seconds, phones):
    """Calls at 0.7 of the best rate, while new connections come at a multiple of what would use up
    the whole share."""
    flood = rig.start([rig.tool("bench_load"), "--server", f"127.0.0.1:{server.port}", "--pid",
                       str(server.process.pid), "--domain", server.domain, "--first-user",
                       str(phones + 10), "--json", "-"], "flood.load.log", stdin=-1, stdout=-1,
                      text=True)

    def tell(line):
        flood.stdin.write(line + "\n")
        flood.stdin.flush()

    share.set(None)
    tell("register 500")
    alone = json.loads(flood.stdout.readline())["server_cpu_us"]
    share.set(share_of)
    bear = share_of * 1e6 / alone  # handshakes with REGISTER a second, with nothing else to do
    points = []
    for f in (0, 1, 3, 10):
        count = int(bear * f * seconds)
        if count:
            tell("width 3000")
            tell(f"rate {max(1, int(bear * f))}")
            tell(f"register {min(count, 3500)}")
        r = offer(server, [(best * 0.7, seconds)])
        came = {"done": 0, "failed": 0}
        if count:
            came = json.loads(flood.stdout.readline())
        points.append({"factor": f, "offered_handshakes": bear * f, "done": came["done"],
                       "failed": came["failed"], "completed": rate(r, "completed", 2, seconds),
                       "offered": rate(r, "offered", 2, seconds),
                       "answer_ms": rate(r, "answer_ms", 2, seconds)})
        print(f"        {bear * f:7.1f} new connections a second: {points[-1]['completed']:.1f} of "
              f"{points[-1]['offered']:.1f} calls a second completed, answered in "
              f"{points[-1]['answer_ms']:.1f} ms; {came['done']} registered in the end", flush=True)
    flood.stdin.close()
    rig.stop(flood)
    return {"row": "handshakes", "what": "completed calls while ten times as many handshakes come "
            "as the server could do with nothing else", "target": 0.9, "at_least": True,
            "unit": "of those without", "value": points[-1]["completed"] / points[0]["completed"],
            "bear": bear, "curve": points}


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
