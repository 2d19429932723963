"""A phone that answers every call by itself, is right by default and wrong where it is told to be; see
fake.py. It registers over TCP with the tester, which is the registrar here."""
import asyncio
import hashlib
import random
import re
import secrets
import socket
from urllib.parse import unquote

from fake_caller import Caller
from fake_secure import SecureMedia, fingerprint_of
from sipmsg import Msg, params, split, uri_of

ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, MESSAGE, INFO, REFER, SUBSCRIBE, NOTIFY, PRACK"
NOWHERE = (9, 40000, 40002)  # ports of descriptions that no media is behind
INSTANCE = '"<urn:uuid:00000000-0000-1000-8000-0000000000aa>"'


def free_port():
    """For the tester to listen on: below those that the kernel gives to others meanwhile."""
    while True:
        port = random.randint(20000, 32000)
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind(("127.0.0.1", port))
                udp.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


class Flow(asyncio.DatagramProtocol):
    """A UDP socket with the face of a stream's writer."""
    def __init__(self, take):
        self.take = take

    def connection_made(self, transport):
        self.transport, self.local = transport, transport.get_extra_info("sockname")

    def datagram_received(self, data, _):
        self.take(data)

    def write(self, data):
        self.transport.sendto(data)

    def close(self):
        self.transport.close()


class FakePhone(Caller):
    udp = False  # instead of TCP

    def __init__(self, people, cert, broken="", hands=""):
        self.hands, self.calls, self.up, self.keys, self.ice_keys = str(hands), {}, None, [], {}
        self.ice_calls = {}
        self.broken, self.user, self.password = broken, *next(iter(people.items()))
        self.dialogs, self.last, self.tasks = {}, {}, set()
        self.number, self.call_id, self.gruu = 0, secrets.token_hex(6), None
        self.acked, self.pending, self.version = set(), {}, 7
        self.pinging, self.ponged = False, False
        self.cert, self.fingerprint, self.ends = cert, fingerprint_of(cert.file), []
        self.mapped, self.heard = None, False

    def bad(self, *tests):
        return self.broken in tests

    def later(self, coroutine):
        task = asyncio.get_running_loop().create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def start(self):
        self.port = free_port()
        await self.listen_ice()
        self.later(self.live_udp() if self.udp else self.live())
        if self.hands:
            self.later(self.watch())

    async def stop(self):
        for task in list(self.tasks):
            task.cancel()
        self.ice.close()
        for end in self.ends:
            end.close()

    def connect(self):
        return asyncio.open_connection("127.0.0.1", self.port)

    async def live(self):
        while True:
            try:
                reader, self.writer = await self.connect()
                writer = self.writer  # that of this flow; a ping without a pong makes a new one
                break
            except OSError:
                await asyncio.sleep(0.05)
        host, port = self.writer.get_extra_info("sockname")[:2]
        self.local = f"{host}:{port}"
        extra = ";transport=tls" if self.bad("TRANS-018/contact") else ";transport=tcp"
        self.contact = f"sip:{self.user}@{self.local}{extra};pn-provider=acme;pn-prid=a1"
        if self.bad("PUSH-001/parameters"):
            self.contact = self.contact.replace(";pn-prid=a1", "")
        self.register()
        data = b""
        try:
            while more := await reader.read(65536):
                data = self.without_pongs(data + more)
                while (end := data.find(b"\r\n\r\n")) >= 0:
                    size = re.search(rb"(?i)\r\n(?:content-length|l)\s*: *(\d+)", data[:end + 2])
                    size = end + 4 + (int(size.group(1)) if size else 0)
                    if len(data) < size:
                        break
                    if not (self.bad("PARSE-002/phone-many") and b"Call-ID: many" in data[:size]):
                        self.take(Msg.read(data[:size]))
                    data = b"" if self.bad("PARSE-002/phone-two") else self.without_pongs(data[size:])
        except (ConnectionError, asyncio.CancelledError):
            pass
        writer.close()

    def without_pongs(self, data):
        """What stands before the next message; a pong may come right behind one."""
        rest = data.lstrip(b"\r\n")
        self.ponged = self.ponged or len(rest) < len(data)
        return rest

    async def live_udp(self):
        """From a port of its own each time: a flow that has failed is replaced."""
        _, self.writer = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: Flow(self.take_datagram), remote_addr=("127.0.0.1", self.port))
        self.local = "%s:%d" % self.writer.local
        self.contact, self.heard, self.mapped = f"sip:{self.user}@{self.local}", False, None
        flow = self.writer
        while not self.heard:
            self.register()
            await asyncio.sleep(0.5)
        while flow is self.writer:
            await asyncio.sleep(4.5)
            flow.write(b"\0\1\0\0\x21\x12\xa4\x42" + secrets.token_bytes(12))

    def take_datagram(self, data):
        self.heard = True
        if data[:2] != b"\1\1":
            return self.take(Msg.read(data))
        if self.mapped not in (None, data[20:]) and not self.bad("OUTB-004/stun"):
            self.writer.close()
            return self.later(self.live_udp())
        self.mapped = data[20:]
        return None

    def send(self, m):
        data = m.bytes()
        if self.udp and not m.start.startswith("SIP/2.0"):
            data = data.replace(b"SIP/2.0/TCP ", b"SIP/2.0/UDP ")
        self.writer.write(data)

    # ---- registering -----------------------------------------------------------------------

    def register(self, login=None):
        self.number += 1
        if self.bad("REG-006/refresh") and self.number > 2:
            self.call_id = secrets.token_hex(6)
        number = 2 ** 31 + self.number if self.bad("TXN-011/cseq") else self.number
        branch = "z9hG4bKsame" if self.bad("CORE-001/branches") else "z9hG4bK" + secrets.token_hex(6)
        contact, headers = self.registration()
        m = Msg("REGISTER sip:127.0.0.1 SIP/2.0", [
            ("Via", f"SIP/2.0/TCP {self.local};branch={branch};rport"), ("Max-Forwards", "70"),
            ("From", f"<sip:{self.user}@fake.test>;tag=r"), ("To", f"<sip:{self.user}@fake.test>"),
            ("Call-ID", self.call_id), ("CSeq", f"{number} REGISTER"), ("Contact", contact),
            ("Expires", "600"), *headers])
        if login:
            m.add("Authorization", login)
        self.send(m)

    def registration(self):
        """Contact, and what else differs between a phone and a PBX."""
        contact = f"<{self.contact}>"
        if not self.bad("OUTB-001/instance"):
            contact += f";+sip.instance={INSTANCE}"
        if not self.bad("OUTB-002/reg-id"):
            contact += ";reg-id=1"
        supported = "path, outbound" if self.bad("OUTB-012/supported") else "path, outbound, gruu"
        return contact, [("Supported", supported)]

    def registered(self, m):
        if m.status == 401:
            for line in m.lines("WWW-Authenticate"):
                p = {k.strip(): v.strip('"') for k, _, v in (x.partition("=") for x in split(line[7:], ","))}
                want = "MD5" if self.bad("AUTH-003/topmost") else "SHA-256"
                if p["algorithm"] != want:
                    continue
                h = lambda x: (hashlib.md5 if want == "MD5" else hashlib.sha256)(x.encode()).hexdigest()
                a1, a2 = h(f"{self.user}:{p['realm']}:{self.password}"), h("REGISTER:sip:127.0.0.1")
                qop = "" if self.bad("AUTH-005/answer") else ', qop=auth, nc=00000001, cnonce="c"'
                middle = f"{p['nonce']}:00000001:c:auth" if qop else p["nonce"]
                return self.register(f'Digest username="{self.user}", realm="{p["realm"]}", nonce="{p["nonce"]}", '
                                     f'uri="sip:127.0.0.1", response="{h(f"{a1}:{middle}:{a2}")}", '
                                     f'algorithm={want}{qop}')
        if m.status == 200:
            found = re.search('pub-gruu="([^"]+)"', m.get("Contact") or "")
            self.gruu = found.group(1) if found and not self.bad("OUTB-018/gruu-contact") else None
            if not self.pinging and m.get("Flow-Timer") and not self.udp:
                self.pinging = True
                self.later(self.ping(int(m.get("Flow-Timer"))))
            granted = int(params(m.values("Contact")[0])["expires"])
            self.later(self.refresh(granted * 0.6))
        return None

    async def ping(self, seconds):
        """RFC 5626 4.4.1. The 10 s for a pong are 3 s here: sooner is as right."""
        while not self.bad("OUTB-003/pings"):
            await asyncio.sleep(seconds * 0.9)
            self.ponged = False
            self.writer.write(b"\r\n\r\n")
            await asyncio.sleep(3)
            if not self.ponged:
                self.writer.close()
                self.later(self.live())
                break
        self.pinging = False

    async def refresh(self, seconds):
        await asyncio.sleep(seconds)
        self.register()

    # ---- messages --------------------------------------------------------------------------

    def reply(self, m, status, headers=(), body=b"", tag="p"):
        r = Msg(f"SIP/2.0 {status} Said", [])
        for name in ("Via", "Record-Route", "From", "To", "Call-ID", "CSeq"):
            for v in m.values(name) if name in ("Via", "Record-Route") else m.lines(name)[:1]:
                if name == "To" and status > 100 and "tag" not in params(v):
                    v += f";tag={tag}{hashlib.md5((m.get('Call-ID') or '').encode()).hexdigest()[:6]}"
                if name == "Record-Route" and self.bad("ROUTE-004/routes"):
                    continue
                if name == "Via" and self.bad("CORE-002/phone-copies") and "z9hG4bKlast" in v:
                    continue
                r.add(name, v)
        for name, v in headers:
            r.add(name, v)
        r.body = body
        if body:
            r.add("Content-Type", "application/sdp")
        self.send(r)
        return r

    def take(self, m):
        if m.start.startswith("SIP/2.0 "):
            return self.registered(m) if m.cseq[1] == "REGISTER" else self.answered(m)
        refusal = self.problem(m)
        if refusal:
            return self.reply(m, refusal) if m.method != "ACK" and refusal != "drop" else None
        if m.method == "ACK":
            self.acked.add((m.get("Call-ID"), m.cseq[0]))
            self.dialogs.get((m.get("Call-ID"), params(m.get("To") or "").get("tag")), {})["acked"] = True
            dialog = self.dialogs.get((m.get("Call-ID"), params(m.get("To") or "").get("tag")))
            if dialog and m.body:
                self.keyed(dialog, m.body.decode(errors="replace"))
            return None
        branch = (m.branch(), m.method)
        if branch in self.last:
            if m.method == "INVITE" and self.bad("CORE-026/phone-copy"):
                return self.reply(m, 200, [("Contact", f"<{self.contact}>")], b"", tag="second")
            return self.send(self.last[branch])
        self.last[branch] = r = self.handle(m)
        return r

    def problem(self, m):
        version = m.start.rsplit("/", 1)[-1]
        number, method = m.cseq
        if "X-Unknown" in dict(m.headers) and self.bad("PARSE-001/phone-compact"):
            return 400
        if version != "2.0":
            return 200 if self.bad("PARSE-011/phone-version") else 505
        if not m.lines("From"):
            return 200 if self.bad("PARSE-013/phone-from") else 400
        if len(m.lines("CSeq")) > 1:
            return 200 if self.bad("PARSE-015/phone-two-cseqs") else 400
        if len(number) > 10:
            return 200 if self.bad("PARSE-010/phone-cseq") else 400
        if method != m.method:
            return 200 if self.bad("PARSE-012/phone-cseq-method") else 400
        if not m.uri.startswith("sip"):
            return 200 if self.bad("PARSE-014/phone-scheme") else 416
        return 0

    def handle(self, m):
        tag = params(m.get("To") or "").get("tag")
        dialog = self.dialogs.get((m.get("Call-ID"), tag)) if tag else None
        if m.lines("Require") and "x-kith-none" in m.get("Require"):
            if dialog and self.bad("SDP-004/refused-reinvite"):
                dialog["refused"] = True
            return self.reply(m, 200 if self.bad("CORE-004/phone-require") else 420,
                              [("Unsupported", m.get("Require"))])
        if m.method in ("INVITE", "UPDATE") and self.crosses(m, dialog):
            return None
        if dialog:
            if int(m.cseq[0]) <= dialog["cseq"] and not self.bad("CORE-009/lower-cseq"):
                return self.reply(m, 500)
            dialog["cseq"] = int(m.cseq[0])
        elif tag:
            wrong = {"INVITE": "CORE-010/no-dialog", "BYE": "SDP-008/no-call",
                     "NOTIFY": "EVENT-004/phone-notify"}.get(m.method, "")
            return self.reply(m, 200 if self.bad(wrong) else 481)
        f = getattr(self, "on_" + m.method.lower(), None)
        if not f:
            return self.reply(m, 405, [] if self.bad("CORE-003/phone-method") else [("Allow", ALLOW)])
        return f(m, dialog)

    def on_options(self, m, _):
        headers = [("Allow", ALLOW), ("Accept", "application/sdp"), ("Accept-Encoding", "identity"),
                   ("Accept-Language", "en"), ("Supported", "timer")]
        return self.reply(m, 200, headers[1:] if self.bad("CORE-007/phone-options") else headers)

    def on_cancel(self, m, _):
        return self.reply(m, 200 if self.bad("CORE-011/stray-cancel") else 481)

    def on_message(self, m, _):
        return self.reply(m, 200, [("Contact", f"<{self.contact}>")] if self.bad("MSG-002/message") else [])

    def on_subscribe(self, m, _):
        return self.reply(m, 489, [] if self.bad("EVENT-002/phone-event") else [("Allow-Events", "refer")])

    def on_notify(self, m, dialog):
        """Summaries of voice-mail and documents of conferences; see fake_caller.Caller.do_watch."""
        package = (m.get("Event") or "").split(";")[0]
        text = m.body.decode(errors="replace")
        if package == "message-summary" and self.bad("EVENT-008/summaries"):  # and it needs no subscription
            return self.reply(m, 400 if re.search(r"\d{10}", text) else 200)
        if not dialog or "package" not in dialog:
            return self.reply(m, 481)
        self.reply(m, 200)
        found = re.search(r'conference-info .*state="(\w+)" version="(\d+)"', text)
        if found:
            self.conference(dialog, found.group(1) == "full", int(found.group(2)))
        return None

    def conference(self, dialog, full, version):
        """RFC 4575 4.6."""
        known = dialog.get("known", -1)
        old, gap = version <= known, not full and version > known + 1
        if self.bad("EVENT-014/drops-old"):
            old = False
        if old:
            return
        dialog["known"] = version
        if gap and not self.bad("EVENT-014/gaps"):
            self.ask("SUBSCRIBE", dialog["target"], dialog, [("Event", "conference"), ("Contact", f"<{self.contact}>")])

    def on_info(self, m, dialog):
        if dialog and "trickle" in dialog and m.get("Info-Package") == "trickle-ice":
            return self.trickled(m, dialog)
        return self.reply(m, 200 if self.bad("CORE-042/info") else 469, [("Recv-Info", "")])

    def on_prack(self, m, _):
        invite = self.pending.pop(m.get("Call-ID"), None)
        self.reply(m, 200)
        if invite:
            self.answer(invite, None)

    def on_bye(self, m, dialog):
        self.dialogs.pop((m.get("Call-ID"), params(m.get("To"))["tag"]), None)
        if "secure" in dialog:
            dialog["secure"].close()
        dialog["over"] = True
        gone = dialog.get("refused") and self.bad("SDP-004/refused-reinvite")
        return self.reply(m, 481 if gone or self.bad("SDP-008/bye") else 200)

    # ---- calls -----------------------------------------------------------------------------

    def on_invite(self, m, dialog):
        text = m.body.decode(errors="replace")
        kind = (m.get("Content-Type") or "").split(";")[0]
        if kind == "application/x-kith-none":
            return self.reply(m, 488 if self.bad("SDP-007/415") else 415, [("Accept", "application/sdp")])
        if kind == "multipart/mixed":
            if self.bad("CORE-023/phone-multipart", "CORE-025/phone-optional"):
                return self.reply(m, 415, [("Accept", "application/sdp")])
            if "handling=required" in text:
                return self.reply(m, 200 if self.bad("CORE-024/required-part") else 415)
        if m.lines("Identity") and self.bad("IDENT-014/rsp-ignored"):
            return self.reply(m, 437)
        if m.lines("Replaces"):
            if self.bad("CORE-041/replaces"):
                return self.reply(m, 404)
            return self.reply(m, 400 if len(m.lines("Replaces")) > 1 else 481)
        if "fingerprint:MD5" in text and not self.bad("MSEC-005/phone-md5"):
            return self.reply(m, 488)
        key = (m.get("Call-ID"), m.cseq[0], params(m.get("From")).get("tag"))
        if not dialog and key in self.last and not self.bad("CORE-008/merged"):
            return self.reply(m, 482)
        self.last[key] = True
        if "100rel" in (m.get("Require") or ""):
            self.pending[m.get("Call-ID")] = m
            self.dialogs[(m.get("Call-ID"), self.tag_of(m))] = {"cseq": int(m.cseq[0])}
            reliable = [] if self.bad("CORE-031/100rel") else [("RSeq", "1"), ("Require", "100rel")]
            return self.reply(m, 180, reliable + [("Contact", f"<{self.contact}>")])
        return self.answer(m, dialog)

    def tag_of(self, m):
        return "p" + hashlib.md5(m.get("Call-ID").encode()).hexdigest()[:6]

    def answer(self, m, dialog):
        headers = [("Contact", f"<{self.gruu or self.contact}>"), ("Allow", ALLOW)]
        if self.bad("CORE-034/timer-listed"):
            headers.append(("Supported", "path"))
        else:
            headers.append(("Supported", "timer"))
        if m.get("Session-Expires"):
            headers.append(("Session-Expires", "4000;refresher=uac" if self.bad("SDP-009/timer") else "1800;refresher=uac"))
        if not dialog:
            self.dialogs[(m.get("Call-ID"), self.tag_of(m))] = dialog = {
                **self.dialog_from(m, self.tag_of(m)), "version": 1, "own": 5}
            self.up = dialog
        self.message = m
        if "isfocus" in params(m.get("Contact") or "") and not self.bad("EVENT-014/gaps"):
            self.later(self.watch_focus(uri_of(m.get("Contact"))))
        card = re.search("http://([^:/]+):([0-9]+)", unquote(m.get("Call-Info") or ""))
        if card and self.bad("IDENT-017/card-url"):
            self.later(asyncio.open_connection(card.group(1), int(card.group(2))))
        if "trickle-ice" in (m.get("Recv-Info") or ""):
            headers.append(("Recv-Info", "trickle-ice"))
        body = self.describe(m.body.decode(errors="replace"), dialog)
        r = self.reply(m, 200, headers, body.encode())
        if not self.bad("CORE-013/repeats-200"):
            self.later(self.repeat(m, r))
        return r

    async def repeat(self, m, r):
        gap = 0.5
        while gap < 8:
            await asyncio.sleep(gap)
            if (m.get("Call-ID"), m.cseq[0]) in self.acked:
                return
            self.send(r)
            gap = min(gap * 2, 4)

    def secure(self, dialog):
        """The end of its media under keys: one for each call."""
        if "secure" not in dialog:
            dialog["secure"] = SecureMedia(self.bad, self.cert.file)
            self.ends.append(dialog["secure"])
        return dialog["secure"]

    def keyed(self, dialog, sdp):
        """Their description: an offer (we are active), or an answer (they are)."""
        place = re.search(r"m=\S+ (\d+) UDP/TLS", sdp)
        if place and int(place.group(1)) not in NOWHERE and "a=fingerprint" in sdp:
            ufrag = dialog["ice"][0] if "a=ice-lite" in sdp else ""
            self.secure(dialog).begin(sdp, "a=setup:active" in sdp, ufrag)

    def describe(self, offer, dialog):
        offer = offer.replace("\r\n", "\n")
        media = re.findall(r"m=(\S+) (\d+) (\S+) ([^\n]*)((?:\n(?!m=|--)[^\n]*)*)", offer)
        out = []
        if not media:
            if self.bad("SDP-006/offers"):
                return ""
            keys = [] if self.bad("MSEC-001/phone-keys") else [self.fingerprint]
            setup = "active" if self.bad("MSEC-002/actpass") else "actpass"
            pcmu = "70" if self.bad("RTP-006/payload-range") else "0"
            candidate = "127.0.0.1" if self.bad("NAT-002/candidates") else "192.0.2.7"
            names = ["a=rtpmap:96 opus/48000" + ("" if self.bad("MEET-008/opus") else "/2"), f"a=rtpmap:{pcmu} PCMU/8000",
                     "a=rtpmap:8 PCMA/8000"]
            if not self.bad("MEET-007/codecs"):
                names.append("a=rtpmap:101 telephone-event/8000")
            out = [f"m=audio {self.secure(dialog).port} UDP/TLS/RTP/SAVP 96 {pcmu} 8 101", *names, f"a=setup:{setup}", *keys,
                   f"a=tls-id:{secrets.token_hex(16)}", "a=rtcp-mux",
                   f"a=candidate:1 1 UDP 2130706431 {candidate} 41000 typ host"]
            if not self.bad("NAT-003/ice2"):
                out.append("a=ice-options:ice2")
        for kind, port, profile, formats, lines in media:
            video = kind == "video" and len(media) == 1 and "VP8" in lines and "fingerprint" in lines
            if kind != "audio" and not video:
                if not self.bad("CORE-029/m-lines"):
                    out.append(f"m={kind} 0 {profile} {formats}")
                continue
            if profile == "RTP/AVP":
                dialog["port"] = free_port()
                out += [f"m=audio {dialog['port']} {profile} 0 101", "a=rtpmap:101 telephone-event/8000"]
                self.later(self.media(self.message, offer, dialog))
                continue
            setup = "actpass" if self.bad("MSEC-003/role") else "active"
            ice = self.ice_lines(offer, dialog)
            self.keyed(dialog, offer)
            out += [f"m={kind} {self.secure(dialog).port} {profile} {formats}", f"a=setup:{setup}", self.fingerprint]
            if "sendonly" in lines and not self.bad("SDP-001/sendonly"):
                out.append("a=recvonly")
            event = re.search(r"a=rtpmap:101 [^\n]*", lines)
            if event:
                other = self.bad("SDP-003/payload") and dialog["version"] > 1
                out.append("a=rtpmap:101 opus/48000/2" if other else event.group(0))
            out += ice
            if self.bad("RTP-005/mux") or "a=rtcp-mux" in lines:
                out.append("a=rtcp-mux")
        text = "\r\n".join(["s=-", "c=IN IP4 127.0.0.1", "t=0 0", *out]) + "\r\n"
        version = dialog.get("version", 1)
        if dialog.get("text") not in (None, text):
            version += 0 if self.bad("SDP-002/origin") else 1
        if self.bad("SDP-003/payload"):
            version += 1
        dialog["version"], dialog["text"] = version, text
        return f"v=0\r\no=- 9 {version} IN IP4 127.0.0.1\r\n" + text
