"""The two ends of a trunk, right by default: FakeProvider, with which the tester registers as a PBX, and
FakePbx, which registers with the tester. See fake.py."""
import asyncio
import re
import ssl

from fake import DOMAIN, Fake
from fake_phone import FakePhone
from sipmsg import Uri, params

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
        if not s.conn.users:
            return self.say(s, 407, self.challenge("Proxy"))
        if not number.startswith("+") and not self.bad("TRUNK-013/tel"):
            return self.say(s, 404)
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
