#!/usr/bin/env python3
"""make bench: Kith beside the floor, in one run, as ratios of the server's CPU time.

Both servers are started with the same certificate and two workers and stay up for the whole run;
jobs alternate between them (floor, Kith, floor, Kith ...), so that whatever else the machine does
meets both. A row's figure is the median of the ratios of the pairs. Nothing leaves loopback.

  bench/run.py                       build what is needed (preset release) and run every row
  bench/run.py --only call,memory    some rows (parse register refresh call outbound memory wss page
                                     crowd bindings restart failover overload relay)
  bench/run.py --self                the floor against itself: what the rig adds (should print 1.0)
  bench/run.py --quick               3 pairs and small counts: a look, not a figure
"""
import argparse
import json
import os
import pathlib
import platform
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import failover
import overload
import relay

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOMAIN = "bench.test"
JOB_SECONDS = 300  # no job of the generator takes longer
STOLEN_MAX = 0.05  # of the machine's time, taken by its host; more, and a figure tells of the host

# What others reached on the same kind of machine (two cores, load from the same machine), as
# measured when Kith was designed. Shown for orientation; the targets are ratios of this run.
PEERS = {
    "parse": "sofia-sip 2.9 us, libre 7.7 us, libosip2 8.5 us",
    "register": "Kamailio 6.2-dev without authentication: 634-736 us",
    "refresh": "Kamailio 6.2-dev without authentication: 25 us",
    "call": "Kamailio 6.2-dev without authentication: 341-377 us (5.7 times its floor)",
    "memory": "Kamailio 6.2-dev: 42 kB",
    "wss": "",
    "crowd": "",
    "outbound": "",
    "bindings": "",
}


class Failure(Exception):
    pass


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for_port(port, process, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise Failure(f"{process.args[0]} ended with {process.returncode}")
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise Failure(f"nothing listens on port {port}")


class Rig:
    """Temporary files and processes; ends what it started, and only that."""

    def __init__(self, build, keep):
        self.build, self.keep = build, keep
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="kith-bench-"))
        self.processes = []
        self.prepared = {}  # Kith by name: its port; accounts and settings are in place
        self.cert, self.key = self.dir / "cert.pem", self.dir / "key.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "2", "-subj", f"/CN={DOMAIN}", "-addext",
             f"subjectAltName=DNS:{DOMAIN},DNS:localhost,IP:127.0.0.1", "-keyout", self.key, "-out",
             self.cert], check=True, capture_output=True)

    def tool(self, name):
        for path in (self.build / "bench" / name.removeprefix("bench_") / name, self.build / name):
            if path.exists():
                return str(path)
        raise Failure(f"{name} is not built in {self.build}")

    def start(self, args, log, **more):
        with open(self.dir / log, "ab") as f:
            p = subprocess.Popen(args, stdout=more.pop("stdout", f), stderr=f, **more)
        self.processes.append(p)
        return p

    def stop(self, process):
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process in self.processes:
            self.processes.remove(process)

    def read(self, process, what, seconds=JOB_SECONDS):
        """The next line that it prints; what comes in one go is one line."""
        if not select.select([process.stdout], [], [], seconds)[0]:
            process.kill()
            raise Failure(f"{what}: no result within {seconds:.0f} s")
        line = process.stdout.readline()
        if not line:
            raise Failure(f"{what}: the generator ended; see its log")
        return json.loads(line)

    def close(self):
        for p in list(self.processes):
            self.stop(p)
        if self.keep:
            print(f"kept: {self.dir}")
        else:
            shutil.rmtree(self.dir, ignore_errors=True)


class Server:
    """A server and the load generator that belongs to it."""

    def __init__(self, rig, name, process, port):
        self.rig, self.name, self.process, self.port = rig, name, process, port
        self.domain = DOMAIN
        wait_for_port(port, process, 180)
        self.load = rig.start(
            [rig.tool("bench_load"), "--server", f"127.0.0.1:{port}", "--pid", str(process.pid),
             "--domain", DOMAIN, "--json", "-"], f"{name}.load.log", stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)

    def set(self, verb, value):
        self.load.stdin.write(f"{verb} {value}\n")
        self.load.stdin.flush()

    def do(self, verb, count, seconds=JOB_SECONDS):
        what = f"{self.name}: {verb} {count}"
        try:
            self.set(verb, count)
            result = self.rig.read(self.load, what, seconds)
        except (Failure, OSError) as why:
            raise Failure(f"{why if isinstance(why, Failure) else what + ': ' + str(why)}\n" +
                          self.tail()) from why
        if not result.get("ok", True):
            raise Failure(f"{what}: {json.dumps(result)}\n" + self.tail())
        return result

    def tail(self):
        text = ""
        for log in (f"{self.name}.load.log", f"{self.name}.log"):
            path = self.rig.dir / log
            if path.exists():
                text += f"--- {log}\n" + path.read_text(errors="replace")[-1500:]
        return text

    def close(self):
        try:
            self.load.stdin.close()
        except OSError:
            pass  # it has ended by itself
        try:
            self.load.wait(30)
        except subprocess.TimeoutExpired:
            self.load.kill()
            self.load.wait()
        if self.load in self.rig.processes:
            self.rig.processes.remove(self.load)
        self.load.stdout.close()
        self.rig.stop(self.process)

    def kill(self):
        """kill -9."""
        self.process.kill()
        self.close()


def start_floor(rig, name="floor", workers=2):
    port = free_port()
    p = rig.start([rig.tool("bench_floor"), "--listen", f"127.0.0.1:{port}", "--cert", rig.cert,
                   "--key", rig.key, "--workers", str(workers)], f"{name}.log")
    return Server(rig, name, p, port)


def start_kith(rig, name="kith", users=2200, prepare=None, workers=2):
    """A Kith as an operator would run it; one that has run under that name has its data still."""
    if name not in rig.prepared:
        rig.prepared[name] = prepare_kith(rig, name, users, prepare, workers)
    p = rig.start([str(rig.build / "kith"), "serve", "--config", rig.dir / f"{name}.conf", "--data",
                   rig.dir / name], f"{name}.log")
    return Server(rig, name, p, rig.prepared[name])


def prepare_kith(rig, name, users, prepare, workers):
    """Only addresses, names and the certificate are given."""
    kith, data, port = str(rig.build / "kith"), rig.dir / name, free_port()
    data.mkdir(mode=0o700)
    conf = rig.dir / f"{name}.conf"
    conf.write_text(f"domain = {DOMAIN}\nworkers = {workers}\n[listen]\ntls = 127.0.0.1:{port}\n"
                    f"[tls]\ncertificate = {rig.cert}\nkey = {rig.key}\n[log]\nlevel = warn\n")
    people = rig.dir / f"{name}.users"
    with open(people, "w") as f:
        subprocess.run([rig.tool("bench_load"), "--domain", DOMAIN, "users", str(users)], stdout=f,
                       check=True)
    run = subprocess.run([kith, "user", "import", people, "--data", data], capture_output=True,
                         text=True)
    if run.returncode != 0:
        raise Failure(f"kith user import: {run.stdout}{run.stderr}")
    if prepare:
        prepare(data)
    return port


def pairs(a, b, verb, count, rounds):
    """CPU microseconds each of a and b in alternation, after one round that does not count."""
    left, right = [], []
    for i in range(rounds + 1):
        first, second = (a, b) if i % 2 else (b, a)
        got = {s.name: s.do(verb, count)["server_cpu_us"] for s in (first, second)}
        if i:
            left.append(got[a.name])
            right.append(got[b.name])
    return left, right


def ratio_row(name, what, target, floor, kith, verb, count, rounds):
    low, high = pairs(floor, kith, verb, count, rounds)
    ratios = [k / f for f, k in zip(low, high)]
    return {"row": name, "what": what, "target": target, "unit": "times the floor",
            "value": statistics.median(ratios), "spread": [min(ratios), max(ratios)],
            "floor_us": statistics.median(low), "kith_us": statistics.median(high)}


def grow(server, count):
    """Bytes of RSS per idle registered connection, past the first 200."""
    server.do("open", 200)
    before = server.do("rss", 300)["rss"]
    server.do("open", count)
    return (server.do("rss", 1000)["rss"] - before) / count


def row_outbound(rig, make_kith, args):
    """Phones that register flows; calls to a GRUU, with a GRUU as Contact on both sides."""
    pair = start_floor(rig, "floor-outbound"), make_kith(rig, "kith-outbound")
    try:
        for s in pair:
            s.name = s.name.partition("-")[0]
            s.set("outbound", 1)
            s.set("rate", args.rate)
            s.do("open", 200)
        return ratio_row("outbound", "a whole call with outbound and GRUU in use", 2.0, *pair,
                         "calls", 400 if args.quick else 4000, args.pairs)
    finally:
        for s in pair:
            s.close()


def row_memory(rig, make_kith, args):
    count = 1000 if args.quick else 15000
    values = {}
    for name, make in (("floor", start_floor), ("kith", make_kith)):
        more = {"users": count + 300} if make is start_kith else {}
        server = make(rig, f"{name}-memory", **more)
        values[name] = grow(server, count)
        server.close()
    return {"row": "memory", "what": "memory per idle registered TLS connection", "target": 16.0,
            "unit": "kB", "value": values["kith"] / 1024, "floor_kb": values["floor"] / 1024,
            "connections": count}


def rows_wss(rig, args):
    """A browser's connection beside a phone's: TLS, WebSocket, REGISTER; and what it holds idle."""
    count = 1000 if args.quick else 10000
    tls, wss = start_kith(rig, "kith-by-tls", users=count + 500), \
        start_kith(rig, "kith-by-wss", users=count + 500)
    try:
        wss.set("wss", 1)
        for s in (tls, wss):
            s.do("open", 200)
        low, high = pairs(tls, wss, "register", 200 if args.quick else 1000, args.pairs)
        ratios = [h / t for t, h in zip(low, high)]
        bytes_of = {s.name: grow(s, count) for s in (tls, wss)}
    finally:
        for s in (tls, wss):
            s.close()
    return [{"row": "wss", "what": "connection and REGISTER over WSS beside TLS", "target": 1.3,
             "unit": "times TLS", "value": statistics.median(ratios),
             "spread": [min(ratios), max(ratios)], "us": {"tls": statistics.median(low), "wss": statistics.median(high)}},
            {"row": "wss", "what": "memory per idle registered WSS connection beside TLS",
             "target": 1.3, "unit": "times TLS",
             "value": bytes_of["kith-by-wss"] / bytes_of["kith-by-tls"],
             "connections": count, "bytes": bytes_of}]


def rows_page(rig, args):
    """The page in Chromium: what a first visit loads, its first paint, and a call's first picture."""
    if not shutil.which("chromium") or not (ROOT / "web/node_modules/playwright-core").is_dir():
        print("left out: the page; it needs chromium, and npm ci in web/")
        return []
    run = subprocess.run(["node", ROOT / "bench/page.mjs", "--kith", rig.tool("kith"), "--rounds",
                          "3" if args.quick else "9"], capture_output=True, text=True,
                         timeout=JOB_SECONDS)
    if run.returncode != 0:
        raise Failure(f"bench/page.mjs: {run.stderr.strip()[-400:]}")
    found = json.loads(run.stdout)

    def row(what, key, unit, target, scale=1):
        return {"row": "page", "what": what, "target": target, "unit": unit,
                "value": found[key]["value"] / scale, "browser": found["browser"],
                "spread": [v / scale for v in found[key]["spread"]]}

    return [row("the page's first visit, bytes on the wire", "bytes", "kB", 120, 1000),
            row("from its address to the first paint", "paint_ms", "ms", 500),
            row("from a press to the first picture of a video call", "call_ms", "ms", 2000)]


def row_crowd(rig, make_kith, args):
    """What 18,000 connections add to a call, beside what they add to the floor's."""
    many, calls = (2000, 1000) if args.quick else (18000, 3000)
    servers = {}
    try:
        for kind, make in (("floor", start_floor), ("kith", make_kith)):
            for crowd in (100, many):
                more = {"users": crowd + 10} if make is start_kith else {}
                s = make(rig, f"{kind}-{crowd}", **more)
                servers[kind, crowd] = s
                s.do("open", crowd)
        ratios, each = [], {key: [] for key in servers}
        for i in range(args.pairs + 1):
            got = {}
            keys = list(servers) if i % 2 else list(servers)[::-1]
            for key in keys:
                got[key] = servers[key].do("calls", calls)["server_cpu_us"]
            if i:
                own = got["kith", many] / got["kith", 100]
                ratios.append(own / (got["floor", many] / got["floor", 100]))
                for key, us in got.items():
                    each[key].append(us)
    finally:
        for s in servers.values():
            s.close()
    return {"row": "crowd", "what": f"a call with {many} connections against one with 100",
            "target": 1.10, "unit": "times the floor's own increase",
            "value": statistics.median(ratios), "spread": [min(ratios), max(ratios)],
            "us": {f"{k} {n}": statistics.median(v) for (k, n), v in each.items()}}


def start_filled(rig, count):
    """A Kith with so many people of one binding each beside its own 210."""
    def fill(data):
        subprocess.run([rig.tool("bench_fill"), str(data), str(count)], check=True,
                       stdout=subprocess.DEVNULL)

    return start_kith(rig, f"kith-{count}", users=210, prepare=fill)


def many_bindings(args):
    return 100_000 if args.quick else 1_000_000


def row_bindings(rig, args):
    """A call with a million bindings in the table against one with a thousand."""
    many, servers = many_bindings(args), []
    try:
        for count in (1000, many):
            servers.append(start_filled(rig, count))
            servers[-1].do("open", 200)
        low, high = pairs(*servers, "calls", 4000, args.pairs)
    finally:
        for s in servers:
            s.close()
    ratios = [b / a for a, b in zip(low, high)]
    return {"row": "bindings", "what": f"a call with {many} bindings against one with 1000",
            "target": 1.10, "unit": "times", "value": statistics.median(ratios),
            "spread": [min(ratios), max(ratios)], "few_us": statistics.median(low),
            "many_us": statistics.median(high)}


def row_restart(rig, args):
    """kill -9, start again with the same data: until a new phone has registered over TLS."""
    many, took, cpu = many_bindings(args), [], []
    server = start_filled(rig, many)
    try:
        for _ in range(3):
            server.do("open", 1)
            server.kill()
            begun = time.monotonic()
            server = start_filled(rig, many)
            server.do("open", 1)
            took.append(time.monotonic() - begun)
            cpu.append(cpu_seconds(server.process.pid))
    finally:
        server.close()
    return {"row": "restart", "what": f"kill -9 and start with {many} stored bindings, until a phone "
            "has registered", "target": 2.0, "unit": "s", "value": statistics.median(took),
            "spread": [min(took), max(took)], "cpu_s": statistics.median(cpu)}


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def row_lookup(rig, args):
    run = subprocess.run([rig.tool("bench_lookup"), "--json",
                          "100000" if args.quick else "1000000"],
                         check=True, capture_output=True, text=True)
    found = json.loads(run.stdout)
    return {"row": "lookup", "what": f"look-up of one among {found['bindings']} bindings",
            "target": 1.0, "unit": "us", "value": found["us"]}


def row_parse(rig):
    run = subprocess.run([rig.tool("bench_parse"), "--json"], capture_output=True, text=True)
    if run.returncode != 0:
        raise Failure(f"bench_parse: {run.stderr.strip()}")
    found = json.loads(run.stdout)
    return {"row": "parse", "what": "parse the 1,125-byte INVITE", "target": 5.0, "at_least": True,
            "unit": "times faster than sofia-sip", "value": found["sofia_us"] / found["kith_us"],
            "us": {k.removesuffix("_us"): v for k, v in found.items() if k.endswith("_us")}}


def show(row):
    upward = row.get("at_least", False)
    reached = row["value"] >= row["target"] if upward else row["value"] <= row["target"]
    verdict = "PASS" if reached else "MISS"
    row["verdict"] = verdict
    spread = "  (%.2f to %.2f)" % tuple(row["spread"]) if "spread" in row else ""
    print(f"{verdict}  {row['what']}: {row['value']:.2f} {row['unit']}{spread}; "
          f"target at {'least' if upward else 'most'} {row['target']}")
    for key in ("floor_us", "kith_us", "coturn_us", "floor_kb", "few_us", "many_us", "cpu_s"):
        if key in row:
            print(f"      {key.replace('_', ', in '):14} {row[key]:10.2f}")
    for key, us in row.get("us", {}).items():
        print(f"      {key:14} {us:10.2f} us")
    if row["stolen"] > STOLEN_MAX:
        print(f"      the host took {row['stolen']:.0%} of the machine meanwhile: no figure to keep")
    if PEERS.get(row["row"]):
        print(f"      {PEERS[row['row']]}")
    sys.stdout.flush()


def rows(rig, args):
    wanted = args.only.split(",") if args.only else None
    make_kith = (lambda r, n="kith", **_: start_floor(r, n)) if args.self else start_kith

    def want(name):
        return wanted is None or name in wanted

    if want("parse") and not args.self:
        yield lambda: row_parse(rig)
    pair = None
    speed = [("register", "TLS connect + REGISTER, challenge included", 1.3, "register", 600),
             ("refresh", "REGISTER again on an open connection", 2.0, "refresh", 20000),
             ("call", "a whole call between two TLS connections", 1.8, "calls", 4000)]
    for name, what, target, verb, count in speed:
        if not want(name):
            continue
        if pair is None:
            pair = start_floor(rig), make_kith(rig, "kith")
            for s in pair:
                s.set("rate", args.rate)
                s.do("open", 200)
        n = count // 10 if args.quick else count
        yield lambda n=n, v=verb, t=target, w=what, m=name: ratio_row(m, w, t, *pair, v, n,
                                                                     args.pairs)
    if pair:
        for s in pair:
            s.close()
    if want("outbound"):
        yield lambda: row_outbound(rig, make_kith, args)
    if want("memory"):
        yield lambda: row_memory(rig, make_kith, args)
    if want("wss") and not args.self:
        yield lambda: rows_wss(rig, args)
    if want("page") and not args.self:
        yield lambda: rows_page(rig, args)
    if want("crowd"):
        yield lambda: row_crowd(rig, make_kith, args)
    if want("bindings") and not args.self:
        yield lambda: row_lookup(rig, args)
        yield lambda: row_bindings(rig, args)
    if want("restart") and not args.self:
        yield lambda: row_restart(rig, args)
    if want("failover") and not args.self:
        yield lambda: failover.rows(rig, args)
    if want("overload") and not args.self:
        yield lambda: rows_overload(rig, args)
    if want("relay") and not args.self:
        yield from relay.steps(rig, args)


def rows_overload(rig, args):
    found = overload.rows(rig, start_kith, args)
    at = ROOT / ("build/bench/overload.svg" if args.quick else "docs/overload.svg")
    overload.picture(found, at)
    print(f"      drawn: {at.relative_to(ROOT)}")
    return found


def machine():
    model = ""
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"],
                            capture_output=True, text=True).stdout.strip()
    ssl = subprocess.run(["openssl", "version"], capture_output=True, text=True).stdout.strip()
    return {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release(), "commit": commit,
            "openssl": ssl, "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())}


def build(directory):
    if directory == ROOT / "build" / "release":
        if not (directory / "build.ninja").exists():
            subprocess.run(["cmake", "--preset", "release"], cwd=ROOT, check=True,
                           stdout=subprocess.DEVNULL)
        subprocess.run(["cmake", "--build", "--preset", "release"], cwd=ROOT, check=True,
                       stdout=subprocess.DEVNULL)
    else:
        subprocess.run(["cmake", "--build", directory], check=True, stdout=subprocess.DEVNULL)


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "release")
    p.add_argument("--no-build", action="store_true", help="use what is there")
    p.add_argument("--only", default="", help="rows, separated by commas")
    p.add_argument("--pairs", type=int, default=9)
    p.add_argument("--rate", type=int, default=0, help="operations a second; 0: flat out")
    p.add_argument("--calm", type=int, default=0, metavar="SECONDS",
                   help="before each row and each point of overload: wait at most so long until the "
                        "host leaves the machine alone")
    p.add_argument("--quick", action="store_true")
    p.add_argument("--self", action="store_true")
    p.add_argument("--keep", action="store_true", help="keep logs")
    p.add_argument("--json", action="store_true", help="print the rows as JSON too")
    args = p.parse_args()
    if args.quick:
        args.pairs = min(args.pairs, 3)
    args.build = args.build.resolve()
    if not args.no_build:
        build(args.build)
    if args.self:
        print("the floor against itself: what stands as kith below is a second floor")
    result = {"machine": machine(), "rows": [], "self": args.self, "quick": args.quick}
    m = result["machine"]
    print(f"{m['cpu']}, {m['cores']} cores, Linux {m['kernel']}, {m['openssl']}, {m['commit']}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the rig is closed
    rig, failed = Rig(args.build, args.keep), 0
    try:
        for step in rows(rig, args):
            overload.wait_for_calm(args.calm)
            before = overload.machine_times()
            try:
                made = step()
            except (Failure, OSError, subprocess.CalledProcessError) as why:
                print(f"FAIL  {why}")
                failed += 1
                continue
            whole, stolen, _ = (b - a for a, b in zip(before, overload.machine_times()))
            for row in made if isinstance(made, list) else [made]:
                row.setdefault("stolen", stolen / whole)
                show(row)
                result["rows"].append(row)
    except Failure as why:
        print(f"FAIL  {why}")
        failed += 1
    finally:
        rig.close()
    missed = sum(r["verdict"] == "MISS" for r in result["rows"])
    if not args.self:
        out = ROOT / "build" / "bench" / "latest.json"
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=1) + "\n")
        print(f"written: {out.relative_to(ROOT)}")
    if args.json:
        print(json.dumps(result))
    print(f"{len(result['rows']) - missed} reached, {missed} missed, {failed} failed")
    return 1 if missed or failed else 0


if __name__ == "__main__":
    sys.exit(main())
