"""The ends of a trunk, right by default: FakeProvider, with which the tester registers as a PBX, FakeStatic,
which knows the tester by its place and certificate, and FakePbx, which registers with the tester. See fake.py."""
import asyncio
import re
import ssl

from fake import DOMAIN, Fake
from fake_phone import FakePhone, free_port
from sipmsg import Msg, Uri, params

NUMBERS = ("+493012345600", "+493012345601")


class FakeProvider(Fake):
    def bind(self, s, mine, contact, extra, user):
        if self.bad("TRUNK-001/registers"):
            return 403
        return super().bind(s, mine, contact, extra, user)

    def handle(self, s):
        m = s.request
        number = m.uri[4:] if m.uri.startswith("tel:") else Uri(m.uri).user
        if m.method != "INVITE" or not number or number in self.people or "tag" in params(m.get("To")):
            return super().handle(s)
        if not number.startswith("+") and not self.bad("TRUNK-013/tel"):
            return self.say(s, 404)
        return self.to_pbx(s, number)

    def to_pbx(self, s, number):
        if not s.conn.users:
            return self.say(s, 407, self.challenge("Proxy"))
        pbx = [b for mine in self.bindings.values() for b in mine if ";bnc" in b["uri"] and b["conn"] is s.conn]
        if not pbx:
            return self.say(s, 480)
        uri = pbx[-1]["uri"].replace("sip:", f"sip:{number}@")
        if not self.bad("REG-011/mapped"):
            uri = uri.replace(";bnc", "")
        return self.forward(s, [dict(pbx[-1], uri=uri)])

    def spoil(self, m, original):
        if self.bad("TRUNK-002/numbers"):
            m.set("From", m.get("From").replace("+49", "0"))
        if self.bad("TRUNK-003/identity") and m.lines("Privacy"):
            m.set("From", f"<sip:{NUMBERS[0]}@{DOMAIN}>;tag=" + params(m.get("From"))["tag"])
        if self.bad("TRUNK-004/key-presses"):
            m.body = re.sub(rb"a=rtpmap:101[^\r]*\r\n", b"", m.body)
        if self.bad("TRUNK-005/diverted"):
            m.drop("History-Info")
            m.drop("Diversion")
        if self.bad("TRUNK-006/secure"):
            m.body = re.sub(rb"a=fingerprint[^\r]*\r\n", b"", m.body)
        super().spoil(m, original)

    def best(self, s):
        for c in s.branches:
            if c.answer and self.bad("TRUNK-012/causes"):
                c.answer.drop("Reason")
        return super().best(s)


class FakeStatic(FakeProvider):
    """Takes calls only from who shows a certificate that it knows, and calls that PBX at its place, where it first
    asks whether somebody is there; every second call it brings over the connection of the PBX."""
    def __init__(self, people, cert, broken=""):
        super().__init__(people, cert, broken)
        self.port, self.calls, self.ours, self.conn, self.there = free_port(), 0, None, None, asyncio.Event()

    def tls_context(self):
        context = super().tls_context()
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    def to_pbx(self, s, number):
        if s.conn.kind != "TLS" or self.bad("TRUNK-001/static"):
            return self.say(s, 403)
        self.calls += 1
        return self.later(self.bring(s, number, self.calls % 2 and s.conn.open and not self.bad("TRANS-003/caller")))

    async def bring(self, s, number, by_theirs):
        if not by_theirs and not (self.ours and self.ours.open):
            await self.connect()
        self.conn = s.conn if by_theirs else self.ours
        self.forward(s, [{"uri": f"sip:{number}@127.0.0.1:{self.port};user=phone", "conn": self.conn, "path": []}])

    async def connect(self):
        context = ssl.create_default_context(cafile=self.cert.file)
        if not self.bad("TRANS-003/caller"):
            context.load_cert_chain(self.cert.file)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context, server_hostname=DOMAIN)
        before = set(self.conns)
        self.later(self.stream("TLS", reader, writer))
        while not (fresh := self.conns - before):
            await asyncio.sleep(0)
        self.ours = fresh.pop()
        self.there.clear()
        self.ours.send(Msg(f"OPTIONS sip:127.0.0.1:{self.port} SIP/2.0", [
            ("Via", f"SIP/2.0/TLS {self.here(self.ours)};branch=z9hG4bKalive{self.calls}"), ("Max-Forwards", "70"),
            ("From", f"<sip:{DOMAIN}>;tag=o"), ("To", f"<sip:127.0.0.1:{self.port}>"), ("Call-ID", f"o{self.calls}"),
            ("CSeq", "1 OPTIONS")]).bytes())
        await self.there.wait()

    def response(self, conn, r):
        if r.cseq[1] == "OPTIONS" and r.status == 200:
            self.there.set()
        return super().response(conn, r)

    def by_uri(self, uri):
        if uri.good and uri.hostport() == ("127.0.0.1", self.port):
            return {"uri": uri.text, "conn": self.conn, "path": []}
        return super().by_uri(uri)


class FakePbx(FakePhone):
    """Over TLS, unless that is what is broken."""
    def __init__(self, people, cert, broken=""):
        super().__init__(people, cert, broken)
        self.tls = not self.bad("TRUNK-006/pbx-secure")

    def connect(self):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return asyncio.open_connection("127.0.0.1", self.port, ssl=context if self.tls else None)

    def registration(self):
        if self.bad("REG-009/pbx"):
            return f"<sip:{self.local};bnc>", [("Supported", "path")]
        return f"<sip:{self.local};bnc>", [("Supported", "path"), ("Require", "gin"), ("Proxy-Require", "gin")]

    def on_invite(self, m, dialog):
        if self.bad("TRUNK-001/pbx") or (self.bad("REG-012/user-parameter") and "user" in Uri(m.uri).params):
            return self.reply(m, 404)
        if self.bad("TRUNK-004/pbx-key-presses"):
            m.body = m.body.replace(b"telephone-event", b"x-event")
        return super().on_invite(m, dialog)

    def dial(self, uri, told=None, login=(), again=None):
        caller = self.user if self.bad("TRUNK-002/pbx-numbers") else NUMBERS[0]
        asserted = [] if self.bad("TRUNK-003/pbx-identity") else [
            ("P-Asserted-Identity", f"<sip:{NUMBERS[0]}@{DOMAIN};user=phone>")]
        self.from_uri = f"sip:{caller}@{DOMAIN};user=phone"
        return super().dial(uri, told, [*login, *asserted], again)
