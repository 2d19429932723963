"""The relay, with the clients of another project (coturn's)."""
import json
import re

from cases import House, test
from rig import DOMAIN, TLS_PORT, V4, V6, Failure, have

PEER_PORT = 3480
ELSEWHERE = "203.0.113.11"  # of this host, and not where it relays


def credential(r, h):
    answer = h.kith.cli("turn", "credential", f"alice@{DOMAIN}", "--for", "1h")
    name = re.search(r"^username +(\S+)$", answer, re.M)
    word = re.search(r"^password +(\S+)$", answer, re.M)
    if not name or not word:
        raise Failure(f"no credential in: {answer}")
    return name.group(1), word.group(1)


def relayed(r, user, password, how, server, port, peer):
    """Twenty packets there and back through the relay; coturn's client counts them."""
    out = r.run(["turnutils_uclient", *how, "-p", port, "-u", user, "-w", password, "-e", peer,
                 "-r", PEER_PORT, "-n", 20, "-m", 1, "-l", 160, "-X", "-g", server], must=False)
    text = out.stdout + out.stderr
    if not re.search(r"Total lost packets 0 \(0\.000000%\)", text):
        raise Failure(f"{' '.join(how) or 'UDP'} to {server}: {text.strip()[-400:]}; "
                      + r.run([r.kith_binary, "status", "--data", r.dir / "data"], must=False).stdout)


def relay_house(r, allow):
    have("turnutils_uclient", "turnutils_peer", "turnutils_stunclient")
    h = House(r, tls=(V4, V6), four=V4, six=V6, more=f"[turn]\nallow = {allow}\n").people("alice").start()
    for at in (V4, V6):
        r.start(f"peer-{'6' if ':' in at else '4'}", ["turnutils_peer", "-L", at, "-p", PEER_PORT])
    return h


@test()
def turn_over_everything(r):
    """A client relays by UDP, TCP and TLS, over both families, without losing a packet."""
    h = relay_house(r, "203.0.113.0/24, 2001:db8:1::/64")
    user, password = credential(r, h)
    for server, peer, family in ((V4, V4, []), (V6, V6, ["-x"])):
        relayed(r, user, password, family, server, 3478, peer)
        relayed(r, user, password, [*family, "-t"], server, 3478, peer)
        relayed(r, user, password, [*family, "-t", "-S"], server, TLS_PORT, peer)
        text = r.run(["turnutils_stunclient", server])
        if "reflexive addr" not in text:
            raise Failure(f"STUN at {server}: {text[-300:]}")
    turn = json.loads(h.kith.cli("status", "--json"))["turn"]
    if turn["created"] < 6 or turn["bytes_up"] < 6 * 20 * 160:
        raise Failure(f"kith status counts otherwise: {turn}")


@test()
def turn_by_tcp_to_the_peer(r):
    """RFC 6062: the peer is reached by TCP, for a client that came by TCP and for one by TLS."""
    h = relay_house(r, "203.0.113.0/24, 2001:db8:1::/64")
    user, password = credential(r, h)
    relayed(r, user, password, ["-t", "-T"], V4, 3478, V4)
    relayed(r, user, password, ["-x", "-t", "-S", "-T"], V6, TLS_PORT, V6)
    turn = json.loads(h.kith.cli("status", "--json"))["turn"]
    if turn["packets_up"] or turn["bytes_up"] < 2 * 20 * 160:
        raise Failure(f"it went another way: {turn}")


@test()
def turn_keeps_out(r):
    """Nobody without a credential; nowhere but to what the operator named."""
    h = relay_house(r, "198.51.100.0/24")
    user, password = credential(r, h)
    for who, word, why in (("nobody", "guess", "wrong credentials"),
                           (user, password, "a peer that is not to be reached")):
        done = r.run(["turnutils_uclient", "-p", 3478, "-u", who, "-w", word, "-e", ELSEWHERE, "-r",
                      PEER_PORT, "-n", 2, "-m", 1, "-X", "-g", V4], must=False, seconds=30)
        if "Total lost packets 0" in done.stdout + done.stderr:
            raise Failure(f"relayed in spite of {why}")
    turn = json.loads(h.kith.cli("status", "--json"))["turn"]
    if not turn["bad_credentials"] or not turn["forbidden_peers"] or turn["bytes_up"]:
        raise Failure(f"kith status counts otherwise: {turn}")
