"""A WebRTC client that registers over secure WebSocket and answers every call by itself: right by default,
wrong where it is told to be; see fake.py. What it shares with a phone is proved there."""
import asyncio
import re
import secrets
import ssl
import struct

import fake_ws
from fake_phone import FakePhone
from fake_secure import SecureMedia
from sipmsg import Msg

UFRAG, PWD = "fake", "fakefakefakefakefakefake"
ICE = [f"a=ice-ufrag:{UFRAG}", f"a=ice-pwd:{PWD}", "a=ice-options:ice2"]
MID = "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid"


class WrongMedia(SecureMedia):
    """ICE, then a ClientHello again and again, which is wrong where its own tests look, and never answered."""
    TESTS = ("WEB-003/silent-candidate", "WEB-009/nothing-in-clear", "MSEC-009/suites", "MSEC-007/order",
             "MSEC-008/versions")

    async def live(self):
        for _ in range(100):
            if not self.bad("WEB-009/nothing-in-clear") or not self.proved:
                self.put(self.check())
            if self.proved and self.bad("WEB-009/nothing-in-clear"):
                self.put(b"\x80\x6f" + bytes(170))
            if self.proved or self.bad("WEB-003/silent-candidate"):
                for part in self.hello():
                    self.put(part)
            await asyncio.sleep(0.1)

    def hello(self):
        suites = [0x1301, 0xc02f] if self.bad("MSEC-009/suites") else [0x1301, 0xc02b]
        profiles = [1, 7, 8] if self.bad("MSEC-007/order") else [8, 7, 1]
        versions = [0xfefd, 0xfeff] if self.bad("MSEC-008/versions") else [0xfefc, 0xfefd]

        def numbers(values, head):
            packed = b"".join(struct.pack(">H", v) for v in values)
            return struct.pack(head, len(packed)) + packed
        extensions = b""
        for kind, value in ((14, numbers(profiles, ">H") + b"\0"), (43, numbers(versions, ">B"))):
            extensions += struct.pack(">HH", kind, len(value)) + value
        body = b"\xfe\xfd" + bytes(32) + b"\0\0" + numbers(suites, ">H") + b"\1\0"
        body += struct.pack(">H", len(extensions)) + extensions
        for at, part in ((0, body[:40]), (40, body[40:])):  # in two pieces, as large ones come
            message = b"\1" + len(body).to_bytes(3, "big") + b"\0\0" + at.to_bytes(3, "big")
            message += len(part).to_bytes(3, "big") + part
            yield b"\x16\xfe\xff" + bytes(8) + struct.pack(">H", len(message)) + message


class FakeBrowser(FakePhone):
    async def live(self):
        context = ssl.create_default_context(cafile=self.cert.file)
        context.check_hostname = False
        while True:
            try:
                reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context)
                await self.connected(reader)
            except (OSError, asyncio.IncompleteReadError, fake_ws.Broken):
                pass
            await asyncio.sleep(0.05)

    async def connected(self, reader):
        protocol = "" if self.bad("TRANS-019/asks") else "Sec-WebSocket-Protocol: sip\r\n"
        self.writer.write(("GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                           f"{protocol}Origin: https://page.test\r\n\r\n").encode())
        await fake_ws.read_head(reader)
        self.ws = fake_ws.WebSocket(reader, self.writer, self.bad, is_server=False)
        self.local = f"{secrets.token_hex(6)}.invalid"
        kind = "tcp" if self.bad("TRANS-023/says") else "ws"
        self.contact = f"sip:{self.user}@{self.local};transport={kind}"
        self.register()
        try:
            deaf = {"TRANS-021/takes-text": fake_ws.TEXT, "TRANS-021/takes-binary": fake_ws.BINARY}.get(self.broken)
            while got := await self.ws.message():
                if got[0] != deaf or not got[1].startswith(b"OPTIONS"):
                    self.take(Msg.read(got[1]))
        finally:
            self.writer.close()

    async def ping(self, seconds):
        """RFC 7118 6: the frames of WebSocket do that, and not CRLFs beside them."""

    def send(self, m):
        data = m.bytes()
        if not m.start.startswith("SIP/2.0"):
            data = data.replace(b"SIP/2.0/TCP ", b"SIP/2.0/WSS ")
        if self.bad("TRANS-020/one-each") and data.startswith(b"REGISTER"):
            data += b"OPTIONS sip:a SIP/2.0\r\n\r\n"
        self.ws.send(data)

    # ---- descriptions ----------------------------------------------------------------------

    def on_invite(self, m, dialog):
        text = m.body.decode(errors="replace")
        if text.startswith("v=0") and not self.fits(text):
            return self.reply(m, 488)
        return super().on_invite(m, dialog)

    def fits(self, offer):
        if "a=ice-ufrag" not in offer and not self.bad("WEB-005/no-ice"):
            return False
        if "a=fingerprint" in offer:
            older = {"RTP/SAVPF": "WEB-006/older-savpf", "RTP/AVP": "WEB-006/older-avp"}
            return not self.bad(older.get(re.search(r"m=\S+ \d+ (\S+)", offer).group(1), "-"))
        return self.bad("MSEC-009/clear") if "RTP/AVP" in offer else self.bad(
            "WEB-005/sdes" if "a=crypto" in offer else "WEB-005/no-fingerprint")

    def describe(self, offer, dialog):
        media = re.findall(r"m=(\S+) (\d+) (\S+) ([^\r\n]*)((?:\r?\n(?!m=)[^\r\n]*)*)", offer)
        lines = self.own_offer() if not media else self.answer_lines(offer, media)
        self.keyed(dialog, offer)
        dialog["version"] = dialog.get("version", 0) + 1
        return "\r\n".join([f"v=0\r\no=- 9 {dialog['version']} IN IP4 127.0.0.1", "s=-", "t=0 0", *lines]) + "\r\n"

    def secure(self, dialog):
        if "secure" not in dialog and self.broken in WrongMedia.TESTS:
            dialog["secure"] = WrongMedia(self.bad, self.cert.file)
            self.ends.append(dialog["secure"])
        return super().secure(dialog)

    def keyed(self, dialog, sdp):
        if re.search(r"a=candidate:\S+ \S+ udp ", sdp):
            self.secure(dialog).begin(sdp, "a=setup:active" in sdp, UFRAG)

    def own_offer(self):
        profile = "RTP/AVP" if self.bad("WEB-006/offer") else "UDP/TLS/RTP/SAVPF"
        mux = [] if self.bad("WEB-007/offer") else ["a=rtcp-mux"]
        crypto = ["a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x"] if self.bad("MSEC-009/offer") else []
        return [f"m=audio 41000 {profile} 111 0 8 101", "c=IN IP4 192.0.2.7", "a=rtpmap:111 opus/48000/2",
                "a=rtpmap:101 telephone-event/8000", "a=mid:0", *ICE, *mux, *crypto, "a=setup:actpass", self.fingerprint,
                f"a=tls-id:{secrets.token_hex(16)}", "a=candidate:1 1 udp 2130706431 192.0.2.7 41000 typ host"]

    def answer_lines(self, offer, media):
        lines, taken = [], []
        for kind, _, profile, formats, rest in media:
            codec = re.search(r"a=rtpmap:96 (\S+)/90000", rest)
            refused = {"VP8": "RTP-009/vp8", "H264": "RTP-009/h264"}.get(codec.group(1)) if codec else "-"
            port = 0 if self.bad(refused) or kind not in ("audio", "video") else 41000
            mid = re.search(r"a=mid:(\S+)", rest)
            if self.bad("WEB-009/answer"):
                profile = "RTP/SAVPF"
            lines += [f"m={kind} {port} {profile} {formats}", "c=IN IP4 192.0.2.7", *ICE, "a=setup:active", self.fingerprint]
            lines += re.findall("a=rtpmap:[^\r\n]*", rest)
            if "a=rtcp-mux" in rest and not self.bad("WEB-007/answer") and (
                    kind == "audio" or not self.bad("MEET-005/bundled")):
                lines.append("a=rtcp-mux")
            if mid and port:
                taken.append(mid.group(1))
            if mid:
                lines.append("a=mid:" + ("x" if self.bad("MEET-004/answer") else mid.group(1)))
            if MID in rest:
                lines.append(MID)
        if "a=group:BUNDLE" in offer:
            lines.insert(0, "a=group:BUNDLE " + " ".join(taken))
        return lines
