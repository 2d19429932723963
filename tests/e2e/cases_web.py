"""SIP over WebSocket, and HTTPS, on the port of SIP over TLS."""
import concurrent.futures
import json
import os
import re
import subprocess

import qr
from authority import Authority
from cases import House, test
from phone import Call, Phone, keyed
from rig import DOMAIN, Failure, have, wait
from web import (BINARY, TEXT, Authenticator, Browser, WebPhone, cookie_of, frame, handshake,
                 sign_in, sign_up)

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
def one_port_tells_them_apart(r):
    """No ALPN, and a byte at a time: the first line alone says what a connection speaks."""
    h = house(r, "wendy")
    message = (f"OPTIONS sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/%s x.invalid;branch=z9hG4bKdrip\r\n"
               f"From: <sip:wendy@{DOMAIN}>;tag=1\r\nTo: <sip:{DOMAIN}>\r\nCall-ID: drip\r\n"
               "CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n")
    page = f"GET / HTTP/1.1\r\nHost: {DOMAIN}:5061\r\n"
    socket = ("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\n\r\n")
    for raw, wanted in ((message % "TLS", b"SIP/2.0 "), (page + "\r\n", b"HTTP/1.1 200 "),
                        (page + socket, b"HTTP/1.1 101 ")):
        with Browser(h.kith, alpn=None) as b:
            for i in range(len(raw)):  # a TLS record each
                b.send(raw[i:i + 1].encode())
            while len(b.buffer) < len(wanted) and b.fill():
                pass
            if not b.buffer.startswith(wanted):
                raise Failure(f"{raw[:20]!r} got {b.buffer[:40]!r}")
            if b"101" in wanted:  # and SIP begins there
                for byte in frame(TEXT, (message % "WSS").encode()):
                    b.send(bytes([byte]))
                while b"SIP/2.0 407" not in b.buffer:
                    if not b.fill():
                        raise Failure(f"the WebSocket said {b.buffer[-80:]!r}")


@test()
def the_page_is_all_ours(r):
    """Every file of the page: hashed names kept for good, gzip, and nothing from anywhere else."""
    h = house(r, "wendy")
    with Browser(h.kith) as b:
        def get(path, status=200, **headers):
            a = b.ask("GET", path, headers=headers)
            if a.status != status:
                raise Failure(f"{path} got {a.status}, not {status}")
            policy = a.get("content-security-policy")  # also with what is refused
            if "unsafe" in policy or re.search(r"https?:|wss?:|\*", policy) or \
               not policy.startswith("default-src 'none'"):
                raise Failure(f"{path}: {policy!r}")
            return a

        get("/nothing", 404)
        get("/api/session")
        get("/api/people", 401)
        index = get("/")
        if index.get("cache-control") != "no-cache":
            raise Failure(f"the page itself is kept: {index.headers}")
        links = re.findall(r"""(?:src|href)="([^"]*)\"""", index.body.decode())
        if len(links) < 3 or any(not link.startswith("/") or link.startswith("//")
                                 for link in links):
            raise Failure(f"the page asks elsewhere, or for nothing: {links}")
        for link in links:
            a = get(link, **{"Accept-Encoding": "gzip"})
            if "immutable" not in a.get("cache-control") or not re.search(r"[0-9A-Fa-f]{8}|"
                                                                         r"-[0-9A-Z]{8}\.", link):
                raise Failure(f"{link}: {a.get('cache-control')}")
            if a.get("content-encoding") != "gzip" or a.body[:2] != b"\x1f\x8b":
                raise Failure(f"{link} is not compressed")
            get(link, 304, **{"If-None-Match": a.get("etag")})
        script = get("/kith-call.js")
        if script.get("access-control-allow-origin") != "*" or \
           script.get("cache-control") != "no-cache":
            raise Failure(f"/kith-call.js: {script.headers}")


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
def websocket_handshakes_refused(r):
    """Wrong origin, subprotocol, version or place: no WebSocket; without Origin it is no browser."""
    h = house(r, "wendy", more="[web]\norigins = https://app.test\n")
    for wanted, more in ((101, {}), (101, {"origin": False}), (101, {"path": "/"}),
                         (101, {"origin": "https://app.test"}),
                         (403, {"origin": "https://evil.test"}), (403, {"origin": "null"}),
                         (403, {"origin": "http://sip.test:5061"}), (400, {"protocol": ""}),
                         (400, {"protocol": "chat"}), (426, {"version": "8"}),
                         (404, {"path": "/other"})):
        with Browser(h.kith) as b:
            a = handshake(b, **more)
            if a.status != wanted:
                raise Failure(f"{more} got {a.status}, not {wanted}")
    with Browser(h.kith) as b:
        a = b.ask("GET", "/ws", host="evil.test", headers={
            "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": "sip",
            "Origin": "https://evil.test"})
        if a.status != 403:
            raise Failure(f"a host that is not ours got {a.status}")


@test()
def http_tricks_are_refused(r):
    """HEAD, conditions, ranges, targets, methods, smuggling, floods: as RFC 9110 and 9112 say.

    What cannot be understood ends its own connection only."""
    h = house(r, "wendy")
    place = f"Host: {DOMAIN}:5061\r\n".encode()

    def must(condition, what):
        if not condition:
            raise Failure(what)

    with Browser(h.kith, alpn=None) as b:  # by its first bytes; what is understood keeps it
        def ask(method, path, status, **headers):
            a = b.ask(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
            must(a.status == status, f"{method} {path} {headers} got {a.status}, not {status}")
            return a

        must("default-src 'none'" in (a := ask("GET", "/nothing-here", 404)).get(
            "content-security-policy") and a.get("date") and b"404" in a.body, f"{a.headers}")
        must(not a.get("strict-transport-security"),
             "HSTS under the local CA would lock people out")
        b.send(REQUEST + b"\r\n" + REQUEST + b"\r\n")  # one behind the other
        must([b.answer().status, b.answer().status] == [404, 404], "pipelined requests")
        page, head = ask("GET", "/", 200), ask("HEAD", "/", 200)
        for name in ("content-length", "content-type", "etag", "cache-control"):
            must(page.get(name) and page.get(name) == head.get(name), f"HEAD has another {name}")
        must(int(page.get("content-length")) == len(page.body), "the length is not the body's")
        tag = page.get("etag")
        for known in (tag, f'"a", {tag}', tag.removeprefix("W/"), "*"):  # RFC 9110 13.1.2
            a = ask("GET", "/", 304, If_None_Match=known)
            must(a.get("etag") == tag and not a.get("content-type"), f"{a.headers}")
        ask("GET", "/", 200, If_None_Match='"other"')
        a = ask("GET", "/", 200, Range="bytes=0-3")  # RFC 9110 14.2: a server may ignore it
        must(a.body == page.body, "part of the page")
        a = ask("GET", "/", 200, Accept_Encoding="gzip")
        must(a.get("content-encoding") == "gzip" and "ncoding" in a.get("vary"), f"{a.headers}")
        a = ask("GET", f"https://{DOMAIN}:5061/", 200)  # RFC 9112 3.2.2
        must(a.body == page.body, "another page for the absolute form")
        must("HEAD" in ask("OPTIONS", "*", 204).get("allow"), "no Allow in 204")
        ask("HEAD", "/api/session", 200)
        ask("HEAD", "/api/people", 401)
        must(ask("GET", "/api/people", 401).get("www-authenticate"), "401 without a challenge")
        for method, path, allow in (("POST", "/", "GET, HEAD"), ("GET", "/api/logout", "POST"),
                                    ("OPTIONS", "/api/session", "GET, HEAD")):
            b.send(f"{method} {path} HTTP/1.1\r\n".encode() + place +
                   b"Content-Length: 2\r\n\r\n{}")
            a = b.answer()
            must((a.status, a.get("allow")) == (405, allow),
                 f"{method} {path}: {a.status} {a.headers}")
        for method in ("PUT", "TRACE", "CONNECT", "PROPFIND"):
            ask(method, "/", 501)
        a = handshake(b, version="8")  # RFC 6455 4.4, RFC 9110 15.5.22
        must((a.status, a.get("upgrade"), a.get("sec-websocket-version")) ==
             (426, "websocket", "13"), f"{a.status} {a.headers}")

    get, post = b"GET / HTTP/1.1\r\n" + place, b"POST /api/logout HTTP/1.1\r\n" + place
    hidden = b"GET /api/session HTTP/1.1\r\n" + place + b"\r\n"
    for status, raw in (
            (400, post + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n"),
            (400, post + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            (411, post + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
            (400, post + b"Transfer-Encoding : chunked\r\nContent-Length: 0\r\n\r\n"),
            (400, post + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\n"),
            (400, post + b"Content-Length: 0, 0\r\n\r\n"),
            (400, post + b"Content-Length: +0\r\n\r\n"),
            (400, post + b"Content-Length: -1\r\n\r\n"),
            (400, post + b"Content-Length: 0x1\r\n\r\n"),
            (413, post + b"Content-Length: 16385\r\n\r\n"),
            (413, post + b"Content-Length: 18446744073709551617\r\n\r\n"),
            (400, b"GET / HTTP/1.1\nHost: x\n\n"), (400, get + b"X: a\n\r\n"),
            (400, get + b"X: a\r\n folded\r\n\r\n"), (400, get + b" X: a\r\n\r\n"),
            (400, get + b"X: a\0b\r\n\r\n"), (400, get + b"X: a\rb\r\n\r\n"),
            (400, get + b"X\r\n\r\n"), (400, get + b"Host: evil.test\r\n\r\n"),
            (431, get + b"X: y\r\n" * 65 + b"\r\n"),
            (431, get + b"X: " + b"y" * 9000 + b"\r\n\r\n"),
            *((400, b"GET %s HTTP/1.1\r\n" % target + place + b"\r\n") for target in (
                b"/../etc/passwd", b"/..", b"/a/../b", b"/./a", b"/%2e%2e/etc/passwd", b"/%2E./x",
                b"/..%2fx", b"//evil.test/", b"/a//b", b"/\\..\\x", b"/a\\b", b"/a\0b", b"/a%00", b"/\xc0\xae", b"x",
                b"*", b"http://sip.test/", b"https:///x", b"https://sip.test/../x", b"/a b")),
            (414, b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n" + place + b"\r\n"),
            (505, b"GET / HTTP/3.0\r\n\r\n"), (400, b"GET /\r\n\r\n"),
            (400, b"GET / HTTP/1.1\r\n\r\n")):
        with Browser(h.kith) as b:
            b.send(raw + hidden)  # what follows must not be taken for a request
            a = b.answer()
            must(a.status == status and a.get("connection") == "close",
                 f"{raw[:90]!r} got {a.status} {a.get('connection')}, not {status}")
            b.ended()
            must(not b.buffer, f"{raw[:90]!r}: a hidden request was answered: {b.buffer[:80]!r}")
    must(h.kith.status()["http_refused"] >= 40, "not counted")
    web_phone(h, "wendy").register()


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


@test()
def hsts_follows_the_certificate(r):
    """HSTS begins with the operator's certificate and ends with it, at a reload, without a restart."""
    h = house(r)
    local, mine = h.kith.conf.read_text(), Authority(r)
    chain, key = mine.certificate("page", [f"DNS:{DOMAIN}"])

    def said(root, host=None):
        h.kith.root = root
        with Browser(h.kith) as b:  # of the page, of its calls, and of what is refused
            all_of = {bool(b.ask("GET", path, host=host).get("strict-transport-security"))
                      for path in ("/", "/api/session", "/api/people", "/nothing")}
        if len(all_of) != 1:
            raise Failure("some answers have HSTS and others do not")
        return all_of.pop()

    def reload(text, times):
        h.kith.conf.write_text(text)
        h.kith.process.p.send_signal(1)  # SIGHUP
        h.kith.process.wait_text("reloaded", count=times)

    if said(None):
        raise Failure("HSTS under the local CA")
    reload(f"{local}\n[tls]\ncertificate = {chain}\nkey = {key}\n", 1)
    if not said(mine.root):
        raise Failure("no HSTS with the operator's certificate")
    if said(mine.root, "localhost:5061"):
        raise Failure("HSTS would keep people from whatever else runs on their localhost")
    reload(local, 2)
    if said(None):
        raise Failure("HSTS is still said under the local CA")


@test()
def passkey_signs_in(r):
    """Invitation, passkey, session: its WebSocket speaks for the person without a password."""
    h = house(r, "wendy", "tom")
    key = Authenticator(r)
    cookie = sign_up(h.kith, f"wendy@{DOMAIN}", key)
    tom = Phone(r, h.kith, f"tom@{DOMAIN}", h.secrets["tom"])
    tom.register()
    wendy = WebPhone(r, h.kith, f"wendy@{DOMAIN}", cookie=cookie)
    wendy.register()
    if wendy.challenge:
        raise Failure("REGISTER was challenged")
    talk(wendy, tom)
    talk(tom, wendy)
    wendy.send(wendy.register_text(to=f"tom@{DOMAIN}"))
    wendy.expect(401, 15)  # she is nobody else
    with Browser(h.kith) as b:
        me = b.ask("GET", "/api/session", headers={"Cookie": cookie}).json()
        if not me["signed_in"] or me["aor"] != f"wendy@{DOMAIN}":
            raise Failure(f"{me}")
        people = b.ask("GET", "/api/people?q=TO", headers={"Cookie": cookie}).json()["people"]
        if [(p["aor"], p["reachable"]) for p in people] != [(f"tom@{DOMAIN}", True)]:
            raise Failure(f"{people}")
        a = b.ask("GET", "/api/turn", headers={"Cookie": cookie})
        if a.status != 200 or "iceServers" not in a.json():
            raise Failure(f"{a.status} {a.body!r}")
    again = sign_in(h.kith, key)
    other = WebPhone(r, h.kith, f"wendy@{DOMAIN}", cookie=cookie_of(again))
    other.register()
    if len(h.kith.bindings(f"wendy@{DOMAIN}")) != 2:
        raise Failure("two browsers, but not two bindings")
    with Browser(h.kith) as b:  # signing out ends that browser's connection, and no other
        if b.ask("POST", "/api/logout", {}, headers={"Cookie": cookie_of(again)}).status != 204:
            raise Failure("signing out")
        if b.ask("GET", "/api/people", headers={"Cookie": cookie_of(again)}).status != 401:
            raise Failure("the session lives on")
    other.until_closed()
    wendy.pulse()
    with Browser(h.kith) as b:  # the passkey goes, and what it opened
        devices = b.ask("GET", "/api/devices", headers={"Cookie": cookie}).json()["devices"]
        if sorted(d["kind"] for d in devices) != ["passkey", "session"]:
            raise Failure(f"{devices}")
    passkey = next(d for d in devices if d["kind"] == "passkey")
    h.kith.cli("device", "revoke", str(passkey["id"]))
    wendy.until_closed()
    if sign_in(h.kith, key).status != 401:
        raise Failure("a revoked passkey signs in")


def at_a_terminal(command):
    """What a person sees."""
    terminal, its = os.openpty()
    with subprocess.Popen(command, stdout=its, stderr=its, stdin=its) as p:
        os.close(its)
        text = b""
        while True:
            try:
                text += os.read(terminal, 65536)
            except OSError:  # EIO: it has ended
                break
        p.wait(30)
    os.close(terminal)
    return text.decode().replace("\r\n", "\n")


@test()
def invitation_as_a_picture(r):
    """On a terminal `kith invite` draws its link; a camera that reads the picture has the link."""
    h = house(r, "wendy")
    text = at_a_terminal([r.kith_binary, "invite", f"wendy@{DOMAIN}", "--data", h.kith.data])
    link = re.search(r"https://\S+#invite=\S+", text)
    if not link or qr.read(text) != link.group():
        raise Failure(f"{link and link.group()} is drawn as {qr.read(text)!r}")
    for what, head, row in (("user", r"ADDRESS +STATE +NUMBERS +NAME", f"wendy@{DOMAIN} "),
                            ("device", r"NUMBER PERSON +KIND +STATE +UNTIL +NAME", r"\d+ +wendy@")):
        words = ["list", "--data", h.kith.data]
        first, second = at_a_terminal([r.kith_binary, what, *words]).splitlines()[:2]
        if not re.fullmatch(head, first) or not re.match(row, second):
            raise Failure(f"kith {what} list begins with {first!r}, {second!r}")
        if re.match(head, h.kith.cli(what, "list")):
            raise Failure(f"kith {what} list gives a script a head line")


@test()
def invitations_are_for_one(r):
    """Of two who use one at once one gets in; a revoked one and an old one are void; no secret."""
    h = house(r, "wendy")
    wendy = f"wendy@{DOMAIN}"
    link = json.loads(h.kith.cli("invite", wendy, "--json"))["link"]
    token = link.partition("#invite=")[2]
    pages, keys = [Browser(h.kith) for _ in range(2)], [Authenticator(r) for _ in range(2)]

    def options(b, token):
        return b.ask("POST", "/api/invite/options", {"token": token})

    asked = [options(b, token).json()["publicKey"] for b in pages]
    bodies = [{"token": token, "credential": k.create(o, b.origin)}
              for k, o, b in zip(keys, asked, pages)]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        got = list(pool.map(lambda b, body: b.ask("POST", "/api/invite/finish", body), pages, bodies))
    if sorted(a.status for a in got) != [200, 404]:
        raise Failure(f"two at once got {[a.status for a in got]}")
    said = "".join(str(a.headers) + a.body.decode() for a in got)
    fresh = json.loads(h.kith.cli("invite", wendy, "--json"))["link"].partition("#invite=")[2]
    rows = [json.loads(line) for line in h.kith.cli("device", "list", wendy, "--json").splitlines()]
    invites = [row["device"] for row in rows if row.get("kind") == "invite"]
    if len(invites) != 1:
        raise Failure(f"{rows}")
    answer = options(pages[0], fresh)
    said += answer.body.decode()
    h.kith.cli("device", "revoke", str(invites[0]))
    if (answer.status, options(pages[0], fresh).status) != (200, 404):
        raise Failure("a revoked invitation is still good")
    cookie = cookie_of(next(a for a in got if a.status == 200))
    for path in ("/api/session", "/api/people", "/api/devices", "/api/turn"):
        said += pages[0].ask("GET", path, headers={"Cookie": cookie}).body.decode()
    if h.secrets["wendy"] in said or "ha1" in said.lower():
        raise Failure("the page was told a secret")
    link = json.loads(h.kith.cli("invite", wendy, "--for", "1s", "--json"))["link"]
    wait(lambda: options(pages[0], link.partition("#invite=")[2]).status == 404, 20, "its end")


@test()
def trust_is_installed_and_taken_back(r):
    """The CA goes into Chromium's store and each profile of Firefox, and out of all of them."""
    have("certutil")
    h = house(r)
    home = r.dir / "home"
    stores = [home / ".pki/nssdb", home / ".mozilla/firefox/abc.default-esr",
              home / "snap/firefox/common/.mozilla/firefox/x.default"]
    for one in stores[1:]:
        one.mkdir(parents=True)
        r.run(["certutil", "-N", "-d", f"sql:{one}", "--empty-password"])
    (home / ".mozilla/firefox/no-profile").mkdir()

    def trust(what):
        return r.run([h.kith.rig.kith_binary, "trust", what, "--only", "browser", "--yes", "--data",
                      h.kith.data], env={**os.environ, "HOME": str(home)})

    def trusting():
        return [one for one in stores if one.exists() and "Kith local CA" in
                r.run(["certutil", "-L", "-d", f"sql:{one}"])]

    for what, wanted in (("install", stores), ("install", stores), ("remove", [])):
        said = trust(what)
        if trusting() != wanted:
            raise Failure(f"after {what}: {trusting()}: {said}")
    # What it vouches for: a browser's question, asked by NSS itself.
    trust("install")
    kept = r.run(["certutil", "-L", "-d", f"sql:{stores[1]}", "-n", "Kith local CA", "-a"])
    if kept.split() != open(h.kith.ca).read().split():
        raise Failure("another CA was installed")
    trust("remove")


@test()
def sessions_survive_a_restart(r):
    """kill -9: the cookie and the passkey are good for the next run too."""
    h = house(r, "wendy")
    key = Authenticator(r)
    cookie = sign_up(h.kith, f"wendy@{DOMAIN}", key)
    h.kith.kill()
    h.kith.start()
    WebPhone(r, h.kith, f"wendy@{DOMAIN}", cookie=cookie).register()
    if sign_in(h.kith, key).status != 200:
        raise Failure("the passkey was forgotten")


@test()
def stolen_proofs_are_worth_nothing(r):
    """Used invitations, replayed and foreign passkey answers, cookies from other pages: refused."""
    h = house(r, "wendy", "tom")
    key, other = Authenticator(r), Authenticator(r)
    link = json.loads(h.kith.cli("invite", f"wendy@{DOMAIN}", "--json"))["link"]
    token = link.partition("#invite=")[2]
    with Browser(h.kith) as b:
        def finish(credential, **more):
            return b.ask("POST", "/api/invite/finish", {"token": token, "credential": credential},
                         **more)

        options = b.ask("POST", "/api/invite/options", {"token": token}).json()["publicKey"]
        for what, credential in (("origin", key.create(options, "https://evil.test")),
                                 ("host", key.create(options, b.origin, rp="evil.test")),
                                 ("touch", key.create(options, b.origin, flags=0x40)),
                                 ("kind", key.get({**options, "rpId": DOMAIN}, b.origin))):
            if (a := finish(credential)).status != 403:
                raise Failure(f"a passkey with another {what}: {a.status} {a.body!r}")
        login = b.ask("POST", "/api/login/options", {}).json()["publicKey"]
        if finish(key.create({**options, "challenge": login["challenge"]}, b.origin)).status != 403:
            raise Failure("a challenge made for something else")
        good = key.create(options, b.origin)
        if finish(good, origin="https://evil.test").status != 403 or \
           finish(good, origin=False).status != 403:
            raise Failure("a forged request")
        a = finish(good)
        if a.status != 200:
            raise Failure(f"{a.status} {a.body!r}")
        cookie = cookie_of(a)
        if finish(good).status != 404 or \
           b.ask("POST", "/api/invite/options", {"token": token}).status != 404:
            raise Failure("the invitation works twice")
        login = b.ask("POST", "/api/login/options", {}).json()["publicKey"]
        proof = key.get(login, b.origin)
        forged = {**other.get(login, b.origin), "id": proof["id"]}
        for credential, wanted in ((forged, 401), (other.get(login, b.origin), 401), (proof, 200),
                                   (proof, 401)):
            a = b.ask("POST", "/api/login/finish", {"credential": credential})
            if a.status != wanted:
                raise Failure(f"a sign-in got {a.status}, not {wanted}: {a.body!r}")
        if b.ask("DELETE", "/api/devices/1", headers={"Cookie": cookie}).status != 404:
            raise Failure("somebody else's device")
        if b.ask("POST", "/api/logout", {}, headers={"Cookie": cookie},
                 origin="https://evil.test").status != 403:
            raise Failure("signed out from another page")
    with Browser(h.kith) as b:
        if handshake(b, origin="https://evil.test", cookie=cookie).status != 403:
            raise Failure("a WebSocket from another page")
    bare = WebPhone(r, h.kith, f"wendy@{DOMAIN}", origin=False, cookie=cookie)  # no browser
    bare.register(must=401)
    if h.kith.status()["http_refused"] < 10:
        raise Failure("not counted")


@test()
def visitor_calls_from_another_site(r):
    """Click-to-call: a guest reaches the one address, nothing else, and only from that site."""
    shop = "https://shop.test"
    h = house(r, "sales", "tom")
    h.kith.cli("clicktocall", "add", f"sales@{DOMAIN}", "--origin", shop, "--at-once", "2")
    sales = Phone(r, h.kith, f"sales@{DOMAIN}", h.secrets["sales"])
    sales.register()

    def ask(to=f"sales@{DOMAIN}", origin=shop):
        with Browser(h.kith) as b:
            return b.ask("POST", "/api/guest", {"to": to, "name": "Ann"}, origin=origin)

    with Browser(h.kith) as b:
        a = b.ask("OPTIONS", "/api/guest", headers={"Origin": shop})
        if a.status != 204 or a.get("access-control-allow-origin") != shop:
            raise Failure(f"{a.status} {a.headers}")
    if ask(origin="https://evil.test").status != 403 or ask(to=f"tom@{DOMAIN}").status != 403:
        raise Failure("anybody may call anybody")
    a = ask()
    if a.status != 200 or a.get("access-control-allow-origin") != shop:
        raise Failure(f"{a.status} {a.body!r}")
    told = a.json()
    with Browser(h.kith) as b:
        if handshake(b, path=told["ws"], origin="https://evil.test").status != 403:
            raise Failure("the token works on another site")
    ann = WebPhone(r, h.kith, told["aor"], path=told["ws"], origin=shop)
    if not ann.user.startswith("guest-"):
        raise Failure(told["aor"])
    shown = talk(ann, sales).get("from")
    if f"<sip:{told['aor']}>" not in shown:
        raise Failure(f"the visitor is not shown as one: {shown}")
    for to in (f"tom@{DOMAIN}", "bob@elsewhere.test", f"{DOMAIN}", told["aor"]):
        ann.invite(to, keyed()).expect(403, 15)
    ann.invite(f"sales@{DOMAIN}", keyed(),
               from_line=f'"Tom" <sip:tom@{DOMAIN}>;tag=x').expect(403, 15)

    def refused(method, uri, to, more=""):
        call_id = f"{method}-{uri}-{len(more)}"
        ann.send(f"{method} sip:{uri} SIP/2.0\n{ann.via()}\nMax-Forwards: 70\n"
                 f"From: <sip:{ann.aor}>;tag=m\nTo: <sip:{to}>\nCall-ID: {call_id}\n"
                 f"CSeq: 1 {method}\nContact: {ann.contact}{more}")
        ann.expect(403, 15, method=method, call_id=call_id)

    entry, person = f"sales@{DOMAIN}", f"tom@{DOMAIN}"
    for method in ("MESSAGE", "SUBSCRIBE", "OPTIONS", "INFO", "NOTIFY", "PUBLISH"):
        refused(method, entry, entry, "\nEvent: presence")
    refused("REFER", entry, entry, f"\nRefer-To: <sip:{person}>")
    refused("INVITE", person, entry)  # the Request-URI decides, not To
    ann.register(must=401)
    ann.send(ann.register_text(to=person))
    ann.expect(401, 15, method="REGISTER")
    call = ann.invite(entry, keyed())
    invite = sales.expect("INVITE", 15)
    sales.answer(invite, 200, "OK", keyed("active"), tag="in")
    call.expect(200, 15)
    call.ack()
    sales.expect("ACK", 15)
    call.request("REFER", f"Refer-To: <sip:{person}>")  # nor may sales be sent to call there
    call.expect(403, 15, method="REFER")
    back = Call.from_invite(sales, invite, "in")
    back.bye()
    ann.answer(ann.expect("BYE", 15), 200, "OK")
    back.expect(200, 15, method="BYE")
    sales.nothing("REFER", 0)

    ringing = [ann.invite(entry, keyed()) for _ in range(4)]  # three of them, then no more
    ringing[3].expect(403, 15)
    for one in ringing[:3]:
        sales.answer(sales.expect("INVITE", 15), 486, "Busy Here")
        one.expect(486, 15)
    more = [WebPhone(r, h.kith, told["aor"], path=told["ws"], origin=shop) for _ in range(2)]
    with Browser(h.kith) as b:
        if handshake(b, path=told["ws"], origin=shop).status != 403:
            raise Failure("one visitor may connect without end")
        if handshake(b, cookie=f"__Host-kith={told['ws'].partition('=')[2]}").status != 101:
            raise Failure("a cookie that is none is a browser without")
    stray = WebPhone(r, h.kith, told["aor"], cookie=f"__Host-kith={told['ws'].partition('=')[2]}")
    stray.invite(entry, keyed()).expect(407, 15)  # the token is no cookie
    for one in more:
        one.close()
    if ask().status != 200 or ask().status != 429:
        raise Failure("more than two at once")
    if "guest-" in h.kith.cli("user", "list"):
        raise Failure("visitors are listed as people")
    h.kith.cli("clicktocall", "remove", f"sales@{DOMAIN}")
    if ask().status != 403:
        raise Failure("removed, and still there")
    ann.until_closed(60)  # and who is there already, is out
