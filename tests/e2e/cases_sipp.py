"""SIPp in the legacy lane: plain TCP and UDP, MD5, keyed media."""
import pathlib

from cases import House, test
from rig import DOMAIN, LEGACY_PORT, V4, Failure, have

SCENARIOS = pathlib.Path(__file__).parent / "sipp"


def fields(r, name, *values):
    path = r.dir / f"{name}.csv"
    path.write_text("SEQUENTIAL\n" + ";".join(values) + "\n")
    return path


def proof(user, secret):
    return f"[authentication username={user} password={secret}]"


def sipp(r, name, scenario, transport, data, uri, *more, calls=1):
    """`uri`: what the digest is over; SIPp would take the server's address, which is not what it
    asks for (RFC 7616 3.4.6 wants them equal)."""
    port = r.port()
    return ["sipp", f"{V4}:{LEGACY_PORT}", "-sf", SCENARIOS / f"{scenario}.xml", "-i", V4,
            "-p", str(port), "-t", "t1" if transport == "tcp" else "u1", "-s", DOMAIN,
            "-inf", data, "-m", str(calls), "-nostdin", "-trace_msg", "-message_file",
            r.dir / f"{name}.messages", "-trace_err", "-error_file", r.dir / f"{name}.errors",
            "-timeout", "40s", "-auth_uri", uri, *more]


def calls(r, transport, count=3):
    have("sipp")
    h = House(r, legacy=("tls", transport)).people("sam", "sue").start()
    sam = h.kith.legacy(f"sam@{DOMAIN}", "box-1")
    sue = h.kith.legacy(f"sue@{DOMAIN}", "box-2")
    waiting = r.start("callee", sipp(r, "callee", "register_wait", transport,
                                     fields(r, "callee", "sue", proof("sue", sue)), DOMAIN,
                                     "-oocsf", SCENARIOS / "answer.xml"))
    h.kith.wait_bindings(f"sue@{DOMAIN}", 1)
    caller = r.start("caller", sipp(r, "caller", "call", transport,
                                    fields(r, "caller", "sam", "sue", proof("sam", sam)),
                                    f"sue@{DOMAIN}", "-r", "2", calls=count))
    code = caller.p.wait(45)
    if code != 0:
        errors = r.dir / "caller.errors"
        text = errors.read_text("utf-8", "replace") if errors.exists() else caller.text()
        raise Failure(f"SIPp ended with {code}: {text.strip()[-400:]}")
    if not waiting.alive():
        raise Failure("the answering SIPp ended early")
    if "m=audio" not in (r.dir / "callee.messages").read_text("utf-8", "replace"):
        raise Failure("the callee saw no media description")


@test()
def sipp_over_udp(r):
    """SIPp registers and calls over UDP."""
    calls(r, "udp")


@test()
def sipp_over_tcp(r):
    """SIPp registers and calls over TCP."""
    calls(r, "tcp")
