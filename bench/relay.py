"""The relay beside coturn and beside a floor (bench/relay/floor.c): one client for all three.

Servers have one worker each, on the first core; the client has the second. A figure is the median of
the ratios of neighbouring runs, as in run.py; what is counted is the server's CPU time, but for
the packets a second, which are by the clock and say nothing on a machine that does other things.
"""
import json
import os
import random
import re
import shutil
import socket
import statistics
import subprocess
import time

DOMAIN = "bench.test"
CLIENTS = 50
JOB_SECONDS = 90  # no job takes longer


class RelayFailure(OSError):
    pass


def free_udp_port():
    """Below the ports that kernels and relays choose from: the peer's is bound anew by each job."""
    while True:
        port = random.randrange(20000, 32768)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def pinned(core, args):
    """On a core of its own, where there are two."""
    if (os.cpu_count() or 1) < 2 or not shutil.which("taskset"):
        return [str(a) for a in args]
    return ["taskset", "-c", str(core), *[str(a) for a in args]]


class Relay:
    """A server that relays, and how the client comes in."""

    def __init__(self, rig, name, args, port, peer, who, cores=True):
        self.rig, self.name, self.port, self.peer, self.who = rig, name, port, peer, who
        self.process = rig.start(pinned(0, args) if cores else [str(a) for a in args], f"{name}.log")
        self.wait()

    def wait(self):
        """Until it answers a Binding request."""
        request = bytes.fromhex("000100002112a442") + b"are you up.."
        end = time.monotonic() + 20
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(0.2)
            while self.name != "floor":
                if time.monotonic() > end or self.process.poll() is not None:
                    raise RelayFailure(f"{self.name} does not answer")
                try:
                    s.sendto(request, ("127.0.0.1", self.port))
                    if s.recv(2048)[8:20] == request[8:]:
                        return
                except (socket.timeout, ConnectionRefusedError):
                    time.sleep(0.05)
        time.sleep(0.3)

    def do(self, *job, core=True):
        args = [load_tool(self.rig), "--server",
                self.port, "--peer", self.peer, "--pid", self.process.pid, *self.who, *job]
        run = subprocess.run(pinned(1, args) if core else [str(a) for a in args],
                             capture_output=True, text=True, timeout=JOB_SECONDS)
        if run.returncode != 0:
            raise RelayFailure(f"{self.name}: {job}: {run.stderr.strip()[-300:]}")
        return json.loads(run.stdout)

    def close(self):
        self.rig.stop(self.process)


def load_tool(rig):
    return rig.build / "bench" / "relay" / "bench_relay_load"


def start_floor(rig):
    port, peer = free_udp_port(), free_udp_port()
    return Relay(rig, "floor", [rig.build / "bench" / "relay" / "bench_relay_floor", port, peer,
                                CLIENTS], port, peer, ["--plain"])


def start_kith(rig, workers=1):
    kith, data, port = rig.build / "kith", rig.dir / "kith-relay", free_udp_port()
    if not data.exists():
        data.mkdir(mode=0o700)
    conf = rig.dir / "kith-relay.conf"
    conf.write_text(f"domain = {DOMAIN}\nworkers = {workers}\n[listen]\ntls = 127.0.0.1:0\n[tls]\n"
                    f"certificate = {rig.cert}\nkey = {rig.key}\n[turn]\nlisten = 127.0.0.1:{port}\n"
                    "relay = 127.0.0.1\nallow = 127.0.0.0/8\nallocations = 20000\n"
                    "per_account = 10000\nbytes_per_second = 0\n[log]\nlevel = warn\n")
    people = rig.dir / "kith-relay.users"
    with open(people, "w") as f:
        subprocess.run([rig.tool("bench_load"), "--domain", DOMAIN, "users", "1"], stdout=f, check=True)
    subprocess.run([kith, "user", "import", people, "--data", data], capture_output=True, check=False)
    aor = people.read_text().split()[0].split(",")[0]
    said = subprocess.run([kith, "turn", "credential", aor, "--for", "2h", "--data", data],
                          capture_output=True, text=True, check=False)
    name = re.search(r"^username +(\S+)$", said.stdout, re.M)
    word = re.search(r"^password +(\S+)$", said.stdout, re.M)
    if not name or not word:
        raise RelayFailure(f"no credential for {aor}: {said.stdout}{said.stderr}")
    return Relay(rig, "kith", [kith, "serve", "--config", conf, "--data", data], port,
                 free_udp_port(), ["--user", name.group(1), "--password", word.group(1)],
                 cores=workers == 1)


def start_coturn(rig):
    turnserver = shutil.which("turnserver")
    if not turnserver:
        raise RelayFailure("no turnserver: install Debian's package coturn")
    port = free_udp_port()
    return Relay(rig, "coturn", [
        turnserver, "-n", "--log-file", rig.dir / "coturn.own.log", "-L", "127.0.0.1", "-E",
        "127.0.0.1", "-p", port, "--no-tls", "--no-dtls", "--no-cli", "--lt-cred-mech", "-u",
        "alice:secret", "-r", DOMAIN, "--allow-loopback-peers", "--relay-threads", 1, "--pidfile",
        rig.dir / "coturn.pid", "--db", rig.dir / "coturn.db"], port, free_udp_port(),
        ["--user", "alice", "--password", "secret"])


def rounds(servers, count, *job):
    """Each job on each server in turn; the first round does not count."""
    got = {s.name: [] for s in servers}
    for i in range(count + 1):
        for s in servers if i % 2 else servers[::-1]:
            found = s.do(*job)
            if found.get("lost", 0) > found["packets"] / 1000 and s.name == "kith":
                raise RelayFailure(f"kith lost {found['lost']} of {found['packets']} packets")
            if i:
                got[s.name].append(found)
    return got


def each_us(found):
    return [f["server_cpu_us"] / f["packets"] for f in found]


def ratio(name, what, target, upper, lower, unit, upward=False, **more):
    values = [u / v for u, v in zip(upper, lower)]
    return {"row": name, "what": what, "target": target, "unit": unit, "at_least": upward,
            "value": statistics.median(values), "spread": [min(values), max(values)], **more}


def row_packets(rig, args):
    # Many short rounds: what else the machine does meets all three, and a bad moment is one of many.
    count, times = (30000, args.pairs) if args.quick else (60000, 4 * args.pairs)
    servers = []
    try:
        for start in (start_floor, start_kith, start_coturn):
            servers.append(start(rig))
        got = rounds(servers, times, "up", CLIENTS, count, 256)
    finally:
        for s in servers:
            s.close()
    us = {name: each_us(found) for name, found in got.items()}
    rate = {name: [1e6 * f["packets"] / f["us"] for f in found] for name, found in got.items()}
    us_of = {f"{name}_us": statistics.median(v) for name, v in us.items()}
    what = "relay a packet of 172 bytes one way, channel data, 50 allocations"
    said = ", ".join(f"{n} {statistics.median(v):.0f}" for n, v in rate.items())
    return [ratio("relay", what, 1.2, us["kith"], us["floor"], "times the floor's CPU", **us_of),
            ratio("relay", what, 0.75, us["kith"], us["coturn"], "times coturn's CPU"),
            ratio("relay", f"packets a second without loss ({said})", 1.3, rate["kith"],
                  rate["coturn"], "times coturn's", True),
            ratio("relay", "packets a second without loss", 0.8, rate["kith"], rate["floor"],
                  "times the floor's", True)]


def row_bursts(rig, args):
    servers = []
    try:
        for start in (start_kith, start_coturn):
            servers.append(start(rig))
        got = rounds(servers, args.pairs, "bursts", 300 if args.quick else 2000)
    finally:
        for s in servers:
            s.close()
    us = {name: each_us(found) for name, found in got.items()}
    return ratio("relay", "a packet of a stream in bursts of 20, both ways", 0.5, us["kith"],
                 us["coturn"], "times coturn's CPU", kith_us=statistics.median(us["kith"]),
                 coturn_us=statistics.median(us["coturn"]))


def row_open(rig, args):
    """Every run has a server of its own: what memory one allocation takes is seen once."""
    count = 1000 if args.quick else 10000
    found = {"kith": [], "coturn": []}
    for _ in range(1 if args.quick else 3):
        for start in (start_kith, start_coturn):
            s = start(rig)
            try:
                found[s.name].append(s.do("open", count, 64))
            finally:
                s.close()
    failed = sum(f["failed"] for f in found["kith"])
    if failed:
        raise RelayFailure(f"{failed} of {count} allocations were not made")
    rate = {n: [1e6 * f["count"] / f["server_cpu_us"] for f in v] for n, v in found.items()}
    clock = {n: statistics.median(1e6 * f["count"] / f["us"] for f in v) for n, v in found.items()}
    said = ", ".join(f"{n} {v:.0f}" for n, v in clock.items())
    return [{"row": "relay", "what": f"memory of an idle allocation among {count}, without its socket",
             "target": 1.5, "unit": "kB",
             "value": statistics.median(f["rss_grown"] / f["count"] for f in found["kith"]) / 1000},
            ratio("relay", f"{count} allocations made, none failed, in a second of the server's CPU "
                  f"(by the clock: {said})", 3.0, rate["kith"], rate["coturn"], "times coturn's",
                  True)]


def row_flood(rig, args):
    s = start_kith(rig, 2)
    try:
        got = s.do("flood", CLIENTS, 1 if args.quick else 5, 100000, 5000, core=False)
    finally:
        s.close()
    kept = got["storm_got"] / max(got["calm_got"], 1)
    return [{"row": "relay", "what": "5000 packets a second beside 100,000 strangers a second",
             "target": 0.95, "at_least": True, "unit": "of what passes without them", "value": kept},
            {"row": "relay", "what": "memory that strangers cost", "target": 64, "unit": "kB",
             "value": got["rss_grown"] / 1000}]


def steps(rig, args):
    for row in (row_packets, row_bursts, row_open, row_flood):
        yield lambda row=row: row(rig, args)
