"""Phones that stay reachable: several flows of one phone, GRUUs, keep-alives."""
import re
import time

import tones
from cases import House, test
from cases_faults import client_ports, cut
from phone import Call, Phone, keyed
from rig import DOMAIN, V4, V6, Failure


def flow(r, h, name, instance, reg_id, host=V4):
    """One flow of a scripted phone, registered."""
    p = Phone(r, h.kith, f"{name}@{DOMAIN}", h.secrets[name], host=host)
    p.instance = f"<urn:uuid:00000000-0000-4000-8000-{instance:012d}>"
    p.grants = p.register(contact=f"{p.contact};reg-id={reg_id}")
    return p


def gruu(answer, kind, mark):
    """pub-gruu or temp-gruu of the contact that has this mark."""
    for value in answer.all("contact"):
        found = re.search(rf';{kind}-gruu="sip:([^"]+)"', value)
        if mark in value and found:
            return found.group(1)
    raise Failure(f"no {kind}-gruu beside {mark} in {answer.all('contact')}")


class Watch:
    """A second is the promise; a machine on which everything takes long gets so much more of it."""

    def __init__(self):
        self.began, self.limit = time.monotonic(), None

    def took(self):
        return time.monotonic() - self.began

    def usual(self):
        """What has been measured until now went the usual way."""
        self.limit = max(1, 20 * self.took())

    def start(self):
        self.began = time.monotonic()

    def in_time(self, what):
        if self.took() > self.limit:
            raise Failure(f"{what} took {self.took():.1f} s, more than {self.limit:.1f} s")


@test()
def first_of_two_edges_is_cut(r):
    """A phone on two addresses of the server loses the first: a call arrives within 1 s."""
    h = House(r, tls=(V4, V6)).people("alice", "bob").start()
    alice = Phone(r, h.kith, f"alice@{DOMAIN}", h.secrets["alice"])
    alice.register()
    second = flow(r, h, "bob", 7, 2, host=V6)
    first = flow(r, h, "bob", 7, 1)
    if len(h.kith.bindings(f"bob@{DOMAIN}")) != 2:
        raise Failure("two flows of one phone are two bindings")
    # while it rings over the first, never over both
    watch = Watch()
    call = alice.invite(f"bob@{DOMAIN}", keyed())
    first.expect("INVITE", 15)
    watch.usual()
    second.nothing("INVITE", 0.5)
    watch.start()
    cut(first.local[1])
    request = second.expect("INVITE", 15)
    watch.in_time("the INVITE over the second flow")
    second.answer(request, 486, "Busy Here")
    call.expect(486)
    # and with the first gone, at once
    watch.start()
    call = alice.invite(f"bob@{DOMAIN}", keyed())
    request = second.expect("INVITE", 15)
    watch.in_time("the next call")
    second.answer(request, 486, "Busy Here")
    call.expect(486)


@test()
def call_goes_on_over_the_other_flow(r):
    """The flow of a call is cut: requests of the dialog take the phone's other one, both ways."""
    h = House(r, tls=(V4, V6)).people("alice", "bob").start()
    alice = Phone(r, h.kith, f"alice@{DOMAIN}", h.secrets["alice"])
    alice.register()
    second = flow(r, h, "bob", 7, 2, host=V6)
    first = flow(r, h, "bob", 7, 1)
    call = alice.invite(f"bob@{DOMAIN}", keyed())
    request = first.expect("INVITE")
    first.answer(request, 200, "OK", keyed("active"), tag="b1")
    call.expect(200)
    call.ack()
    first.expect("ACK")
    theirs = Call.from_invite(second, request, "b1")
    cut(first.local[1])
    call.request("INFO")
    second.answer(second.expect("INFO", 15), 200, "OK")
    call.expect(200)
    theirs.bye()
    bye = alice.expect("BYE", 15)
    alice.answer(bye, 200, "OK")
    second.expect(200)


@test()
def baresip_with_two_flows(r):
    """baresip registers over two addresses; its first connection dies, and it can still be called."""
    h = House(r, tls=(V4, V6)).people("alice", "bob").start()
    bob = h.by_certificate("bob", listen=None, second=V6, answer="auto").start()
    h.kith.wait_bindings(f"bob@{DOMAIN}", 2)
    alice = Phone(r, h.kith, f"alice@{DOMAIN}", h.secrets["alice"])
    alice.register()
    for port in client_ports(bob.process.pid)[:1]:
        cut(port)
    call = alice.invite(f"bob@{DOMAIN}", keyed())
    call.expect(200, 15)
    call.ack()
    bob.up()
    call.bye()
    bob.closed()


@test()
def baresip_takes_our_gruu(r):
    """baresip's Contact is the GRUU it was given; a request to it finds that phone alone."""
    h = House(r).people("alice", "bob").start()
    bob = h.by_certificate("bob", answer="manual").start()
    other = flow(r, h, "bob", 9, 1)
    alice = Phone(r, h.kith, f"alice@{DOMAIN}", h.secrets["alice"])
    alice.register()
    bob.dial(f"alice@{DOMAIN}")
    request = alice.expect("INVITE", 10)
    contact = re.search(r"<sip:([^>]+)>", request.get("contact")).group(1)
    if ";gr" not in contact:
        raise Failure(f"its Contact is {contact}, no GRUU")
    alice.answer(request, 486, "Busy Here")
    bob.closed()
    call = alice.invite(contact, keyed())
    bob.ringing()
    other.nothing("INVITE", 0.5)
    call.cancel()
    call.expect(487)


@test()
def linphone_takes_our_gruu(r):
    """linphone's Contact is its public GRUU: it is called and hung up by it, its twin stays silent."""
    h = House(r).people("lina", "alice").start()
    lina = h.linphone("lina", tones.write(r.dir / "t.wav", 660)).start()
    other = flow(r, h, "lina", 9, 1)
    alice = Phone(r, h.kith, f"alice@{DOMAIN}", h.secrets["alice"])
    alice.register()
    lina.dial(f"alice@{DOMAIN}")
    request = alice.expect("INVITE", 10)
    contact = re.search(r"<sip:([^>]+)>", request.get("contact")).group(1)
    if ";gr=" not in contact:
        raise Failure(f"its Contact is {contact}, no GRUU")
    alice.answer(request, 486, "Busy Here")
    lina.closed()
    call = alice.invite(contact, keyed())
    call.expect(200, 10)
    call.ack()
    other.nothing("INVITE", 0.5)
    if ";gr=" not in call.target:
        raise Failure(f"its answer's Contact is {call.target}, no GRUU")
    call.bye()
    call.expect(200)
    lina.closed(nth=2)


@test()
def gruus_survive_kill(r):
    """kill -9 of the server: GRUUs given out before lead to the phone's new connection."""
    h = House(r).people("alice", "bob").start()
    bob = flow(r, h, "bob", 7, 1)
    temp, pub = (gruu(bob.grants, k, "reg-id=1") for k in ("temp", "pub"))
    h.kith.kill()
    h.kith.start()
    alice = Phone(r, h.kith, f"alice@{DOMAIN}", h.secrets["alice"])
    alice.register()
    again = Phone(r, h.kith, f"bob@{DOMAIN}", h.secrets["bob"])
    again.instance, again.call_id, again.cseq = bob.instance, bob.call_id, bob.cseq
    again.register(contact=f"{again.contact};reg-id=1")
    for target in (temp, pub):
        call = alice.invite(target, keyed())
        again.answer(again.expect("INVITE", 15), 486, "Busy Here")
        call.expect(486)


@test()
def pings_are_answered(r):
    """A double CRLF gets one CRLF at once; the answer to REGISTER says how often to ping."""
    h = House(r).people("alice").start()
    alice = flow(r, h, "alice", 7, 1)
    if alice.grants.get("flow-timer") != "120" or alice.grants.get("require") != "outbound":
        raise Failure(f"Flow-Timer {alice.grants.get('flow-timer')}, "
                      f"Require {alice.grants.get('require')}")
    for _ in range(3):
        began = time.monotonic()
        alice.send_raw(b"\r\n\r\n")
        alice.socket.settimeout(15)
        pong = alice.socket.recv(100)
        if pong != b"\r\n" or time.monotonic() - began > 10:  # RFC 5626 4.4.1
            raise Failure(f"the pong was {pong!r} after {time.monotonic() - began:.2f} s")
