"""Domain to domain: found by DNS, proved by certificate, over TLS only."""
import re
import socket
import ssl
import threading
import time

import kamailio
from authority import Authority
from cases import test
from phone import Call, Phone, keyed
from rig import TLS_PORT, Baresip, Failure, Kith, wait
from zone import Zone

A4, B4, X4 = "203.0.113.10", "203.0.113.11", "203.0.113.12"
A6, B6 = "2001:db8:1::10", "2001:db8:1::11"
NOBODY4 = "203.0.113.18"  # an address of ours where nobody listens
GONE4 = "203.0.113.99"    # an address where nothing answers at all


class Domain:
    """A Kith of its own for one domain, with a certificate of the test's authority."""

    def __init__(self, r, ca, name, at, more="", names=None):
        label = name.split(".")[0]
        chain, key = ca.certificate(label, names or [f"URI:sip:{name}", f"DNS:{name}"])
        self.r, self.name, self.at = r, name, at
        self.kith = Kith(r, (name,), tls=at, label=f"-{label}", name=f"edge.{name}", more=(
            f"[tls]\ncertificate = {chain}\nkey = {key}\nclient_ca = {ca.root}\n{more}"))
        self.kith.root = ca.root

    def start(self, *people):
        self.secrets = {}
        self.kith.start()
        for p in people:
            self.secrets[p] = self.kith.user(f"{p}@{self.name}")
        return self

    def phone(self, user, host=None):
        p = Phone(self.r, self.kith, f"{user}@{self.name}", self.secrets[user],
                  host=host or self.at[0])
        p.register()
        return p

    def log(self):
        return self.kith.process.text()


def publish(zone, name, *addresses):
    zone.host(f"edge.{name}", *addresses)
    zone.domain(name, [f"edge.{name}"])


def talk(caller, callee, seconds=10):
    """A whole call: up, and ended by the side that was called."""
    call = caller.invite(callee.aor, keyed())
    request = callee.expect("INVITE", seconds)
    callee.answer(request, 180, "Ringing", tag="t1")
    call.expect(180)
    callee.answer(request, 200, "OK", keyed("active"), tag="t1")
    call.expect(200)
    call.ack()
    callee.expect("ACK")
    back = Call.from_invite(callee, request, "t1")
    back.bye()
    caller.answer(caller.expect("BYE"), 200, "OK")
    callee.expect(200, method="BYE")
    return request


def two_domains_over(r, a_at, b_at):
    ca, zone = Authority(r), Zone().start()
    publish(zone, "a.test", *a_at)
    publish(zone, "b.test", *b_at)
    a = Domain(r, ca, "a.test", a_at).start("alice")
    b = Domain(r, ca, "b.test", b_at).start("bob")
    alice, bob = a.phone("alice"), b.phone("bob")
    request = talk(alice, bob)
    if "alice@a.test" not in request.get("from"):
        raise Failure(f"bob was called by {request.get('from')}")
    for wanted in (("b.test", "NAPTR"), ("_sips._tcp.b.test", "SRV")):
        if not zone.count(*wanted):
            raise Failure(f"nobody asked for {wanted}: {zone.asked}")
    talk(alice, bob)  # again, over what is open
    if a.kith.status()["connects_ok"] > 2:  # one a worker at most
        raise Failure(f"a.test connected {a.kith.status()['connects_ok']} times")
    talk(bob, alice)  # and the other way
    if a.kith.status()["connects_failed"] or b.kith.status()["connects_failed"]:
        raise Failure("a connection failed on the way")
    return a, b, zone


@test()
def peers_over_ipv4(r):
    """Two domains with IPv4 only find each other by NAPTR, SRV and A, and call both ways."""
    two_domains_over(r, (A4,), (B4,))


@test()
def peers_over_ipv6(r):
    """Two domains with IPv6 only: AAAA."""
    _, _, zone = two_domains_over(r, (A6,), (B6,))
    if not zone.count("edge.b.test", "AAAA"):
        raise Failure("nobody asked for an AAAA")


@test()
def peers_over_both(r):
    """A domain with IPv4 and IPv6 and one with IPv6 only, and one with IPv4 only."""
    ca, zone = Authority(r), Zone().start()
    places = {"a.test": (A4, A6), "b.test": (B6,), "c.test": (X4,)}
    for name, at in places.items():
        publish(zone, name, *at)
    a, b, c = (Domain(r, ca, n, at).start("ann") for n, at in places.items())
    ann = {d.name: d.phone("ann") for d in (a, b, c)}
    talk(ann["a.test"], ann["b.test"])
    talk(ann["a.test"], ann["c.test"])
    talk(ann["b.test"], ann["a.test"])
    talk(ann["c.test"], ann["a.test"])


@test()
def peers_over_tcp_dns(r):
    """Answers of DNS that are cut over UDP are asked for again over TCP; aliases are followed."""
    ca, zone = Authority(r), Zone(port=5353)
    zone.short_udp = True
    publish(zone, "a.test", A4)
    zone.host("real.b.test", B4)
    zone.alias("edge.b.test", "real.b.test")
    zone.domain("b.test", ["edge.b.test"])
    zone.start()
    servers = "[dns]\nservers = 127.0.0.1:5353\n"  # and not those of resolv.conf
    a = Domain(r, ca, "a.test", (A4,), servers).start("alice")
    b = Domain(r, ca, "b.test", (B4,), servers).start("bob")
    talk(a.phone("alice"), b.phone("bob"))
    if not zone.count("edge.b.test", "A", "tcp"):
        raise Failure("DNS was not asked over TCP")


@test()
def peers_failover(r):
    """The first SRV target is dead (nobody listens; nothing answers at all): the second gets it."""
    ca, zone = Authority(r), Zone()
    publish(zone, "a.test", A4)
    zone.host("good.test", B4)
    for name, dead in (("b.test", NOBODY4), ("c.test", GONE4)):
        zone.host(f"dead.{name}", dead)
        zone.domain(name, [f"dead.{name}", "good.test"])
    zone.start()
    a = Domain(r, ca, "a.test", (A4,)).start("alice")
    both = ["URI:sip:b.test", "URI:sip:c.test", "DNS:b.test", "DNS:c.test"]
    chain, key = ca.certificate("bc", both)
    kith = Kith(r, ("b.test", "c.test"), tls=(B4,), label="-bc", more=(
        f"[tls]\ncertificate = {chain}\nkey = {key}\nclient_ca = {ca.root}\n"))
    kith.root = ca.root
    kith.start()
    alice = a.phone("alice")
    for name in ("b.test", "c.test"):
        secret = kith.user(f"bob@{name}")
        bob = Phone(r, kith, f"bob@{name}", secret, host=B4)
        bob.register()
        began = time.monotonic()
        call = alice.invite(bob.aor, keyed())
        request = bob.expect("INVITE", 15)
        took = time.monotonic() - began
        bob.answer(request, 486, "Busy Here", tag="t2")
        call.expect(486)
        if took > 7:  # the first one alone has 8 s
            raise Failure(f"{name}: the call took {took:.1f} s to its second server")


class Impostor:
    """A TLS server with whatever certificate; it keeps what it is sent."""

    def __init__(self, at, chain, key, demands=None):
        self.heard, self.shakes, self.failed = b"", 0, 0
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, key)
        if demands:  # a certificate of this authority
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(demands)
        self.context, self.socket = context, socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((at, TLS_PORT))
        self.socket.listen(8)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            peer, _ = self.socket.accept()
            try:
                with self.context.wrap_socket(peer, server_side=True) as s:
                    self.shakes += 1
                    s.settimeout(5)
                    while more := s.recv(65536):
                        self.heard += more
            except OSError:
                self.failed += 1


@test()
def peers_with_bad_certificates(r):
    """A wildcard, the SRV host's name, an expired and a self-signed one: each refused, in words."""
    ca, zone = Authority(r), Zone().start()
    publish(zone, "a.test", A4)
    a = Domain(r, ca, "a.test", (A4,)).start("alice")
    alice = a.phone("alice")
    rows = (
        ("wild.test", "203.0.113.12", {"names": ["DNS:*.test", "DNS:*.wild.test"]},
         "names somebody else"),
        ("host.test", "203.0.113.13", {"names": ["DNS:edge.host.test"]}, "names somebody else"),
        ("old.test", "203.0.113.14", {"names": ["DNS:old.test"], "expired": True}, "has expired"),
        ("self.test", "203.0.113.15", {"names": ["DNS:self.test"], "self_signed": True},
         "is self-signed"),
    )
    for name, at, cert, words in rows:
        publish(zone, name, at)
        impostor = Impostor(at, *ca.certificate(name.split(".")[0], **cert))
        answer = alice.invite(f"bob@{name}", keyed()).expect(503, 12)
        warning = answer.get("warning")
        if name not in warning or words not in warning:
            raise Failure(f"{name}: the caller was told {warning!r}, not '... {words}'")
        found = re.search(rf'peer\.not_found.*{name}.*', a.log())
        if not found or words not in found.group(0):
            raise Failure(f"{name}: the log says {found and found.group(0)!r}")
        # The refusal may reach alice before the other side knows how its handshake went.
        wait(lambda: impostor.shakes or impostor.failed, 5, f"{name} to be connected to")
        if b"INVITE" in impostor.heard:
            raise Failure(f"{name}: it heard {impostor.heard[:60]!r}")


@test()
def peers_who_refuse_our_certificate(r):
    """A peer that does not take our certificate: 503, and the log says why."""
    ca, stranger, zone = Authority(r), Authority(r, "stranger"), Zone().start()
    publish(zone, "a.test", A4)
    publish(zone, "proud.test", X4)
    a = Domain(r, ca, "a.test", (A4,)).start("alice")
    Impostor(X4, *ca.certificate("proud", ["DNS:proud.test"]), demands=stranger.root)
    a.phone("alice").invite("bob@proud.test", keyed()).expect(503, 15)
    # Its alert, unless the reset that follows was faster.
    a.kith.process.wait_text("peer.broken.*(our certificate was refused|was reset)", 5)


@test()
def peers_and_their_roots(r):
    """A peer of an unknown authority becomes a known one when its root is added and reloaded."""
    ca, other, zone = Authority(r), Authority(r, "other"), Zone().start()
    publish(zone, "a.test", A4)
    publish(zone, "b.test", B4)
    a = Domain(r, ca, "a.test", (A4,)).start("alice")
    b = Domain(r, other, "b.test", (B4,)).start("bob")
    alice, bob = a.phone("alice"), b.phone("bob")
    answer = alice.invite("bob@b.test", keyed()).expect(503, 10)
    if "unknown authority" not in answer.get("warning"):
        raise Failure(f"the caller was told {answer.get('warning')!r}")
    checked = a.kith.cli("check-config", str(a.kith.conf), must=False)
    if checked.returncode != 0:
        raise Failure(f"check-config: {checked.stderr}")
    for d, root in ((a, other.root), (b, ca.root)):
        conf = d.kith.conf.read_text()
        d.kith.conf.write_text(re.sub(r"(client_ca = \S+)", rf"\1, {root}", conf))
        d.kith.process.p.send_signal(1)  # SIGHUP
        d.kith.process.wait_text("reloaded")
    # What did not verify is remembered as dead for a while, so the first calls may still fail.
    wait(lambda: _rings(alice, bob), 60, "a call after the roots have been exchanged")


@test()
def peers_without_tls(r):
    """A domain that cannot be found, one where nobody listens, one that speaks no TLS: 503."""
    ca, zone = Authority(r), Zone()
    publish(zone, "a.test", A4)
    publish(zone, "closed.test", NOBODY4)
    publish(zone, "plain.test", X4)
    zone.broken.add("broken.test")
    zone.start()
    plain = socket.socket()
    plain.bind((X4, TLS_PORT))
    plain.listen(4)

    def chat():
        while True:
            peer, _ = plain.accept()
            peer.sendall(b"SIP/2.0 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            peer.close()

    threading.Thread(target=chat, daemon=True).start()
    a = Domain(r, ca, "a.test", (A4,)).start("alice")
    alice = a.phone("alice")
    for name in ("nowhere.test", "closed.test", "plain.test", "broken.test"):
        answer = alice.invite(f"bob@{name}", keyed()).expect((404, 480, 503, 504), 20)
        if name not in answer.get("warning"):
            raise Failure(f"{name}: {answer.first}, Warning {answer.get('warning')!r}")
    if a.kith.status()["connects_failed"] < 2 or not a.kith.status()["dns_failures"]:
        raise Failure(f"the status does not count it: {a.kith.status()}")


@test()
def peers_who_call_in(r):
    """Who calls in from a domain must prove it: no, bad and others' certificates get 403."""
    ca = Authority(r)
    stranger = Authority(r, "stranger")
    zone = Zone().start()
    publish(zone, "b.test", B4)
    b = Domain(r, ca, "b.test", (B4,)).start("bob")
    bob = b.phone("bob")
    rows = (
        ("none", None, "must prove its name"),
        ("wild", ca.certificate("wild", ["DNS:*.evil.test"]), "must prove its name"),
        ("old", ca.certificate("old", ["DNS:evil.test"], expired=True), "has expired"),
        ("self", ca.certificate("self", ["DNS:evil.test"], self_signed=True), "is self-signed"),
        ("strange", stranger.certificate("strange", ["DNS:evil.test"]), "unknown authority"),
        ("other", ca.certificate("other", ["URI:sip:good.test", "DNS:evil.test"]),
         "its own people only"),
        ("mail", ca.certificate("mail", ["DNS:evil.test"], eku="emailProtection"), "not meant"),
    )
    for label, files, words in rows:
        certificate = None
        if files:
            certificate = r.dir / f"{label}.both"
            certificate.write_text(files[0].read_text() + files[1].read_text())
        with Phone(r, b.kith, "eve@evil.test", host=B4, certificate=certificate,
                   verify=False) as eve:
            answer = eve.invite("bob@b.test", keyed()).expect((403, 407))
            if answer.status != 403 or words not in answer.get("warning"):
                raise Failure(f"{label}: {answer.first}, Warning {answer.get('warning')!r}")
    bob.nothing("INVITE", 0.3)
    good = r.dir / "good.both"
    chain, key = ca.certificate("fine", ["URI:sip:evil.test"])
    good.write_text(chain.read_text() + key.read_text())
    with Phone(r, b.kith, "eve@evil.test", host=B4, certificate=good, verify=False) as eve:
        eve.invite("bob@b.test", keyed())
        bob.answer(bob.expect("INVITE"), 486, "Busy Here", tag="t3")
        eve.expect(486)


@test()
def peers_by_policy(r):
    """listed: only those on the list may call and be called; closed: nobody; a reload changes it."""
    ca, zone = Authority(r), Zone().start()
    publish(zone, "a.test", A4)
    publish(zone, "b.test", B4)
    a = Domain(r, ca, "a.test", (A4,)).start("alice")
    b = Domain(r, ca, "b.test", (B4,), "[federation]\npolicy = listed\npeers = c.test\n")
    b.start("bob")
    alice, bob = a.phone("alice"), b.phone("bob")
    answer = alice.invite("bob@b.test", keyed()).expect(403, 10)
    if "not on this server's list" not in answer.get("warning"):
        raise Failure(f"the caller was told {answer.get('warning')!r}")
    bob.invite("alice@a.test", keyed()).expect(403)
    text = b.kith.conf.read_text()
    b.kith.conf.write_text(text.replace("peers = c.test", "peers = c.test, a.test"))
    b.kith.process.p.send_signal(1)  # SIGHUP
    b.kith.process.wait_text('"reloaded"|reloaded')
    talk(alice, bob)
    talk(bob, alice)
    b.kith.conf.write_text(text.replace("policy = listed", "policy = closed"))
    b.kith.process.p.send_signal(1)
    b.kith.process.wait_text("reloaded", count=2)
    bob.invite("alice@a.test", keyed()).expect(403)


@test()
def peers_lose_their_connection(r):
    """A peer that is killed and comes back is found again, and the call before does not hurt."""
    ca, zone = Authority(r), Zone().start()
    publish(zone, "a.test", A4)
    publish(zone, "b.test", B4)
    a = Domain(r, ca, "a.test", (A4,)).start("alice")
    b = Domain(r, ca, "b.test", (B4,)).start("bob")
    alice, bob = a.phone("alice"), b.phone("bob")
    talk(alice, bob)
    b.kith.kill()
    bob.close()
    wait(lambda: a.kith.status()["connects_up"] == 0, 10, "a.test to see the end of the connection")
    alice.invite("bob@b.test", keyed()).expect(503, 15)
    b.kith.start()
    bob = b.phone("bob")
    wait(lambda: _rings(alice, bob), 40, "a call to get through again")


def _rings(alice, bob):
    call = alice.invite("bob@b.test", keyed())
    answer = call.expect((100, 503), 10)
    if answer.status == 100:
        try:
            request = bob.expect("INVITE", 3)
        except Failure:
            return False
        bob.answer(request, 486, "Busy Here", tag="t4")
        call.expect(486)
        return True
    time.sleep(1)
    return False


@test()
def peers_with_baresip(r):
    """A phone without a server is a domain of its own: baresip, called and calling by its certificate."""
    ca, zone = Authority(r), Zone().start()
    publish(zone, "a.test", A4)
    publish(zone, "bare.test", X4)
    a = Domain(r, ca, "a.test", (A4,)).start("alice")
    chain, key = ca.certificate("bare", ["URI:sip:bare.test", "DNS:bare.test"])
    both = r.dir / "bare.pem"
    both.write_text(key.read_text() + chain.read_text())
    bob = Baresip(r, "bob", "bob@bare.test", certificate=both, ca=ca.root, listen=X4)
    conf = (bob.home / "config").read_text()  # its TLS port is the next one
    (bob.home / "config").write_text(conf.replace(f"{X4}:0", f"{X4}:{TLS_PORT - 1}"))
    (bob.home / "accounts").write_text(
        "<sip:bob@bare.test;transport=tls>;auth_pass=none;regint=0;mediaenc=dtls_srtp;"
        "answermode=auto;audio_codecs=pcma\n")
    bob.start(register=False)
    alice = a.phone("alice")
    call = alice.invite("bob@bare.test", keyed(address=A4))
    call.expect(200, 15)
    call.ack()
    bob.up()
    call.bye()
    call.expect(200)
    bob.closed()
    bob.dial("alice@a.test")
    request = alice.expect("INVITE", 15)
    if "bob@bare.test" not in request.get("from"):
        raise Failure(f"alice was called by {request.get('from')}")
    alice.answer(request, 486, "Busy Here", tag="t5")
    bob.closed(nth=2)


@test()
def peers_with_kamailio(r):
    """Kamailio as a foreign domain over mutual TLS: calls both ways, each proving its name."""
    ca, zone = Authority(r), Zone().start()
    publish(zone, "a.test", A4)
    publish(zone, "k.test", X4)
    zone.host("k.test", X4)  # Kamailio wants the name in its routes to have an address
    a = Domain(r, ca, "a.test", (A4,)).start("alice")
    kamailio.start(r, ca, "k.test", X4)

    def listens():
        with socket.socket() as s:
            return s.connect_ex((X4, TLS_PORT)) == 0

    wait(listens, 20, "kamailio to listen")
    alice = a.phone("alice")
    bob = Phone(r, a.kith, "bob@k.test", host=X4, port=5060, transport="tcp")
    bob.register()
    talk(alice, bob)
    talk(bob, alice)
    talk(alice, bob)
    status = a.kith.status()
    if status["connects_failed"] or not status["connects_ok"]:
        raise Failure(f"a.test connected {status['connects_ok']} times, failed "
                      f"{status['connects_failed']} times")
