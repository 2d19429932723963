"""A SIP server that is right by default and wrong where it is told to be.

Fake(broken="REG-003/star") breaks just the clause of that test of `kith check`. Every test of the
tester has such a switch here (self.bad("...")), so that the run (run.py) can show for each that the
right server passes and the broken one fails. It is written for that and for nothing else: no
robustness, no speed. It listens on loopback only.
"""
import asyncio
import asyncio.sslproto
import hashlib
import re
import secrets
import ssl
import struct
import time

import fake_meet
import fake_ws
from sipmsg import Msg, Uri, params, split, uri_of

DOMAIN = "fake.test"
ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, MESSAGE"
TEXTS = {100: "Trying", 200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden",
         404: "Not Found", 405: "Method Not Allowed", 407: "Proxy Authentication Required",
         412: "Conditional Request Failed", 416: "Unsupported URI Scheme", 420: "Bad Extension",
         423: "Interval Too Brief", 430: "Flow Failed", 439: "First Hop Lacks Outbound Support",
         440: "Max-Breadth Exceeded", 480: "Temporarily Unavailable", 481: "No Such Call",
         482: "Loop Detected", 483: "Too Many Hops", 486: "Busy Here", 487: "Terminated",
         488: "Not Acceptable Here", 489: "Bad Event", 500: "Server Error", 503: "Unavailable",
         505: "Version Not Supported", 513: "Message Too Large", 555: "Push Not Supported"}
T1 = 0.5


def send_alerts():
    """asyncio ends a failed handshake without sending the alert that OpenSSL made."""
    protocol = asyncio.sslproto.SSLProtocol
    before = protocol._on_handshake_complete

    def complete(self, problem):
        if problem is not None and self._transport is not None:
            self._process_outgoing()
        before(self, problem)
    protocol._on_handshake_complete = complete


send_alerts()


class Conn:
    def __init__(self, fake, kind, send, close, peer):
        self.fake, self.kind, self.write, self.close, self.peer = fake, kind, send, close, peer
        self.users, self.open = set(), True
        self.options, self.loss, self.offered = 0, 0, 0

    def send(self, data):
        if self.open:
            self.write(data)


class Server:  # a server transaction
    def __init__(self, conn, request):
        self.conn, self.request, self.last, self.final = conn, request, None, 0
        self.branches, self.acked, self.cancelled = [], False, False


class Client:  # a branch of a forwarded request
    def __init__(self, server, conn, request, target):
        self.server, self.conn, self.request, self.target = server, conn, request, target
        self.provisional, self.final, self.cancelled, self.answer = False, 0, False, None
        self.born = time.monotonic()


class Fake:
    def __init__(self, people, cert, broken=""):
        self.people, self.cert, self.broken = people, cert, broken
        self.used = set()
        self.bindings, self.servers, self.clients = {}, {}, {}
        self.conns, self.nonces, self.tasks, self.closers = set(), {}, set(), []
        self.meeting = fake_meet.Meeting(self, DOMAIN)
        self.run_id = secrets.token_hex(4)

    def bad(self, *tests):
        return self.broken in tests

    def later(self, coroutine):
        task = asyncio.get_running_loop().create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    # ---- listening -------------------------------------------------------------------------

    def tls_context(self):
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ctx.load_cert_chain(self.cert.file)
        ctx.minimum_version = ssl.TLSVersion.TLSv1_2
        ctx.set_ciphers("ECDHE+AESGCM:@SECLEVEL=0")
        if not self.bad("TRANS-003/mutual"):
            ctx.verify_mode = ssl.CERT_OPTIONAL
            ctx.load_verify_locations(self.cert.file)
        old = {"TRANS-004/tls-1.0": ssl.TLSVersion.TLSv1, "TRANS-004/tls-1.1": ssl.TLSVersion.TLSv1_1}
        if self.broken in old:
            ctx.minimum_version = old[self.broken]
            ctx.set_ciphers("ALL:@SECLEVEL=0")
        if self.bad("TRANS-005/tls-1.2"):
            ctx.minimum_version = ssl.TLSVersion.TLSv1_3
        if self.bad("TRANS-005/tls-1.3", "TRANS-006/default"):
            ctx.maximum_version = ssl.TLSVersion.TLSv1_2
        weak = {"TRANS-007/null": "eNULL:ECDHE+AESGCM", "TRANS-007/anonymous": "aNULL:ECDHE+AESGCM",
                "TRANS-008/static-rsa": "kRSA:ECDHE+AESGCM", "TRANS-009/dhe": "DHE:ECDHE+AESGCM",
                "TRANS-007/forward-secret": "kRSA:ECDHE+AESGCM"}
        if self.broken in weak:
            ctx.set_ciphers(weak[self.broken] + ":@SECLEVEL=0")
            ctx.load_dh_params(self.cert.dh)
        if self.bad("TRANS-007/forward-secret"):
            ctx.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE

        def name(_, server_name, __):
            if server_name not in (None, DOMAIN, "localhost") and not self.bad("TRANS-010/unknown-name"):
                return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
            return None
        ctx.sni_callback = name
        return ctx

    async def start(self):
        loop = asyncio.get_running_loop()
        self.udp, protocol = await loop.create_datagram_endpoint(
            lambda: Datagrams(self), local_addr=("127.0.0.1", 0))
        self.ports = {"UDP": self.udp.get_extra_info("sockname")[1]}
        tls = self.tls_context()
        for kind, context in (("TCP", None), ("TLS", tls), ("WSS", tls)):
            async def accept(reader, writer, kind=kind):
                await (self.websocket if kind == "WSS" else self.stream)(kind, reader, writer)
            s = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context, limit=1 << 22)
            self.ports[kind] = s.sockets[0].getsockname()[1]
            self.closers.append(s)
            if kind == "TLS" and not self.bad("IPV6-001/both", "TRUNK-007/both"):
                s6 = await asyncio.start_server(accept, "::1", 0, ssl=context)
                self.ports["TLS6"] = s6.sockets[0].getsockname()[1]
                self.closers.append(s6)
        self.datagrams = protocol

    async def stop(self):
        for task in list(self.tasks):
            task.cancel()
        self.udp.close()
        for s in self.closers:
            s.close()
        for c in list(self.conns):
            c.close()

    async def websocket(self, kind, reader, writer):
        start, headers = await fake_ws.read_head(reader)
        answer = fake_ws.answer_upgrade(start, headers, self.bad, lambda origin: "stranger" in (origin or ""))
        writer.write((answer or "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").encode())
        ws = fake_ws.WebSocket(reader, writer, self.bad, is_server=True)
        conn = Conn(self, kind, ws.send, writer.close, writer.get_extra_info("peername")[:2])
        self.conns.add(conn)
        try:
            while answer and (got := await ws.message()):
                self.take_whole(conn, got[1])
        except fake_ws.Broken as e:
            ws.control(fake_ws.CLOSE, struct.pack("!H", e.args[0]))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            pass
        finally:
            self.closed(conn)
            writer.close()

    def take_whole(self, conn, data):
        """RFC 7118 5: what stands behind the first SIP message is not looked at."""
        end = data.find(b"\r\n\r\n") + 4
        size = re.search(rb"(?i)\r\ncontent-length: *(\d+)", data[:end])
        end += int(size.group(1)) if size else len(data)
        self.take(conn, data[:end])
        if self.bad("TRANS-020/two-in-one") and data[end:]:
            self.take(conn, data[end:])

    async def stream(self, kind, reader, writer):
        peer = writer.get_extra_info("peername")[:2]
        conn = Conn(self, kind, writer.write, writer.close, peer)
        self.conns.add(conn)
        data = b""
        try:
            while True:
                if data.startswith(b"GET ") and self.bad("TRANS-022/clear-text"):
                    writer.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
                while data.startswith(b"\r\n"):
                    if data.startswith(b"\r\n\r\n"):
                        data = data[4:]
                        if not self.bad("OUTB-007/crlf"):
                            writer.write(b"\r\n")
                        if self.bad("OUTB-015/keep"):
                            writer.write(b"\r\n")
                    elif len(data) > 2:
                        data = data[2:]
                    else:
                        break
                end = data.find(b"\r\n\r\n")
                if end < 0 and len(data) > 65536 and not self.bad("PARSE-004/oversized"):
                    return
                if end >= 0:
                    size = self.length(conn, data[:end + 4])
                    if size is None:
                        await asyncio.sleep(0.05)
                        return
                    if len(data) >= end + 4 + size:
                        self.take(conn, data[:end + 4 + size])
                        data = b"" if self.bad("PARSE-002/two-in-one") else data[end + 4 + size:]
                        continue
                more = await reader.read(400000)
                if not more:
                    return
                data += more
        except (ConnectionError, asyncio.CancelledError, ssl.SSLError):
            pass
        finally:
            self.closed(conn)
            writer.close()

    def length(self, conn, head):
        """Content-Length of a message on a stream; None: answered and to be closed."""
        m = Msg.read(head)
        said = m.lines("Content-Length")
        value = said[0] if said else "0"
        if len(said) > 1 and not self.bad("PARSE-016/two-lengths"):
            self.reply_raw(conn, m, 400)
            return None
        if not value.isdigit():
            tests = {"-999": "PARSE-009/negative"}.get(value, "PARSE-009/no-number")
            if not self.bad(tests):
                self.reply_raw(conn, m, 400)
                return None
            return 0
        if len(head) > 65536 and not self.bad("PARSE-004/oversized"):
            self.reply_raw(conn, m, 513)
            return None
        return int(value)

    def closed(self, conn):
        conn.open = False
        self.conns.discard(conn)
        if self.bad("OUTB-011/closed"):
            return
        for aor in self.bindings:
            self.bindings[aor] = [b for b in self.bindings[aor] if b["conn"] is not conn or b["path"]]

    # ---- messages --------------------------------------------------------------------------

    def take(self, conn, data):
        if self.bad("PARSE-002/one-in-many") and b"Call-ID: many" in data:
            return None  # as if each segment were a message
        m = Msg.read(data)
        if m.start.startswith("SIP/"):
            return self.response(conn, m)
        found = re.fullmatch(r"(\S+) (\S+) SIP/(\S+)", m.start)
        if not found or not m.lines("Via"):
            return None
        if conn.kind == "UDP":
            size = int(m.get("Content-Length") or len(m.body))
            if size > len(m.body) and not self.bad("PARSE-008/udp-length"):
                return self.reply_raw(conn, m, 400)
            rest, m.body = m.body[size:], m.body[:size]
            if self.bad("PARSE-007/udp-trailing") and rest:
                self.take(conn, rest)
        self.fix_via(conn, m)
        problem = self.problem(m, found.group(3))
        if problem == "drop":
            return None
        if problem:
            return self.reply_raw(conn, m, problem)
        return self.request(conn, m)

    def fix_via(self, conn, m):
        """RFC 3261 18.2.1, RFC 3581 4."""
        vias = m.values("Via")
        top = re.sub(r"\s*([;=/])\s*", r"\1", vias[0])
        p, host = params(top), re.sub(r":\d+$", "", m.sent_by())
        if host != conn.peer[0] and not self.bad("ROUTE-007/received") or "rport" in p:
            if not self.bad("CORE-038/rport"):
                top += f";received={conn.peer[0]}"
        if "rport" in p:
            port = 1 if self.bad("CORE-038/rport") else conn.peer[1]
            top = re.sub(r"(?i);rport(?=;|$)", f";rport={port}", top)
        if "keep" in p:
            top = re.sub(r";keep(?=;|$)", ";keep=30", top)
        if "oc" in p or self.bad("OVLD-003/oc"):
            top = re.sub(r";oc(?=;|$)", "", top) + ";oc=0;oc-validity=500"
        m.set("Via", [top] + vias[1:], first=True)

    def problem(self, m, version):
        skip = self.bad
        number, method = m.cseq
        if self.bad("PARSE-005/tortuous") and "NewFangledHeader" in dict(m.headers):
            return 400
        if self.bad("PARSE-001/compact-and-folded") and "X-Unknown" in dict(m.headers):
            return 400
        if self.bad("PARSE-001/case") and "eXpIrEs" in dict(m.headers):
            return 400
        if self.bad("PARSE-021/received-forms") and any("received=[" in v for v in m.values("Via")):
            return 400
        if version != "2.0" and not skip("PARSE-011/unknown-version"):
            return 505
        for name, test in (("From", "PARSE-013/no-from"), ("To", "PARSE-013/no-to"),
                           ("Call-ID", "PARSE-013/no-call-id")):
            if not m.lines(name):
                return 200 if skip(test) else 400
        for name, test in (("Call-ID", "PARSE-015/two-call-ids"), ("From", "PARSE-015/two-froms"),
                           ("CSeq", "PARSE-015/two-cseqs"),
                           ("Max-Forwards", "PARSE-015/two-max-forwards")):
            if len(m.lines(name)) > 1 and not skip(test):
                return 400
        if not number.isdigit() or int(number) >= 1 << 31:
            return 200 if skip("PARSE-010/cseq-too-large") else 400
        if method != m.method and not skip("PARSE-012/other-method-in-cseq"):
            return 400
        if (m.get("Expires") or "0").isdigit() and len(m.get("Expires") or "0") > 12:
            return "drop" if skip("PARSE-010/expires-too-large") else 400
        if not re.match("(?i)(sips?|tel):", m.uri):
            if skip("PARSE-014/unknown-scheme") or skip("PARSE-014/not-by-to"):
                m.uri = uri_of(m.get("To"))
            else:
                return 416
        if not Uri(m.uri).good and not m.uri.startswith("tel:") and not skip("PARSE-020/ipv6-no-brackets"):
            return 400
        return 0

    def reply_raw(self, conn, m, status, **more):
        if m.method == "ACK":
            return
        r = self.response_to(m, status, **more)
        conn.send(r.bytes())

    def response_to(self, m, status, headers=(), body=b""):
        r = Msg(f"SIP/2.0 {status} {TEXTS.get(status, 'Status')}", [])
        vias = m.values("Via")
        copies = self.bad("CORE-002/copies")
        for v in (vias[:1] if copies else vias):
            r.add("Via", v)
        for name in ("From", "To", "Call-ID", "CSeq"):
            for v in m.lines(name)[:1]:
                if name == "To" and status > 100 and "tag" not in params(v):
                    v += f";tag={hashlib.md5((m.branch() + self.run_id).encode()).hexdigest()[:8]}"
                r.add(name, v)
        for name, v in headers:
            r.add(name, v)
        r.body = body
        return r

    # ---- server transactions ---------------------------------------------------------------

    def key(self, m, method=None):
        sent_by = "" if self.bad("TXN-005/sent-by") else m.sent_by()
        method = method or m.method
        return (m.branch(), sent_by, "INVITE" if method == "ACK" else method)

    def say(self, s, status, headers=(), body=b""):
        self.say_msg(s, self.response_to(s.request, status, headers, body))

    def say_msg(self, s, r):
        if s.final and r.status >= 200 and not (r.status < 300 and s.final < 300):
            return
        data = r.bytes()
        s.last = data
        if r.status >= 200:
            s.final = r.status
        conn = s.conn
        if self.bad("TRANS-001/same-connection") and conn.kind != "UDP" and "127.0.0.1:9;" in data.decode(errors="replace"):
            return
        conn.send(data)
        if r.status >= 300 and s.request.method == "INVITE" and conn.kind == "UDP":
            if not self.bad("TXN-006/udp-final"):
                self.later(self.repeat(s, data))
        if self.bad("OVLD-009/no-amplification") and r.status in (401, 407):
            asyncio.get_running_loop().call_later(0.5, conn.send, data)

    async def repeat(self, s, data):
        gap = T1
        while not s.acked and gap < 20:
            await asyncio.sleep(gap)
            if not s.acked:
                s.conn.send(data)
            gap *= 2

    def request(self, conn, m):
        key = self.key(m)
        s = self.servers.get(key)
        if m.method == "ACK":
            if s and s.final >= 300:
                s.acked = True
                return None
            if self.bad("AUTH-007/ack"):
                return conn.send(self.response_to(m, 401, self.challenge("WWW")).bytes())
            return self.forward_ack(conn, m)
        if s and not (self.bad("CORE-026/invite-after-2xx") and s.final and s.final < 300):
            if s.last and self.bad("TXN-004/udp-copy"):
                s.conn.send(s.last.replace(b";tag=", b";tag=other"))
            elif s.last:
                s.conn.send(s.last)
            return None
        s = self.servers[key] = Server(conn, m)
        if m.method == "CANCEL":
            if self.bad("AUTH-007/cancel"):
                return self.say(s, 401, self.challenge("WWW"))
            return self.cancel(s)
        return self.handle(s)

    def cancel(self, s):
        original = self.servers.get(self.key(s.request, "INVITE"))
        if not original:
            return self.say(s, 481)
        if not self.bad("ROUTE-010/cancel"):
            self.say(s, 200)
        original.cancelled = True
        for c in original.branches:
            self.cancel_branch(c)
        return None

    def cancel_branch(self, c, reason=None):
        if c.final or c.cancelled:
            return
        if not c.provisional and not self.bad("TXN-008/cancel-waits"):
            c.cancel_later = reason or ""
            return
        c.cancelled = True
        r = c.request
        number = "9" if self.bad("TXN-011/cseq-of-cancel") else r.cseq[0]
        m = Msg(f"CANCEL {r.uri} SIP/2.0", [("Via", r.values("Via")[0]), ("Max-Forwards", "70"),
                                           ("From", r.get("From")), ("To", r.get("To")),
                                           ("Call-ID", r.get("Call-ID")), ("CSeq", f"{number} CANCEL")])
        if reason and not self.bad("CORE-044/answered-elsewhere"):
            m.add("Reason", reason)
        c.conn.send(m.bytes())

    # ---- who is asking ---------------------------------------------------------------------

    def challenge(self, kind):
        nonce = secrets.token_hex(12)
        self.nonces[nonce] = 0
        base = f'Digest realm="{DOMAIN}", nonce="{nonce}", '
        best = base + 'algorithm=SHA-256, qop="auth"'
        if self.bad("AUTH-005/qop"):
            best = base + "algorithm=SHA-256"
        out = [best]
        if self.bad("AUTH-001/no-basic"):
            out.append(f'Basic realm="{DOMAIN}"')
        if self.bad("AUTH-002/algorithms"):
            out.append(best)
        if self.bad("AUTH-004/no-md5"):
            out.append(base + 'algorithm=MD5, qop="auth"')
        if self.bad("AUTH-009/407") and kind == "Proxy":
            out = ["Digest nonce=\"x\", algorithm=SHA-256"]
        name = {"WWW": "WWW-Authenticate", "Proxy": "Proxy-Authenticate"}[kind]
        lines = [(name, v) for v in out]
        if kind == "WWW":
            authz = "http" if self.bad("AUTH-012/bearer") else "https"
            lines.append((name, f'Bearer authz_server="{authz}://login.{DOMAIN}/"'))
        return lines

    def login(self, s, user, header):
        """True: proved. None: no credentials for us. False: wrong."""
        for line in s.request.lines(header):
            if line.startswith("Basic") and self.bad("AUTH-001/basic-refused"):
                return True
            if not line.startswith("Digest"):
                continue
            p = {k: v.strip('"') for k, _, v in (x.partition("=") for x in split(line[7:], ","))}
            if p.get("realm") != DOMAIN:
                continue
            nonce, nc = p.get("nonce"), int(p.get("nc", "0"), 16)
            replay = self.bad("AUTH-006/replay")
            if nonce not in self.nonces or (nc <= self.nonces[nonce] and p.get("qop") and not replay):
                return None
            self.nonces[nonce] = nc
            h = lambda x: hashlib.sha256(x.encode()).hexdigest()
            ha1 = h(f"{p['username']}:{DOMAIN}:{self.people.get(p['username'], secrets.token_hex(8))}")
            ha2 = h(f"{s.request.method}:{p['uri']}")
            middle = f"{nonce}:{p['nc']}:{p['cnonce']}:auth" if "qop" in p else nonce
            good = p.get("response") == h(f"{ha1}:{middle}:{ha2}") and p["username"] == user
            return good if user in self.people else False
        return None

    def known(self, s, user):
        if user in s.conn.users:
            return True
        kind = "WWW" if s.request.method == "REGISTER" else "Proxy"
        header = "Authorization" if kind == "WWW" else "Proxy-Authorization"
        proved = self.login(s, user, header)
        if proved:
            s.conn.users.add(user)
            return True
        if self.bad("AUTH-014/no-enumeration") and proved is False and user not in self.people:
            self.say(s, 404)
        else:
            self.say(s, 401 if kind == "WWW" else 407, self.challenge(kind))
        return False

    # ---- what to do with a request ---------------------------------------------------------

    def handle(self, s):
        m, uri = s.request, Uri(s.request.uri)
        routes = m.values("Route")
        if routes:
            r = Uri(uri_of(routes[0]))
            if r.host in (DOMAIN, "127.0.0.1") and (r.host == DOMAIN or int(r.port or 0) in self.ports.values()):
                if r.user and not self.token_good(r.user):
                    return self.say(s, 403)
                if not self.bad("ROUTE-003/own-route"):
                    m.set("Route", routes[1:])
                routes = routes[1:]
                s.in_dialog = bool(r.user)
        if m.method == "OPTIONS" and " oc" not in m.get("Via") and ";oc" not in m.get("Via"):
            s.conn.options += 1
            if s.conn.options > 300:
                return self.say(s, 503, [("Retry-After", "5")] if self.bad("OVLD-005/no-retry-after") else [])
        if m.get("Max-Forwards") == "0" and not self.bad("CORE-006/max-forwards-0"):
            return self.say(s, 483)
        tags = (m.get("Proxy-Require") or "") and [x for x in m.get("Proxy-Require").split(",") if x.strip() != "gin"]
        if tags and not self.bad("CORE-005/proxy-require"):
            return self.say(s, 420, [("Unsupported", ", ".join(tags))])
        if m.method == "REGISTER":
            return self.register(s)
        ours = uri.good and uri.host in (DOMAIN, "127.0.0.1") and (uri.host == DOMAIN or int(uri.port or 0) in self.ports.values())
        if getattr(s, "in_dialog", False):
            return self.forward(s, [self.by_uri(uri)])
        if ours and not uri.user:
            return self.for_us(s)
        if not ours:
            return self.say(s, 200 if self.bad("IPV6-007/bad-address") else 403)
        sender = Uri(uri_of(m.get("From"))).user
        if uri.user == fake_meet.NAME:
            return self.known(s, sender) and self.meeting.take(s, sender)
        open_door = self.bad("EVENT-009/presence") and m.method == "SUBSCRIBE"
        if not open_door and not self.known(s, sender):
            return None
        if m.method in ("SUBSCRIBE", "PUBLISH"):
            return self.event(s, sender, uri.user)
        if m.method == "OPTIONS":
            return self.options(s)
        return self.to_person(s, uri)

    def options(self, s):
        headers = [("Allow", ALLOW), ("Accept", "application/sdp"), ("Accept-Encoding", "identity"),
                   ("Accept-Language", "en"), ("Supported", "path, outbound, gruu, gin")]
        if self.bad("CORE-007/options"):
            headers = headers[:-1]
        if self.bad("PRIV-009/hidden"):
            for b in self.bindings.get(Uri(s.request.uri).user, []):
                headers.append(("Contact", f"<{b['uri']}>"))
        self.say(s, 200, headers)

    def for_us(self, s):
        m = s.request
        if m.method == "OPTIONS":
            return self.options(s)
        if m.method == "SUBSCRIBE":
            return self.say(s, 489, [] if self.bad("EVENT-002/unknown") else [("Allow-Events", "message-summary, reg")])
        if m.method == "NOTIFY":
            return self.say(s, 200 if self.bad("EVENT-004/stray") else 481)
        return self.say(s, 405, [] if self.bad("CORE-003/405-has-allow") else [("Allow", ALLOW)])

    def event(self, s, sender, user):
        m = s.request
        package = (m.get("Event") or "").split(";")[0]
        if m.method == "PUBLISH":
            return self.say(s, 200 if self.bad("EVENT-010/if-match") else 412)
        if sender != user and not self.bad("EVENT-006/watcher", "EVENT-009/presence", "EVENT-013/watcher"):
            return self.say(s, 403)
        expires = "9999" if self.bad("EVENT-003/expires") else m.get("Expires")
        self.say(s, 200, [("Expires", expires), ("Contact", f"<sip:{DOMAIN}>")])
        silent = {"message-summary": "EVENT-001/notify", "load-control": "OVLD-007/policy"}
        if package == "presence" or self.bad(silent.get(package, "-")):
            return None
        body = b"Messages-Waiting: yes\r\nVoice-Message: 1/0\r\n"
        if self.bad("EVENT-007/summary"):
            body = b""
        if package == "reg":
            state = "partial" if self.bad("REG-007/full-first") else "full"
            body = f'<reginfo version="0" state="{state}">'
            for b in self.bindings.get(user, []):
                if b["instance"] and not self.bad("REG-008/gruu"):
                    body += f'<gr:pub-gruu uri="sip:{user}@{DOMAIN};gr=x"/>'
            body = (body + "</reginfo>").encode()
        if package == "dialog":
            version = 5 if self.bad("EVENT-012/first") else 0
            body = f'<dialog-info version="{version}" state="full"/>'.encode()
        if package == "ua-profile":
            body = b"" if self.bad("CONF-001/content") else b"<profile/>"
        to = m.get("To") + f";tag={secrets.token_hex(4)}"
        via = f"SIP/2.0/{s.conn.kind} {self.here(s.conn)};branch=z9hG4bK{secrets.token_hex(6)}"
        s.conn.send(Msg(f"NOTIFY {uri_of(m.get('Contact'))} SIP/2.0",
                        [("Via", via), ("Max-Forwards", "70"), ("From", to), ("To", m.get("From")),
                         ("Call-ID", m.get("Call-ID")), ("CSeq", "1 NOTIFY"), ("Event", package),
                         ("Subscription-State", "active"), ("Contact", f"<sip:{DOMAIN}>"),
                         ("Content-Type", "text/plain")], body).bytes())
        return None

    # ---- the registrar ---------------------------------------------------------------------

    def same_uri(self, a, b):
        if self.bad("PARSE-003/equal-uris", "PARSE-022/equal-addresses"):
            return a == b
        x, y = Uri(a), Uri(b)
        if not x.good or not y.good:
            return a == b
        import ipaddress

        def host(u):
            try:
                return ipaddress.ip_address(u.host.strip("[]"))
            except ValueError:
                return u.host
        port = lambda u: u.port or ("5060" if self.bad("PARSE-003/default-port") else None)
        low = lambda u: {k: v.lower() for k, v in u.params.items() if k in ("transport", "a", "gr")}
        return (x.scheme, x.user, host(x), port(x), low(x)) == (y.scheme, y.user, host(y), port(y), low(y))

    def register(self, s):
        m = s.request
        need = [t.strip() for t in (m.get("Require") or "").split(",") if t.strip() not in ("", "gin", "path", "outbound")]
        if need and not self.bad("CORE-004/unknown-require"):
            return self.say(s, 420, [("Unsupported", ", ".join(need))])
        to = Uri(uri_of(m.get("To")))
        sender = Uri(uri_of(m.get("From")))
        if not (self.bad("REG-004/not-mine") and s.conn.users) and to.host == DOMAIN:
            if s.conn.users and to.user not in s.conn.users and to.user in self.people and "Authorization" not in dict(m.headers):
                return self.say(s, 403)
            if not self.known(s, to.user):
                return None
        if to.host != DOMAIN:
            return self.say(s, 200 if self.bad("REG-004/not-here") else 404)
        mine = self.bindings.setdefault(to.user, [])
        contacts = m.values("Contact")
        if "*" in contacts:
            if (len(contacts) > 1 or m.get("Expires") != "0") and not self.bad("REG-003/star"):
                return self.say(s, 400)
            if not self.bad("REG-003/star-removes"):
                mine.clear()
            contacts = []
        extra = []
        for c in contacts:
            status = self.bind(s, mine, c, extra, to.user)
            if status:
                return self.say(s, status, extra)
        return self.say(s, 200, self.list(mine, to.user, s) + extra)

    def bind(self, s, mine, contact, extra, user):
        m, uri, p = s.request, uri_of(contact), params(contact)
        if "bnc" in Uri(uri).params and (Uri(uri).user or "user" in Uri(uri).params):
            return 0 if self.bad("REG-010/bnc-with-user") else 403
        if "bnc" in Uri(uri).params and self.bad("REG-009/bnc"):
            return 400
        expires = int(p.get("expires") or m.get("Expires") or 3600)
        if 0 < expires < 60:
            extra.append(("Min-Expires", "60"))
            if self.bad("REG-005/too-brief"):
                extra.clear()
            return 423
        if self.bad("REG-005/never-lengthens"):
            expires *= 2
        provider = Uri(uri).params.get("pn-provider")
        if provider == "acme":
            if self.bad("PUSH-005/unknown"):
                extra.append(("Feature-Caps", '*;+sip.pns="acme"'))
                return 403
            return 555
        if provider:
            extra.append(("Feature-Caps", f'*;+sip.pns="{provider}"'))
        outbound = m.has_token("Supported", "outbound") and "reg-id" in p and "+sip.instance" in p
        if outbound and len(m.values("Via")) > 1 and not self.bad("OUTB-009/first-hop"):
            return 439
        if outbound and not self.bad("OUTB-009/require"):
            extra.append(("Require", "outbound"))
        elif outbound:
            extra.append(("Supported", "outbound"))
        call_id, number = m.get("Call-ID"), int(m.cseq[0])
        for b in list(mine):
            if not self.same_uri(b["uri"], uri) and not (outbound and (b["instance"], b["reg"]) == (p["+sip.instance"], p["reg-id"]) and not self.bad("OUTB-008/replaces")):
                continue
            if b["call_id"] == call_id and number <= b["cseq"] and not self.bad("REG-002/old-cseq"):
                return 500
            mine.remove(b)
        if expires:
            mine.append({"uri": uri, "value": contact, "conn": s.conn, "call_id": call_id,
                         "cseq": number, "expires": time.time() + expires, "path": m.values("Path"),
                         "instance": p.get("+sip.instance") if outbound else None,
                         "reg": p.get("reg-id"), "temp": secrets.token_hex(8)})
        if m.values("Path"):
            path = m.values("Path")
            extra.append(("Path", ", ".join(reversed(path) if self.bad("OUTB-016/path") else path)))
        return 0

    def list(self, mine, user, s):
        out = []
        for b in mine if not self.bad("REG-001/all-bindings") else mine[-1:]:
            uri = b["uri"]
            if self.bad("PARSE-018/contact-parameters"):
                uri = re.sub(";kithuri=1", ";kithheader=2", uri)
            value = f"<{uri}>;expires={int(b['expires'] - time.time() + 0.5)}"
            if self.bad("PARSE-019/comma"):
                value = f"{uri};expires=60"
            if b["instance"]:
                value += f';+sip.instance={b["instance"]};reg-id={b["reg"]}'
                if s.request.has_token("Supported", "gruu"):
                    inst = b["instance"].strip('"<>')
                    b["pub"] = f"sip:{user}@{DOMAIN};gr={inst}"
                    fixed = self.bad("OUTB-013/gruu")
                    value += f';pub-gruu="{b["pub"]}";temp-gruu="sip:t{"fixed" if fixed else b["temp"]}@{DOMAIN};gr"'
            out.append(("Contact", value))
        return out

    # ---- forwarding ------------------------------------------------------------------------

    def here(self, conn):
        return f"127.0.0.1:{self.ports[conn.kind]}"

    def token_good(self, token):
        return token == self.token() or self.bad("OUTB-006/tampered")

    def token(self):
        return "A" * 8 + hashlib.md5(self.run_id.encode()).hexdigest()

    def by_uri(self, uri):
        for c in self.conns | set(self.datagrams.peers.values()):
            if uri.good and c.peer == uri.hostport() and c.open:
                return {"uri": uri.text, "conn": c, "path": []}
        return None

    def refusal_of_body(self, m, conn):
        text = m.body.decode(errors="replace")
        if m.method != "INVITE" or "m=audio" not in text:
            return False
        if "fingerprint:MD5" in text:
            return not self.bad("MSEC-005/md5")
        if "a=crypto" in text:
            return conn.kind not in ("TLS", "WSS") and not self.bad("MSEC-014/sdes-in-clear")
        return "fingerprint:" not in text and not self.bad("MSEC-001/plain-rtp")

    def to_person(self, s, uri):
        m = s.request
        mine = list(self.bindings.get(uri.user, []))
        for v in m.lines("Identity"):  # no signature is right here
            if "shaken" in v or self.bad("IDENT-003/unknown-ppt"):
                return self.say(s, 438)
        if self.bad("PARSE-006/escaped") and "%" in m.uri:
            return self.say(s, 404)
        if self.bad("PARSE-006/escaped-twice") and uri.user not in self.people:
            return self.say(s, 200)
        if "gr" in uri.params and uri.user in self.people:
            wanted = [b for b in mine if b.get("pub") and b["instance"].strip('"<>') == uri.params["gr"]]
            mine = mine if self.bad("OUTB-014/reaches-one") else wanted
        if uri.user not in self.people:
            return self.say(s, 480 if self.bad("OUTB-014/nobody") else 404)
        if uri.scheme == "sips" and not self.bad("TRANS-016/sips"):
            mine = [b for b in mine if b["uri"].startswith("sips:")]
            if not mine:
                return self.say(s, 480, [("Warning", '380 fake.test "SIPS Not Allowed"')])
        mine = [b for b in mine if b["conn"] is not s.conn]
        if self.bad("TRANS-023/invalid"):
            mine = [b for b in mine if ".invalid" not in b["uri"]]
        if not mine:
            return self.say(s, 480)
        if self.loops(m) and not self.bad("CORE-020/loop"):
            return self.say(s, 482)
        return self.forward(s, mine)

    def loop_mark(self, m):
        return "lm" + hashlib.md5((m.uri + m.get("Call-ID") + "/".join(m.cseq) + params(m.get("From")).get("tag", "")).encode()).hexdigest()[:10]

    def loops(self, m):
        return any(self.loop_mark(m) in v for v in m.values("Via"))

    def forward(self, s, targets):
        m = s.request
        targets = [t for t in targets if t]
        if not targets:
            return self.say(s, 480)
        # one flow of an instance at a time (RFC 5626 7)
        spare = []
        if not self.bad("OUTB-010/one-at-a-time"):
            seen, first = set(), []
            for t in targets:
                (spare if t.get("instance") in seen else first).append(t)
                if t.get("instance"):
                    seen.add(t["instance"])
            targets = first
        s.spare = spare
        breadth = min(int(m.get("Max-Breadth") or 60), 10**9 if self.bad("CORE-021/lowered") else 60)
        if len(targets) > breadth and not self.bad("ROUTE-009/one"):
            return self.say(s, 440)
        to = targets[0]["conn"]
        if m.method == "MESSAGE" and to.loss:
            to.offered += 1
            if to.offered * to.loss // 100 != (to.offered - 1) * to.loss // 100:
                return self.say(s, 503)
        if any(self.refusal_of_body(m, t["conn"]) for t in targets):
            return self.say(s, 488)
        if m.method == "INVITE" and not self.bad("CORE-012/trying"):
            s.conn.send(self.response_to(m, 100).bytes())
        if m.method != "INVITE":
            self.later(self.trying_late(s))
        for t in targets:
            share = breadth if self.bad("ROUTE-009/shared") else max(breadth // len(targets), 1)
            self.branch(s, t, share)
        return None

    async def trying_late(self, s):
        await asyncio.sleep(3.6)
        if not s.final and not self.bad("CORE-017/late-trying"):
            s.conn.send(self.response_to(s.request, 100).bytes())
        await asyncio.sleep(28.4)
        if not s.final and self.bad("CORE-018/no-408"):
            s.conn.send(self.response_to(s.request, 408).bytes())

    def branch(self, s, t, breadth):
        m, conn = s.request.copy(), t["conn"]
        for name, keep in (("P-Asserted-Identity", "PRIV-003/spoofed"), ("P-Preferred-Identity", "PRIV-011/preferred")):
            if not self.bad(keep):
                m.drop(name)
        if not self.bad("AUTH-009/foreign-realm"):
            keep = [v for v in m.lines("Proxy-Authorization") if DOMAIN not in v]
            if keep:
                m.set("Proxy-Authorization", keep)
            else:
                m.drop("Proxy-Authorization")
        else:
            m.drop("Proxy-Authorization")
        if "id" not in (m.get("Privacy") or "") or self.bad("PRIV-004/id"):
            if not m.lines("P-Asserted-Identity"):
                m.add("P-Asserted-Identity", f"<{uri_of(m.get('From'))}>")
        if self.bad("PRIV-002/none"):
            m.drop("Privacy")
        forwards = m.get("Max-Forwards")
        if forwards is None:
            if not self.bad("ROUTE-001/added"):
                m.set("Max-Forwards", "70")
        else:
            m.set("Max-Forwards", forwards if self.bad("ROUTE-001/lowered") else str(int(forwards) - 1))
        if not self.bad("CORE-021/added"):
            m.set("Max-Breadth", str(breadth))
        if m.has_token("Supported", "histinfo"):
            entry = f"<{t['uri']}>;index=" + ("7" if self.bad("PRIV-007/entry") else "1.1")
            m.set("History-Info", m.values("History-Info") + [entry])
        original = m.uri
        m.uri = t["uri"]
        if m.method == "INVITE":
            self.record_route(s, m, conn)
        if t["path"]:
            m.set("Route", t["path"])
            nxt = self.by_uri(Uri(uri_of(t["path"][0])))
            conn = nxt["conn"] if nxt else conn
        mark = self.loop_mark(s.request)
        branch = f"z9hG4bK{mark}{secrets.token_hex(6)}"
        kind = "WS" if self.bad("TRANS-023/via") and conn.kind == "WSS" else conn.kind
        m.set("Via", [f"SIP/2.0/{kind} {self.here(conn)};branch={branch};oc;oc-algo=\"loss\""] + m.values("Via"),
              first=True)
        self.spoil(m, original)
        c = Client(s, conn, m, t)
        c.breadth = breadth
        s.branches.append(c)
        self.clients[branch] = c
        large = conn.kind == "UDP" and len(m.bytes()) > 1300 and not self.bad("TRANS-002/large")
        if large:
            self.later(self.over_tcp(conn.peer, m))
        elif not (self.bad("ROUTE-006/unknown-method") and m.method == "KITHTEST"):
            conn.send(m.bytes())
        if self.bad("ROUTE-006/unknown-method") and m.method == "KITHTEST":
            self.say(s, 405, [("Allow", ALLOW)])
        repeats = "TXN-001/udp-invite" if m.method == "INVITE" else "TXN-003/udp-request"
        if conn.kind == "UDP" and not large and not self.bad(repeats):
            self.later(self.retransmit(c))

    async def over_tcp(self, peer, m):
        """RFC 3261 18.1.1."""
        m.set("Via", [m.values("Via")[0].replace("/UDP ", "/TCP ")] + m.values("Via")[1:], first=True)
        try:
            _, writer = await asyncio.open_connection(*peer)
            writer.write(m.bytes())
            await writer.drain()
        except OSError:
            pass

    def spoil(self, m, original):
        """Small breakages of what is forwarded."""
        if self.bad("ROUTE-005/unknown-headers"):
            m.drop("X-Kith")
        if self.bad("ROUTE-005/body", "CORE-023/multipart", "CORE-025/optional-part"):
            m.body = m.body.replace(b"\r\n", b"\n")
        if self.bad("CORE-043/session-id"):
            m.drop("Session-ID")
        if self.bad("MSG-001/no-contact"):
            m.set("Contact", f"<sip:{DOMAIN}>")
        if self.bad("SDP-011/session-interval") and m.get("Session-Expires"):
            m.set("Session-Expires", "90;refresher=uac")
        if self.bad("TRANS-018/transport-tls"):
            m.set("Record-Route", [v.replace(";lr", ";lr;transport=tls") for v in m.values("Record-Route")])

    def record_route(self, s, m, conn):
        lr = "" if self.bad("ROUTE-002/record-route") else ";lr"
        port = 9 if self.bad("ROUTE-002/leads-back") else self.ports[conn.kind]
        mine = [f"<sip:{self.token()}@127.0.0.1:{port}{lr}>"]
        if (":" in conn.peer[0]) != (":" in s.conn.peer[0]):
            mine = [] if self.bad("IPV6-002/record-route") else mine * 2
        if conn.kind != s.conn.kind and not self.bad("ROUTE-011/two-transports"):
            mine.append(f"<sip:{self.token()}@127.0.0.1:{self.ports[s.conn.kind]}{lr}>")
        m.set("Record-Route", mine + m.values("Record-Route"))

    async def retransmit(self, c):
        gap = T1
        while time.monotonic() - c.born < 32:
            await asyncio.sleep(gap)
            if c.final or (c.provisional and c.request.method == "INVITE"):
                return
            c.conn.send(c.request.bytes())
            gap = gap * 2 if c.request.method == "INVITE" else min(gap * 2, 4)

    def forward_ack(self, conn, m):
        routes = m.values("Route")
        if not routes or not self.token_good(Uri(uri_of(routes[0])).user):
            return
        while routes and self.token_good(Uri(uri_of(routes[0])).user):
            routes = routes[1:]
        m.set("Route", routes)
        t = self.by_uri(Uri(m.uri))
        if t:
            m.set("Via", [f"SIP/2.0/{t['conn'].kind} {self.here(t['conn'])};branch=z9hG4bK{secrets.token_hex(6)}"] + m.values("Via"), first=True)
            m.set("Max-Forwards", str(int(m.get("Max-Forwards") or 70) - 1))
            t["conn"].send(m.bytes())

    # ---- responses -------------------------------------------------------------------------

    def response(self, conn, r):
        c = self.clients.get(r.branch())
        if not c and self.bad("CORE-027/stray-response") and len(r.values("Via")) > 1:
            for s in self.servers.values():
                if s.request.branch() == params(r.values("Via")[1]).get("branch"):
                    r.set("Via", r.values("Via")[1:], first=True)
                    s.conn.send(r.bytes())
        if not c:
            return
        method = c.request.method
        loss = params(r.values("Via")[0]).get("oc")
        if loss and not self.bad("OVLD-004/sheds"):
            conn.loss = int(loss)
        if r.cseq[1] != method:
            if r.cseq[1] == "CANCEL" or not self.bad("TXN-007/other-method"):
                return
            r.set("CSeq", " ".join(c.request.cseq))
        s = c.server
        if method != "INVITE" and time.monotonic() - c.born > 32 and not self.bad("CORE-019/late-answer"):
            return
        up = r.copy()
        up.set("Via", r.values("Via")[1:], first=True)
        if r.status < 200:
            c.provisional = True
            if hasattr(c, "cancel_later"):
                self.cancel_branch(c, c.cancel_later)
            if r.status == 100 or (method != "INVITE" and not self.bad("CORE-016/no-180-to-message")):
                return
            s.conn.send(up.bytes())
            return
        if r.status >= 300 and method == "INVITE" and not self.bad("TXN-002/ack-of-refusal"):
            self.ack(c, r)
        again, c.final = c.final, r.status
        if r.status < 300:
            if again and self.bad("TXN-010/second-2xx"):
                return
            if s.final and s.final < 300:
                s.conn.send(up.bytes())
            else:
                self.say_msg(s, up)
            if not self.bad("CORE-015/first-answer"):
                for o in s.branches:
                    self.cancel_branch(o, "SIP;cause=200;text=\"Call completed elsewhere\"")
            return
        c.answer = up
        if r.status == 302 and self.bad("ROUTE-008/redirect") and not again:
            c.conn.send(c.request.bytes())
        if r.status == 430 and s.spare:
            self.branch(s, s.spare.pop(0), c.breadth)
            return
        if r.status >= 600 and not self.bad("ROUTE-012/6xx"):
            for o in s.branches:
                self.cancel_branch(o)
        if all(o.final for o in s.branches) or self.bad("CORE-015/best-answer"):
            self.best(s)

    def ack(self, c, r):
        q = c.request
        c.conn.send(Msg(f"ACK {q.uri} SIP/2.0", [("Via", q.values("Via")[0]), ("Max-Forwards", "70"),
                        ("From", q.get("From")), ("To", r.get("To")), ("Call-ID", q.get("Call-ID")),
                        ("CSeq", f"{q.cseq[0]} ACK")] + [("Route", v) for v in q.values("Route")]).bytes())

    def best(self, s):
        done = [c for c in s.branches if c.final >= 300]
        if s.cancelled:
            return self.say(s, 487)
        c = min(done, key=lambda c: (c.final < 600, c.final // 100, c.final not in (401, 407)))
        answer = c.answer
        if c.final == 503 and not self.bad("OVLD-002/503"):
            return self.say(s, 500)
        if c.final in (401, 407) and not self.bad("AUTH-010/challenges"):
            for o in done:
                if o is not c and o.final in (401, 407):
                    for name in ("WWW-Authenticate", "Proxy-Authenticate"):
                        for v in o.answer.lines(name):
                            answer.add(name, v)
        return self.say_msg(s, answer)


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self, fake):
        self.fake, self.peers = fake, {}

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, peer):
        f = self.fake
        if data[:1] < b"\x04":
            return self.stun(data, peer)
        if peer not in self.peers:
            self.peers[peer] = Conn(f, "UDP", lambda d: self.transport.sendto(d, peer), lambda: None, peer)
        if data.strip():
            f.take(self.peers[peer], data)
        return None

    def stun(self, data, peer):
        f = self.fake
        kind, size, cookie = struct.unpack(">HHI", data[:8])
        if (size % 4 or cookie != 0x2112A442 or len(data) != 20 + size) and not f.bad("RELAY-012/malformed"):
            return
        if kind != 1:
            return
        attributes = data[20:]
        if attributes[:2] == b"\x80\x28" and not f.bad("RELAY-014/fingerprint"):
            return  # ours would be right; this one never is
        def answer(code, body):
            self.transport.sendto(struct.pack(">HH", code, len(body)) + data[4:20] + body, peer)
        if attributes[:2] == b"\x7f\x01" and not f.bad("NAT-009/unknown-attribute"):
            return answer(0x111, b"\0\x09\0\x04\0\0\x04\x14\0\x0a\0\x02\x7f\x01\0\0")
        if f.bad("RELAY-013/no-login"):
            return answer(0x111, b"\0\x09\0\x04\0\0\x04\x01")
        if f.bad("OUTB-007/stun"):
            return answer(0x101, b"")
        ip = bytes(int(x) for x in peer[0].split("."))
        mapped = bytes(a ^ b for a, b in zip(ip, b"\x21\x12\xa4\x42"))
        answer(0x101, struct.pack(">HHBBH", 0x20, 8, 0, 1, peer[1] ^ 0x2112) + mapped)
