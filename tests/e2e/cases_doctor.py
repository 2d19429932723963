"""kith doctor: a good set-up and several broken ones, seen from the server's own host."""
import json

import zone
from cases import test
from rig import DOMAIN, V4, V6, Failure, Kith

NAME = f"sip.{DOMAIN}"


def doctor(r, kith, *more):
    """What it says, as (level, area, words, mend), and its exit code."""
    done = kith.cli("doctor", "--json", *more, must=False)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    if not rows or "mend" not in rows[-1]:
        raise Failure(f"doctor ends with {done.stdout[-300:]} {done.stderr[-300:]}")
    found = [(w["level"], w["area"], w["words"], w.get("mend", "")) for w in rows[:-1]]
    if rows[-1]["ok"] != (done.returncode == 0) or \
            rows[-1]["mend"] != len([1 for f in found if f[0] == "mend"]):
        raise Failure(f"exit code {done.returncode} and {rows[-1]} do not fit {found}")
    return found


def must(found, level, area, words, mend=""):
    if not any(f[0] == level and f[1] == area and words in f[2] and mend in f[3] for f in found):
        raise Failure(f"no {level} of {area} says {words!r} and {mend!r}: {found}")


def served(r, names, **more):
    kith = Kith(r, tls=(V4, V6), name=NAME, **more)
    kith.user(f"alice@{DOMAIN}")
    names.start()
    return kith.start()


@test()
def doctor_finds_nothing(r):
    """Names, ports, certificate and the relay of both families are as they should be."""
    names = zone.Zone()
    names.host(NAME, V4, V6)
    names.domain(DOMAIN, [NAME])
    kith = served(r, names)
    found = doctor(r, kith)
    if any(f[0] == "mend" for f in found):
        raise Failure(f"something is to be mended: {found}")
    must(found, "ok", "dns", f"leads to {NAME}:5061")
    for at in (V4, f"[{V6}]"):
        must(found, "ok", "port", f"SIP over TLS at {at}:5061 answers")
        must(found, "ok", "port", f"STUN over UDP at {at}:3478 answers")
        must(found, "ok", "port", f"STUN over TCP at {at}:3478 answers")
        must(found, "warning", "certificate", f"{at}:5061 is for {DOMAIN}", "ca.pem")
        must(found, "ok", "relay", f"the relay at {at}:3478 gives {V4}:")
    # The same from outside: nobody tells it what to expect, and it trusts nobody's own authority.
    found = doctor(r, kith, DOMAIN)
    must(found, "ok", "port", f"SIP over TLS at {V4}:5061 answers")
    must(found, "mend", "certificate", "unknown authority", "[tls] certificate")
    must(found, "unseen", "relay", "not tried")
    told = kith.cli("doctor", must=False).stdout
    if "0 to mend" not in told or "ok       dns" not in told:
        raise Failure(f"people read {told}")


@test()
def doctor_finds_what_is_wrong(r):
    """No SRV record, a wrong certificate, a closed and a silent port; each with what to do."""
    names = zone.Zone()
    names.host(DOMAIN, V4)
    kith = served(r, names, more="[turn]\non = no\n")
    found = doctor(r, kith)
    must(found, "warning", "dns", "only its addresses at port 5061",
         f"_sips._tcp.{DOMAIN}. IN SRV 10 10 5061 {NAME}.")
    # A name that leads to another port of this host, and to an address that is nobody's.
    names.host("old." + DOMAIN, V4)
    names.srv(f"_sips._tcp.{DOMAIN}", "old." + DOMAIN, 5099)
    must(doctor(r, kith), "mend", "dns", "where this server does not listen", NAME)
    names.srv(f"_sips._tcp.{DOMAIN}", "nowhere." + DOMAIN)
    names.records[f"_sips._tcp.{DOMAIN}", zone.SRV].pop(0)
    must(doctor(r, kith), "mend", "dns", "a name without any address")
    names.broken.add(f"_sips._tcp.{DOMAIN}")
    must(doctor(r, kith), "mend", "dns", "no DNS server answers")
    # From outside: another domain that leads here, but the certificate is not for it.
    names.domain("other.test", ["old." + DOMAIN])
    found = doctor(r, kith, "other.test")
    must(found, "mend", "certificate", "is not for other.test", "DNS:other.test")
    must(found, "mend", "port", f"STUN over UDP at {V4}:3478 refuses")
    must(found, "mend", "port", f"STUN over TCP at {V4}:3478 refuses")
    # A firewall that drops.
    r.run(["nft", "-f", "-"], give="table inet f { chain input { type filter hook input priority 0; "
          "tcp dport 5061 drop; }; }\n")
    must(doctor(r, kith, "other.test"), "mend", "port", f"{V4}:5061 is silent",
         "nft add rule inet filter input tcp dport 5061 accept")
