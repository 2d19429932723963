"""The row of bench/run.py about what fails: how long a caller waits until it rings elsewhere.

A server of another domain that does not serve: its SRV records name two, the first of which refuses
connections, answers no packet, takes the connection and stays mute, or answers 503. From INVITE until
the caller hears that it rings at the second; and once more while Kith knows about the first, with no
connection to either left. Then a phone with two flows (RFC 5626) whose first is cut, and that is
called at that moment.

It borrows phones, DNS and certificates from tests/e2e, and a network namespace of its own (root).
"""
import argparse
import json
import pathlib
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "tests" / "e2e"))

import net  # noqa: E402

# kind: what the first server does, the promise in seconds (docs/federation.md section 4)
FIRST = {"refused": ("refuses connections", 1.0), "silent": ("answers no packet", 4.0),
         "mute": ("accepts and stays mute", 4.0), "503": ("answers 503", 1.0)}
LIMIT_SECONDS = 100  # for all of it; a wait inside has 15 s


class FailoverFailure(OSError):
    pass


def rows(rig, args):
    count = 2 if args.quick else 5
    directory = rig.dir / "failover"
    directory.mkdir()
    space = net.Namespace(f"kith-bench-{rig.dir.name[-8:]}")
    try:
        try:
            run = subprocess.run(space.command([sys.executable, __file__, str(directory), rig.tool("kith"),
                                                str(count)]), stdin=subprocess.DEVNULL,
                                 capture_output=True, text=True, timeout=LIMIT_SECONDS)
        except subprocess.TimeoutExpired as why:
            raise FailoverFailure(f"failover: not done within {LIMIT_SECONDS} s") from why
    finally:
        space.remove()
    if run.returncode != 0:
        raise FailoverFailure(f"failover: {run.stderr.strip()[-1500:]}")
    found, made = json.loads(run.stdout), []
    for kind, (words, target) in FIRST.items():
        made.append(row(f"INVITE until it rings at the second server, the first {words}", target,
                        found[kind]["new"]))
        made.append(row(f"the same when that is known of the first ({kind})", 1.0,
                        found[kind]["known"]))
    made.append(row("a phone's first flow is cut: until a new call rings over its second", 1.0,
                    found["flows"]))
    return made


def row(what, target, took):
    return {"row": "failover", "what": what, "target": target, "unit": "s",
            "value": statistics.median(took), "spread": [min(took), max(took)], "all": took}


# ---- inside the namespace ----


def main():
    import rig as bench
    from authority import Authority
    from cases_peers import A4, A6, Domain, publish
    from zone import Zone

    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("directory", type=pathlib.Path)
    p.add_argument("kith")
    p.add_argument("count", type=int)
    args = p.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    r = bench.Rig(args.directory, args.kith)
    try:
        ca, zone = Authority(r), Zone()
        publish(zone, "a.test", A4, A6)
        dead = foreign_domains(r, ca, zone, args.count)
        zone.start()
        a = Domain(r, ca, "a.test", (A4, A6)).start("alice", "bob")
        alice, found = a.phone("alice"), {}
        for kind, names in dead.items():
            found[kind] = {"new": [], "known": []}
            for name in names:
                for when in ("new", "known"):
                    found[kind][when].append(ringing(a, alice, name))
        found["flows"] = flows(r, a, alice, A6, args.count)
        print(json.dumps(found))
    except bench.Failure as why:
        print(why, file=sys.stderr)
        return 1
    finally:
        r.close()
    return 0


def foreign_domains(r, ca, zone, count):
    """{kind: [domain]}: each has a first server of its own, so that nothing is known of it."""
    names = {kind: [f"k{kind}-{i}.test" for i in range(count)] for kind in FIRST}
    every = [n for of in names.values() for n in of]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*ca.certificate("foreign", [f"URI:sip:{n}" for n in every]))
    address, host = {}, 100
    for name in ["good.test", *every]:
        address[name], host = f"203.0.113.{host}", host + 1
        net.ip("addr", "add", f"{address[name]}/32", "dev", "lo")
        zone.host(f"first.{name}", address[name])
    serve(r, address["good.test"], context, ((180, "Ringing"), (486, "Busy Here")))
    for kind, of in names.items():
        for name in of:
            zone.domain(name, [f"first.{name}", "first.good.test"])
            if kind == "503":
                serve(r, address[name], context, ((503, "Service Unavailable"),))
            elif kind != "refused":
                deaf(address[name], full=kind == "silent")
    return names


DEAF = []  # sockets that stay


def deaf(at, full):
    """Takes connections and never says a word; with its queue full, SYNs get no answer either."""
    from rig import TLS_PORT, Failure
    s = socket.socket()
    s.bind((at, TLS_PORT))
    s.listen(0 if full else 16)
    DEAF.append(s)
    if not full:
        return
    for _ in range(3):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex((at, TLS_PORT))
        DEAF.append(filler)
    with socket.socket() as probe:
        probe.settimeout(0.3)
        try:
            probe.connect((at, TLS_PORT))
        except TimeoutError:
            return
    raise Failure(f"{at} was to be silent, and takes connections")


def serve(r, at, context, answers):
    """A SIP server that answers each INVITE so, and closes the connection after the ACK."""
    from phone import Phone
    from rig import TLS_PORT

    class End(Phone):
        """Its end of a connection that was made to it."""

        def _connect(self, accepted, *_):
            return accepted

    def talk(plain):
        try:
            with context.wrap_socket(plain, server_side=True) as s, \
                    End(r, s, "bob@foreign.test") as end:
                while message := end.receive(60):
                    if message.method == "ACK":
                        return
                    for status, words in answers if message.method == "INVITE" else ():
                        end.answer(message, status, words)
        except OSError:
            pass  # the other side gave that connection up

    def accept():
        while True:
            plain, _ = listener.accept()
            threading.Thread(target=talk, args=(plain,), daemon=True).start()

    listener = socket.socket()
    listener.bind((at, TLS_PORT))
    listener.listen(16)
    threading.Thread(target=accept, daemon=True).start()


def ringing(a, alice, name):
    """Seconds from INVITE to 180; no connection to the other domain is left then."""
    from phone import keyed
    from rig import wait
    began = time.monotonic()
    call = alice.invite(f"bob@{name}", keyed())
    call.expect(180, 15)
    took = time.monotonic() - began
    call.expect(486, 15)
    wait(lambda: a.kith.status()["connects_up"] == 0, 15, f"the connections to {name} to be closed")
    return took


def flows(r, a, alice, second_host, count):
    from cases_faults import cut
    from phone import Phone, keyed

    def flow(host, reg_id):
        p = Phone(r, a.kith, "bob@a.test", a.secrets["bob"], host=host)
        p.instance = "<urn:uuid:00000000-0000-4000-8000-000000000007>"
        p.register(contact=f"{p.contact};reg-id={reg_id}")
        return p

    def rings(at):
        began = time.monotonic()
        call = alice.invite("bob@a.test", keyed())
        request = at.expect("INVITE", 15)
        at.answer(request, 180, "Ringing")
        call.expect(180, 15)
        took = time.monotonic() - began
        at.answer(request, 486, "Busy Here")
        call.expect(486, 15)
        return took

    second, took = flow(second_host, 2), []
    for _ in range(count):
        first = flow(a.at[0], 1)
        rings(first)  # the newest is asked: else what follows would prove nothing
        cut(first.local[1])
        took.append(rings(second))
    return took


if __name__ == "__main__":
    sys.exit(main())
