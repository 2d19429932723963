"""Calls between phones of different makes, with tones both ways."""
import tones
import wire
from cases import House, test
from rig import DOMAIN, V4, V6, Capture, Failure, wait


@test()
def baresip_calls_baresip(r):
    """One by device certificate, one in the legacy lane; the caller hangs up."""
    h = House(r).people("alice", "bob").start()
    alice, bob = h.by_certificate("alice", tone=440), h.by_legacy("bob", tone=880)
    bob.start()
    alice.start()
    alice.dial(f"bob@{DOMAIN}")
    alice.up()
    bob.up()
    tones.heard(alice.recordings, 880, 440)
    tones.heard(bob.recordings, 440, 880)
    alice.hang_up()
    bob.closed()
    alice.closed()


@test()
def baresip_hung_up_by_callee(r):
    """The callee ends the call: where home-made proxies break first."""
    h = House(r).people("alice", "bob").start()
    alice, bob = h.by_certificate("alice", tone=440).start(), h.by_legacy("bob", tone=880).start()
    bob.dial(f"alice@{DOMAIN}")
    bob.up()
    alice.up()
    tones.heard(alice.recordings, 880)
    tones.heard(bob.recordings, 440)
    alice.hang_up()
    bob.closed()
    alice.closed()


@test()
def baresip_calls_linphone(r):
    """Device certificate to SHA-256 digest."""
    h = House(r).people("alice", "lina").start()
    alice = h.by_certificate("alice", tone=440).start()
    lina = h.linphone("lina", tones.write(r.dir / "tone.wav", 660)).start()
    alice.dial(f"lina@{DOMAIN}")
    alice.up()
    lina.up()
    tones.heard(alice.recordings, 660, 440)
    tones.heard(lina.recordings, 440, 660)
    alice.hang_up()
    lina.closed()
    alice.closed()


@test()
def linphone_calls_baresip(r):
    """SHA-256 digest to the legacy lane; the caller hangs up."""
    h = House(r).people("lina", "bob").start()
    bob = h.by_legacy("bob", tone=880).start()
    lina = h.linphone("lina", tones.write(r.dir / "tone.wav", 660)).start()
    lina.dial(f"bob@{DOMAIN}")
    lina.up()
    bob.up()
    tones.heard(lina.recordings, 880, 660)
    tones.heard(bob.recordings, 660, 880)
    lina.hang_up()
    bob.closed()
    lina.closed()


@test()
def linphone_hung_up_by_callee(r):
    """linphone calls baresip, baresip ends it."""
    h = House(r).people("lina", "bob").start()
    bob = h.by_legacy("bob").start()
    lina = h.linphone("lina", tones.write(r.dir / "tone.wav", 660)).start()
    lina.dial(f"bob@{DOMAIN}")
    lina.up()
    bob.up()
    bob.hang_up()
    lina.closed()
    bob.closed()


@test()
def linphone_calls_linphone(r):
    """SHA-256 digest on both sides, tones both ways."""
    h = House(r).people("lina", "lars").start()
    lina = h.linphone("lina", tones.write(r.dir / "a.wav", 660)).start()
    lars = h.linphone("lars", tones.write(r.dir / "b.wav", 990)).start()
    lina.dial(f"lars@{DOMAIN}")
    lina.up()
    lars.up()
    tones.heard(lina.recordings, 990, 660)
    tones.heard(lars.recordings, 660, 990)
    lars.hang_up()
    lina.closed()


@test()
def call_over_ipv6(r):
    """Signalling and media over IPv6 alone."""
    h = House(r, tls=(V6,), six=V6).people("alice", "bob").start()
    alice = h.by_certificate("alice", tone=440, server=V6, listen=V6)
    bob = h.by_legacy("bob", tone=880, server=V6, listen=V6)
    bob.start()
    alice.start()
    alice.dial(f"bob@{DOMAIN}")
    alice.up()
    bob.up()
    tones.heard(alice.recordings, 880)
    tones.heard(bob.recordings, 440)
    bob.hang_up()
    alice.closed()


@test()
def linphone_over_ipv6(r):
    """linphone on IPv6 calls baresip on IPv6."""
    h = House(r, tls=(V6,), six=V6).people("lina", "bob").start()
    bob = h.by_legacy("bob", tone=880, server=V6, listen=V6).start()
    lina = h.linphone("lina", tones.write(r.dir / "tone.wav", 660), six=True).start()
    lina.dial(f"bob@{DOMAIN}")
    lina.up()
    bob.up()
    tones.heard(lina.recordings, 880)
    tones.heard(bob.recordings, 660)
    lina.hang_up()
    bob.closed()


@test()
def call_over_both_families(r):
    """One leg's signalling over IPv6, the other's over IPv4; media over what both have."""
    h = House(r, tls=(V4, V6), six=V6).people("alice", "bob").start()
    alice = h.by_certificate("alice", tone=440, server=V6, listen=None)
    bob = h.by_legacy("bob", tone=880, server=V4, listen=None)
    bob.start()
    alice.start()
    if f"[{V6}]:5061" not in alice.process.text():
        raise Failure("alice did not connect over IPv6, so this shows nothing")
    for caller, callee, n in ((alice, bob, 1), (bob, alice, 2)):
        caller.dial(callee.aor)
        caller.up(nth=n)
        callee.up(nth=n)
        tones.heard(caller.recordings, callee.tone)
        tones.heard(callee.recordings, caller.tone)
        callee.hang_up()
        caller.closed(nth=n)
        callee.closed(nth=n)


@test()
def wire_shows_nothing(r):
    """A capture of two calls over TLS: no readable SIP, no names, no readable speech."""
    h = House(r).people("alice", "bob", "lina").start()
    alice = h.by_certificate("alice", tone=440)
    bob = h.by_legacy("bob", tone=880)
    lina = h.linphone("lina", tones.write(r.dir / "tone.wav", 660))
    capture = Capture(r)
    bob.start()
    alice.start()
    lina.start()
    alice.dial(f"bob@{DOMAIN}")
    alice.up()
    tones.heard(alice.recordings, 880)
    tones.heard(bob.recordings, 440)
    wait(tones.grown(bob.recordings, 16000), 10, "a second more of speech")
    alice.hang_up()
    bob.closed()
    lina.dial(f"bob@{DOMAIN}")
    lina.up()
    tones.heard(lina.recordings, 880)
    tones.heard(bob.recordings, 660)
    wait(tones.grown(bob.recordings, 16000), 10, "a second more of speech")
    lina.hang_up()
    bob.closed(nth=2)
    wire.must_be_dark(capture.stop(), ("alice", "lina@", "bob@"), (440, 660, 880), 4)


@test()
def wire_check_can_see(r):
    """The check above is no blind man: plain SIP and plain G.711 in a capture are found."""
    import math
    import socket
    import struct
    capture = Capture(r)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.sendto(b"INVITE sip:bob@sip.test SIP/2.0\r\n\r\n", (V4, 5060))
        table = {v: b for b, v in reversed(list(enumerate(wire.PCMA)))}
        levels = sorted(table)
        for i in range(60):
            wave = [9000 * math.sin(2 * math.pi * 440 * (i * 160 + j) / 8000) for j in range(160)]
            payload = bytes(table[min(levels, key=lambda v, x=x: abs(v - x))] for x in wave)
            s.sendto(struct.pack(">BBHII", 0x80, 8, i, i * 160, 77) + payload, (V4, 40000))
    wait(lambda: len(list(wire.packets(capture.file))) >= 61, 5, "the capture to grow")
    bad, speech, _ = wire.findings(capture.stop(), ("bob",), (440, 880))
    for needle in ("'INVITE '", "'bob'", "440 Hz when read as PCMA", "not random"):
        if not any(needle in b for b in bad):
            raise Failure(f"{needle} was not noticed: {bad}")
    if any("880" in b for b in bad) or speech != 1:
        raise Failure(f"seen what is not there: {bad}, {speech} streams")
