"""SIP over WebSocket, and HTTPS, on the port of SIP over TLS."""
from cases import House, test
from phone import Call, Phone, keyed
from rig import DOMAIN, Failure, wait
from web import BINARY, TEXT, Browser, WebPhone, frame

REQUEST = b"GET /nothing HTTP/1.1\r\nHost: sip.test:5061\r\n"


def house(r, *names, more=""):
    return House(r, more=more).people(*names).start()


def web_phone(h, name, **more):
    return WebPhone(h.r, h.kith, f"{name}@{DOMAIN}", h.secrets.get(name, ""), **more)


def talk(caller, callee):
    """A keyed call that the callee ends."""
    call = caller.invite(callee.aor, keyed())
    invite = callee.expect("INVITE", 15)
    tag = callee.tag
    callee.answer(invite, 180, "Ringing", tag=tag)
    callee.answer(invite, 200, "OK", keyed("active"), tag=tag)
    call.expect(200, 15)
    call.ack()
    callee.expect("ACK", 15)
    back = Call.from_invite(callee, invite, tag)
    back.bye()
    caller.answer(caller.expect("BYE", 15), 200, "OK")
    back.expect(200, 15, method="BYE")
    return invite


@test()
def web_phone_calls_tls_phone(r):
    """A browser's connection registers by digest; calls both ways, with a TLS phone; WSS in Via."""
    h = house(r, "wendy", "tom")
    wendy = web_phone(h, "wendy")
    tom = Phone(r, h.kith, f"tom@{DOMAIN}", h.secrets["tom"])
    if not wendy.register().get("contact"):
        raise Failure("no binding in the 200")
    tom.register()
    invite = talk(wendy, tom)
    if "SIP/2.0/TLS " not in invite.get("via") or "transport=tls" not in invite.get("record-route"):
        raise Failure(f"towards TLS: {invite.get('via')} {invite.get('record-route')}")
    invite = talk(tom, wendy)
    if "SIP/2.0/WSS " not in invite.get("via") or "transport=ws" not in invite.get("record-route"):
        raise Failure(f"towards WSS: {invite.get('via')} {invite.get('record-route')}")
    if "invalid" not in invite.uri:
        raise Failure(f"the Request-URI is not the browser's contact: {invite.uri}")
    wendy.send_frame(BINARY, wendy.register_text().replace("\n", "\r\n").encode() + b"\r\n\r\n")
    wendy.expect(200, 15, method="REGISTER")  # without Content-Length (RFC 7118 5), as binary
    wendy.send_raw(b"\r\n\r\n")
    wendy.pulse()
    if wendy.crlfs != 1:
        raise Failure(f"a double CRLF got {wendy.crlfs} answers")


@test()
def web_phone_and_baresip(r):
    """baresip calls the browser's connection and is called by it."""
    h = house(r, "wendy", "bob")
    bob = h.by_certificate("bob", answer="auto").start()
    wendy = web_phone(h, "wendy")
    wendy.register()
    call = wendy.invite(bob.aor, keyed())
    call.expect(200, 15)
    call.ack()
    bob.up()
    call.bye()
    call.expect(200, 15, method="BYE")
    bob.closed()
    bob.dial(wendy.aor)
    invite = wendy.expect("INVITE", 15)
    wendy.answer(invite, 200, "OK", keyed("active"))
    wendy.expect("ACK", 15)
    bob.up(nth=2)
    bob.hang_up()
    wendy.answer(wendy.expect("BYE", 15), 200, "OK")
    bob.closed(nth=2)


@test()
def bad_frames_close_their_connection_only(r):
    """What RFC 6455 and 7118 forbid ends with the code it has; another browser's call goes on."""
    h = house(r, "wendy", "tom")
    tom = Phone(r, h.kith, f"tom@{DOMAIN}", h.secrets["tom"])
    wendy = web_phone(h, "wendy")
    wendy.register()
    tom.register()
    for code, raw in ((1002, frame(TEXT, b"unmasked", mask=False)), (1002, b"\xc1\x80\0\0\0\0"),
                      (1009, frame(TEXT, b"x" * 70000)), (1007, frame(TEXT, b"\xff\xfe")),
                      (1002, frame(0, b"of nothing")), (1002, b"\x89\xfe\0\x7f\0\0\0\0"),
                      (1000, frame(8, b"\x03\xe8"))):
        p = web_phone(h, "wendy")
        p.socket.sendall(raw)
        if p.until_closed() != code:
            raise Failure(f"{raw[:16]!r} was closed with {p.closed}, not {code}")
        p.close()
    two = b"OPTIONS sip:sip.test SIP/2.0\r\n%s\r\nContent-Length: 0\r\n\r\n" % (
        wendy.via() + f"\r\nFrom: <sip:{wendy.aor}>;tag=1\r\nTo: <sip:{DOMAIN}>\r\nCall-ID: two\r\n"
        "CSeq: 1 OPTIONS\r\nMax-Forwards: 70").encode()
    before = h.kith.status()
    wendy.send_raw(two + two)
    if wendy.expect(400, 15).get("call-id") != "two":
        raise Failure("another answer")
    wendy.send_frame(TEXT, two[:100], last=False)  # in parts, with a Ping between them
    wendy.send_frame(9, b"between")
    wendy.send_frame(0, two[100:])
    wendy.expect(200, 15, method="OPTIONS")
    if b"between" not in wendy.pongs:
        raise Failure("no Pong in the middle of a message")
    talk(tom, wendy)
    after = h.kith.status()
    if after["closed_bad"] < 6 or after["bad_messages"] <= before["bad_messages"]:
        raise Failure(f"not counted: {after}")


@test()
def http_tricks_are_refused(r):
    """Path tricks, header floods, two lengths, chunks; keep-alive; the headers of every answer."""
    h = house(r, "wendy")
    with Browser(h.kith, alpn=None) as b:  # by its first bytes
        for _ in range(3):
            a = b.ask("GET", "/nothing-here")
            if a.status != 404 or b"404" not in a.body:
                raise Failure(f"{a.status} {a.body!r}")
        if "default-src 'none'" not in a.get("content-security-policy") or not a.get("date"):
            raise Failure(f"{a.headers}")
        if a.get("strict-transport-security"):
            raise Failure("HSTS under the local CA would lock people out")
        b.send(REQUEST + b"\r\n" + REQUEST + b"\r\n")  # one behind the other
        if [b.answer().status, b.answer().status] != [404, 404]:
            raise Failure("pipelined requests")
    flood = b"".join(b"X-%d: y\r\n" % i for i in range(80))
    for status, raw in ((400, b"GET /../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n"),
                        (400, b"GET /%2e%2e/x HTTP/1.1\r\nHost: x\r\n\r\n"),
                        (400, b"GET //x HTTP/1.1\r\nHost: x\r\n\r\n"),
                        (400, b"GET / HTTP/1.1\r\n\r\n"), (431, REQUEST + flood + b"\r\n"),
                        (431, REQUEST + b"X: " + b"y" * 9000), (505, b"GET / HTTP/2.7\r\n\r\n"),
                        (414, b"GET /" + b"a" * 5000), (411, b"POST /api/x HTTP/1.1\r\nHost: x\r\n\r\n"),
                        (400, REQUEST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n"),
                        (411, REQUEST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
                        (413, REQUEST + b"Content-Length: 99999999\r\n\r\n")):
        with Browser(h.kith) as b:
            b.send(raw)
            a = b.answer()
            if a.status != status or str(status).encode() not in a.body:
                raise Failure(f"{raw[:60]!r} got {a.status}, not {status}")
            b.ended()
    wendy = web_phone(h, "wendy")
    wendy.register()


@test()
def slow_http_is_cut_off(r):
    """A request that comes a byte at a time ends at the clock of a message, whatever it says."""
    h = house(r, "wendy", more="[limits]\nmessage = 2s\n")
    with Browser(h.kith) as b:
        b.send(REQUEST)
        for _ in range(200):
            try:
                b.send(b"X: y\r\n")
            except OSError:
                break
            b.socket.settimeout(0.2)
            try:
                if not b.fill():
                    break
            except TimeoutError:
                pass
        else:
            raise Failure("still open after forty seconds")
    wait(lambda: h.kith.status()["closed_unfinished"] >= 1, 10, "the count of it")
    web_phone(h, "wendy").register()
