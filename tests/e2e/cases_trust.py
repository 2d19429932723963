"""Who is who: wrong secrets, foreign names, domains, the legacy lane's door, certificates."""
import re
import ssl

import tones
from cases import House, test
from phone import Call, Phone, keyed, unkeyed
from rig import DOMAIN, LEGACY_TLS_PORT, Failure, Linphone


def house(r, *names):
    return House(r).people(*names).start()


@test()
def digest_sha256(r):
    """A scripted phone registers on TLS 1.2 and 1.3, refreshes, and unregisters."""
    h = house(r, "alice")
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with Phone(r, h.kith, f"alice@{DOMAIN}", h.secrets["alice"], version=version) as p:
            first = p.register()
            if "SHA-256" not in p.challenge or "MD5" in p.challenge:
                raise Failure(f"the challenge was {p.challenge}")
            if 'qop="auth"' not in p.challenge.replace("qop=auth", 'qop="auth"'):
                raise Failure(f"no qop in {p.challenge}")
            if p.instance not in first.get("contact"):
                raise Failure("the 200 does not list the binding")
            p.send(p.register_text())  # the flow is known now: no second challenge
            p.expect(200, method="REGISTER")
            h.kith.wait_bindings(f"alice@{DOMAIN}", 1)
            p.register(expires=0)
            h.kith.wait_bindings(f"alice@{DOMAIN}", 0)


@test()
def wrong_secret(r):
    """A wrong secret and an unknown name get the same answer, and no binding."""
    h = house(r, "alice")
    shapes = []
    for aor in (f"alice@{DOMAIN}", f"nobody@{DOMAIN}"):
        with Phone(r, h.kith, aor, "not-the-right-one-at-all") as p:
            answer = p.register(must=None)
            if answer.status != 401:
                raise Failure(f"{aor}: {answer.first}")
            shape = re.sub(r'nonce="[^"]*"', "nonce", str(answer))
            differing = r"(branch|tag|rport|received)=[^;\s]+|TLS \S+?;|Call-ID:.*|Date:.*"
            shape = re.sub(differing, "", shape)
            shapes.append(shape.replace("alice", "X").replace("nobody", "X"))
    if shapes[0] != shapes[1]:
        raise Failure(f"the answers differ: {shapes[0]!r} and {shapes[1]!r}")
    h.kith.wait_bindings(f"alice@{DOMAIN}", 0)


@test()
def linphone_with_wrong_secret(r):
    """A real phone with a wrong secret stays out."""
    h = house(r, "lina")
    lina = Linphone(r, "lina", f"lina@{DOMAIN}", "something-else-entirely", h.kith.ca)
    lina.start(register=False)
    lina.state("LinphoneRegistrationFailed", 20)
    h.kith.wait_bindings(f"lina@{DOMAIN}", 0)


@test()
def legacy_secret_only_there(r):
    """A legacy device's secret is no good on the main listener, nor the person's in the lane."""
    h = house(r, "bob")
    aor = f"bob@{DOMAIN}"
    legacy = h.kith.legacy(aor, "old phone")
    with Phone(r, h.kith, aor, legacy, port=LEGACY_TLS_PORT) as p:
        p.register()
        if "MD5" not in p.challenge and "algorithm" in p.challenge:
            raise Failure(f"the lane's challenge was {p.challenge}")
    with Phone(r, h.kith, aor, legacy) as p:
        if p.register(must=None).status != 401:
            raise Failure("a legacy secret registered on the main listener")
    with Phone(r, h.kith, aor, h.secrets["bob"], port=LEGACY_TLS_PORT) as p:
        if p.register(must=None).status != 401:
            raise Failure("the person's own secret is accepted in the legacy lane")


@test()
def two_domains(r):
    """Two domains on one server: the same name is two people, and they call across."""
    other = "other.test"
    h = House(r, domains=(DOMAIN, other))
    h.people("ann", f"ann@{other}").start()
    here = Phone(r, h.kith, f"ann@{DOMAIN}", h.secrets["ann"])
    there = Phone(r, h.kith, f"ann@{other}", h.secrets[f"ann@{other}"])
    here.register()
    there.register()
    if f'realm="{other}"' not in there.challenge:
        raise Failure(f"the second domain's challenge was {there.challenge}")
    with Phone(r, h.kith, f"ann@{other}", h.secrets["ann"]) as p:
        if p.register(must=None).status != 401:
            raise Failure("one domain's secret opened the other")
    call = here.invite(f"ann@{other}", keyed())
    request = there.expect("INVITE")
    there.answer(request, 200, "OK", keyed("active"), tag="t1")
    call.expect(200)
    call.ack()
    there.expect("ACK")
    Call.from_invite(there, request, "t1").bye()
    here.answer(here.expect("BYE"), 200, "OK")
    there.expect(200, method="BYE")


@test()
def foreign_from_refused(r):
    """A registered phone may not call in another's name: 403; an anonymous From is fine."""
    h = house(r, "alice", "bob")
    alice = Phone(r, h.kith, f"alice@{DOMAIN}", h.secrets["alice"])
    bob = Phone(r, h.kith, f"bob@{DOMAIN}", h.secrets["bob"])
    alice.register()
    bob.register()
    alice.invite(f"bob@{DOMAIN}", keyed(), from_line=f"<sip:bob@{DOMAIN}>;tag=x1").expect(403)
    bob.nothing("INVITE", 0.5)
    line = '"Anonymous" <sip:anonymous@anonymous.invalid>;tag=x2'
    call = alice.invite(f"bob@{DOMAIN}", keyed(), "Privacy: id", from_line=line)
    request = bob.expect("INVITE")
    if "alice" in str(request).partition("\r\n\r\n")[0].replace(request.get("contact"), ""):
        raise Failure("the anonymous caller's name reached the callee")
    bob.answer(request, 486, "Busy Here")
    call.expect(486)


@test()
def unregistered_must_prove(r):
    """An INVITE on a connection that proved nothing: 407, and with the answer it goes through."""
    h = house(r, "alice", "bob")
    bob = Phone(r, h.kith, f"bob@{DOMAIN}", h.secrets["bob"])
    bob.register()
    alice = Phone(r, h.kith, f"alice@{DOMAIN}", h.secrets["alice"])
    call = alice.invite(f"bob@{DOMAIN}", keyed(), authorize=True)
    request = bob.expect("INVITE")
    if "Proxy-Authorization" in str(request):
        raise Failure("the proof was passed on")
    bob.answer(request, 180, "Ringing")
    call.expect(180)
    bob.answer(request, 200, "OK", keyed("active"))
    call.expect(200)
    call.ack()
    bob.expect("ACK")
    call.bye()
    bob.answer(bob.expect("BYE"), 200, "OK")
    call.expect(200, method="BYE")


@test()
def certificate_needs_no_digest(r):
    """A device certificate registers without a challenge; a revoked one ends at once."""
    h = house(r, "alice")
    aor = f"alice@{DOMAIN}"
    pem = h.kith.device(aor, "desk")
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with Phone(r, h.kith, aor, certificate=pem, version=version) as p:
            p.register()
            if p.challenge:
                raise Failure("a phone with a certificate was challenged")
    with Phone(r, h.kith, f"bob@{DOMAIN}", certificate=pem) as p:
        if p.register(must=None).status == 200:
            raise Failure("alice's certificate registered bob")
    p = Phone(r, h.kith, aor, certificate=pem)
    p.register()
    h.kith.revoke("desk")
    if p.receive(5) or not p.ended:
        raise Failure("the flow of a revoked certificate lives on")
    with Phone(r, h.kith, aor, certificate=pem) as p:
        if p.register(must=None).status != 401:
            raise Failure("a revoked certificate still registers")


@test()
def unkeyed_answer_is_cut(r):
    """A callee that answers without keys: it is acknowledged and hung up, the caller gets 488."""
    h = house(r, "alice", "bob")
    alice = Phone(r, h.kith, f"alice@{DOMAIN}", h.secrets["alice"])
    bob = Phone(r, h.kith, f"bob@{DOMAIN}", h.secrets["bob"])
    alice.register()
    bob.register()
    call = alice.invite(f"bob@{DOMAIN}", keyed())
    bob.answer(bob.expect("INVITE"), 200, "OK", unkeyed())
    bob.expect("ACK")
    bye = bob.expect("BYE")
    if "488" not in bye.get("reason"):
        raise Failure(f"the BYE has Reason {bye.get('reason')!r}")
    bob.answer(bye, 200, "OK")
    refusal = call.expect(488)
    if "399" not in refusal.get("warning"):
        raise Failure("the 488 has no Warning")


@test()
def garbage_closes_the_connection(r):
    """What is no SIP ends the connection, and nobody else notices."""
    h = house(r, "alice")
    good = Phone(r, h.kith, f"alice@{DOMAIN}", h.secrets["alice"])
    good.register()
    for junk in (b"\x00" * 200, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"REGISTER " + b"x" * 70000):
        with Phone(r, h.kith, f"alice@{DOMAIN}") as p:
            try:
                p.send_raw(junk)
            except (ConnectionError, ssl.SSLError):
                continue
            answer = p.receive(8)
            if answer and answer.status < 400 and not answer.first.startswith("HTTP/"):
                raise Failure(f"junk got {answer.first}")
            if not answer and not p.ended:
                raise Failure(f"the connection that sent {junk[:12]!r} stays open in silence")
    good.send(good.register_text())
    good.expect(200, method="REGISTER")
    if not h.kith.process.alive():
        raise Failure("the server died of it")


@test()
def delayed_offer(r):
    """An INVITE without SDP: the offer comes in the 200, the answer in the ACK."""
    h = house(r, "alice", "bob")
    alice = Phone(r, h.kith, f"alice@{DOMAIN}", h.secrets["alice"])
    bob = Phone(r, h.kith, f"bob@{DOMAIN}", h.secrets["bob"])
    alice.register()
    bob.register()
    call = alice.invite(f"bob@{DOMAIN}")
    bob.answer(bob.expect("INVITE"), 200, "OK", keyed())
    call.expect(200)
    call.ack(keyed("active"))
    ack = bob.expect("ACK")
    if b"fingerprint" not in ack.body:
        raise Failure("the answer in the ACK was lost")
    call.bye()
    bob.answer(bob.expect("BYE"), 200, "OK")
    call.expect(200, method="BYE")


@test()
def tones_module_works(r):
    """The tone finder tells tones apart and does not hear what is not there."""
    path = tones.write(r.dir / "a.wav", 440, seconds=2)
    if tones.share(path, 440) < 0.9 or tones.share(path, 880) > 0.01:
        raise Failure("440 Hz is not recognised")
    silent = tones.write(r.dir / "b.wav", 0, seconds=2)
    if tones.share(silent, 440) > 0.01:
        raise Failure("a tone is heard in silence")
