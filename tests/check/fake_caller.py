"""What the fake phone does beside answering: it calls (told by REFER), presses keys (told through a file,
as --hands wants it), sends media and answers ICE checks. A part of fake_phone.FakePhone."""
import asyncio
import hashlib
import hmac
import pathlib
import re
import secrets
import struct
import zlib

from sipmsg import Msg, params, uri_of

OFFER = ("m=audio 41000 UDP/TLS/RTP/SAVP 0\r\na=setup:actpass\r\na=fingerprint:SHA-256 " + ":".join(["AB"] * 32)
         + "\r\n")
CANDIDATE = r"a=candidate:\S+ 1 UDP \d+ (\S+) (\d+)"
COOKIE = b"\x21\x12\xa4\x42"


class Receiver(asyncio.DatagramProtocol):
    def __init__(self, take):
        self.take = take

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, peer):
        self.take(self.transport, data, peer)


class Caller:
    from_uri = etag = None

    # ---- calls out -------------------------------------------------------------------------

    def describe_own(self, extra="", address="127.0.0.1"):
        return (f"v=0\r\no=- 8 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\n" + OFFER + extra)

    def ask(self, method, uri, call, headers=(), body=""):
        """A request of `call`: a dialog, or what becomes one."""
        if method not in ("ACK", "CANCEL"):
            call["own"] = call.get("own", 0) + (2 if self.bad("TXN-012/in-the-call") else 1)
        number = call.get("invite", call["own"]) if method == "ACK" else call["own"]
        m = Msg(f"{method} {uri} SIP/2.0", [
            ("Via", f"SIP/2.0/TCP {self.local};branch=z9hG4bK{secrets.token_hex(6)};rport"), ("Max-Forwards", "70"),
            ("From", call["local"]), ("To", call["remote"]), ("Call-ID", call["id"]), ("CSeq", f"{number} {method}"),
            *[("Route", r) for r in call.get("routes", [])], *headers], body.encode())
        if body:
            m.add("Content-Type", "application/sdp")
        self.send(m)
        return m

    def contact_of(self, dialog_forming=True):
        return f"<{self.gruu or self.contact.split(';pn-')[0]}>" if dialog_forming else f"<{self.contact}>"

    def dial(self, uri, told=None, login=(), again=None):
        call = again or {"id": secrets.token_hex(6), "local": f"<{self.from_uri or 'sip:' + self.user + '@fake.test'}>;tag={secrets.token_hex(4)}",
                         "remote": f"<{uri}>", "told": told, "tags": [], "cseq": 0, "uri": uri, "logins": 0}
        tag = params(call["local"])["tag"]
        self.calls[call["id"]] = self.dialogs[(call["id"], tag)] = call
        contact = f"<{self.contact}>" if self.bad("PUSH-002/kept-apart") else self.contact_of()
        self.ask("INVITE", uri, call, [("Contact", contact), ("Allow", "INVITE, ACK, CANCEL, BYE, PRACK, UPDATE"),
                                       ("Supported", "100rel"), *login], self.describe_own())
        call["invite"], call["open"] = call["own"], True

    def tell(self, told, text, over):
        if told:
            state = "terminated;reason=noresource" if over else "active;expires=60"
            contact = self.contact if self.bad("EVENT-005/notifier-gruu") else self.gruu or self.contact
            self.ask("NOTIFY", told["target"], told, [("Event", "refer"), ("Subscription-State", state),
                                                      ("Contact", f"<{contact}>"),
                                                      ("Content-Type", "message/sipfrag")])

    def dialog_from(self, m, tag):
        """The dialog of a request that we accept."""
        to = m.get("To") if "tag" in params(m.get("To")) else m.get("To") + f";tag={tag}"
        return {"id": m.get("Call-ID"), "local": to, "remote": m.get("From"), "cseq": int(m.cseq[0]),
                "target": uri_of(m.get("Contact") or m.get("From")), "routes": m.values("Record-Route")}

    def on_refer(self, m, dialog):
        if not m.lines("Refer-To"):
            return self.reply(m, 200 if self.bad("CORE-039/no-refer-to") else 400)
        if not dialog:
            dialog = self.dialog_from(m, self.tag_of(m))
        r = self.reply(m, 202 if self.bad("CORE-040/refer") else 200, [("Contact", f"<{self.contact}>")])
        self.tell(dialog, "SIP/2.0 100 Trying", False)
        uri = uri_of(m.get("Refer-To"))
        if uri.startswith("sips:") and self.bad("TRANS-017/stays-sips"):
            uri = "sip:" + uri[5:]
        self.dial(uri, dialog)
        return r

    def answered(self, m):
        """A response to a request of ours."""
        call = self.calls.get(m.get("Call-ID"))
        if m.cseq[1] == "PUBLISH":
            return self.published(m)
        if m.cseq[1] == "SUBSCRIBE" and m.status == 200:
            call = self.calls.pop(m.get("Call-ID"), None)
            if call:  # the first one: it made the dialog
                call.update(remote=m.get("To"), target=uri_of(m.get("Contact")))
            return
        if not call or m.cseq[1] != "INVITE" or int(m.cseq[0]) != call["invite"]:
            return
        target = uri_of(m.get("Contact") or "") or call["uri"]
        if 100 < m.status < 200 and m.lines("RSeq"):
            number = int(m.get("RSeq"))
            if number == call.get("rseq", number - 1) + 1 or self.bad("CORE-032/pracks"):
                call["rseq"] = number
                early = dict(call, remote=m.get("To"))
                self.ask("PRACK", target, early, [("RAck", f"{number} {call['invite']} INVITE")])
                call["own"] = early["own"]
        elif 200 <= m.status < 300:
            tag = params(m.get("To"))["tag"]
            if tag not in call["tags"]:
                call["tags"].append(tag)
            dialog = dict(call, remote=m.get("To"))
            if tag != call["tags"][0] and self.bad("CORE-014/two-answers"):
                return
            self.ask("ACK", target, dialog)
            if tag != call["tags"][0]:
                self.ask("BYE", target, dialog)
            call["open"] = False
            self.tell(call["told"], "SIP/2.0 200 OK", True)
        elif m.status >= 300:
            self.refused(m, call)

    def refused(self, m, call):
        self.ask("ACK", call["uri"], dict(call, remote=m.get("To")))
        call["open"] = False
        challenge = (m.get("Proxy-Authenticate") or m.get("WWW-Authenticate") or "")
        if challenge.startswith("Digest") and call["logins"] < (2 if self.bad("AUTH-008/refused-login") else 1):
            call["logins"] += 1
            return self.dial(call["uri"], login=[("Proxy-Authorization", self.login(challenge, "INVITE", call["uri"]))],
                             again=call)
        if challenge.startswith("Bearer") and self.bad("AUTH-011/strange-authority"):
            host, port = re.search("https://([^:/]+):([0-9]+)", challenge).groups()
            self.later(asyncio.open_connection(host, int(port)))
        if m.status == 433 and self.bad("PRIV-010/anonymity-refused"):
            return self.dial(call["uri"], again=call)
        self.later(self.tell_later(call["told"]))
        return None

    async def tell_later(self, told):
        await asyncio.sleep(0.1)
        self.tell(told, "SIP/2.0 603 Declined", True)

    def login(self, challenge, method, uri):
        p = {k.strip(): v.strip('"') for k, _, v in (x.partition("=") for x in challenge[7:].split(","))}
        h = lambda x: hashlib.sha256(x.encode()).hexdigest()
        middle = f"{p['nonce']}:00000001:c:auth"
        response = h(f"{h(self.user + ':' + p['realm'] + ':' + self.password)}:{middle}:{h(method + ':' + uri)}")
        return (f'Digest username="{self.user}", realm="{p["realm"]}", nonce="{p["nonce"]}", uri="{uri}", '
                f'response="{response}", algorithm=SHA-256, qop=auth, nc=00000001, cnonce="c"')

    def crosses(self, m, dialog):
        """A request with an offer while our own INVITE waits for its answer."""
        if not dialog or not dialog.get("open"):
            return False
        self.reply(m, 200 if self.bad("SDP-005/crossing-invite", "CORE-033/crossing-update") else 491)
        return True

    # ---- hands -----------------------------------------------------------------------------

    async def watch(self):
        """Does what is written into the file."""
        path, done = pathlib.Path(self.hands), 0
        while True:
            await asyncio.sleep(0.05)
            lines = path.read_text().splitlines()
            for line in lines[done:]:
                word, _, rest = line.partition(" ")
                getattr(self, "do_" + word)(rest)
            done = len(lines)

    def do_hold(self, _):
        call = self.up
        self.dialogs[(call["id"], params(call["local"])["tag"])]["hold"] = True
        bad = self.bad("CORE-030/hold")
        body = self.describe_own("" if bad else "a=sendonly\r\n", "0.0.0.0" if bad else "127.0.0.1")
        self.ask("INVITE", call["target"], call, [("Contact", f"<{self.contact}>")], body)
        call["invite"] = call["own"]
        self.calls[call["id"]] = dict(call, tags=[], told=None, uri=call["target"], logins=9)

    def do_transfer(self, uri):
        call = self.up
        if "gr" in params(call["target"].split("@")[-1]) and not self.bad("CORE-045/transfer"):
            call = dict(call, id=secrets.token_hex(6), remote=f"<{call['target']}>")
        self.ask("REFER", call["target"], call, [("Contact", f"<{self.contact}>"), ("Refer-To", f"<{uri}>")])

    def begin(self, uri):
        return {"id": secrets.token_hex(6), "local": f"<sip:{self.user}@fake.test>;tag={secrets.token_hex(4)}",
                "remote": f"<{uri}>", "cseq": 0}

    def subscribe(self, uri, package, accept):
        call = self.begin(uri)
        call["package"] = package
        self.calls[call["id"]] = self.dialogs[(call["id"], params(call["local"])["tag"])] = call
        self.ask("SUBSCRIBE", uri, call, [("Event", package), ("Expires", "600"), ("Accept", accept),
                                          ("Contact", f"<{self.contact}>")])

    def do_subscribe(self, words):  # "to message-summary"
        self.subscribe(f"sip:{self.user}@fake.test", words.split()[-1], "application/simple-message-summary")

    def do_watch(self, uri):
        self.subscribe(uri, "conference", "application/conference-info+xml")

    async def watch_focus(self, uri):
        while not self.acked:
            await asyncio.sleep(0.05)
        self.do_watch(uri)

    def do_publish(self, _, again=False):
        if not again:
            self.publication = self.begin(f"sip:{self.user}@fake.test")
        tag = [("SIP-If-Match", self.etag)] if self.etag else []
        self.ask("PUBLISH", f"sip:{self.user}@fake.test", self.publication,
                 [("Event", "presence"), ("Expires", "3600"), *tag], "<presence/>")

    def published(self, m):
        if m.status == 412:
            if not self.bad("EVENT-011/conditional"):
                self.etag = None
            self.do_publish("", again=True)
        elif m.status == 200:
            self.etag = m.get("SIP-ETag")

    def do_message(self, words):  # "sip:third@... of 2000 letters"
        uri, _, size, _ = words.split()
        text = "x" * int(size)
        step = len(text) if self.bad("MSG-003/size") else 700
        for at in range(0, len(text), step):
            self.ask("MESSAGE", uri, self.begin(uri), [], text[at:at + step])

    def do_press(self, key):
        self.keys.append(11 if key == "#" else int(key))

    # ---- media -----------------------------------------------------------------------------

    async def media(self, m, body, dialog):
        """Plain RTP to where the offer says, until the call ends."""
        host = re.search(r"c=IN IP4 (\S+)", body).group(1)
        port = int(re.search(r"m=audio (\d+)", body).group(1))
        same = self.bad("RTP-001/beginnings")
        state = {"ssrc": 1 if same else secrets.randbits(32), "seq": 1 if same else secrets.randbits(15)}

        def heard(transport, data, _):
            if len(data) >= 12 and struct.unpack(">I", data[8:12])[0] == state["ssrc"] and not self.bad("RTP-003/collision"):
                bye = struct.pack(">BBHI", 0x80, 201, 1, state["ssrc"]) + struct.pack(">BBHI", 0x81, 203, 1, state["ssrc"])
                transport.sendto(bye, (host, port + 1))
                state["ssrc"] = secrets.randbits(32)
        loop = asyncio.get_running_loop()
        rtp, _ = await loop.create_datagram_endpoint(lambda: Receiver(heard), local_addr=("127.0.0.1", dialog["port"]))
        out = rtp
        if self.bad("NAT-015/symmetric"):
            out, _ = await loop.create_datagram_endpoint(lambda: Receiver(heard), local_addr=("127.0.0.1", 0))
        name = (b"u@127.0.0.1-a-phone" if self.bad("RTP-004/cname") else secrets.token_hex(12).encode())
        try:
            for i in range(2000):
                if (m.get("Call-ID"), self.tag_of(m)) not in self.dialogs:
                    break
                head = struct.pack(">BBHII", 0x80, 0, (state["seq"] + i) & 0xffff, i * 160, state["ssrc"])
                out.sendto(head + b"\x7f" * 160, (host, port))
                if self.keys:
                    self.press(out, (host, port), self.keys.pop(0), state, i)
                if i % 20 == 10:
                    item = b"\x01" + bytes([len(name)]) + name + b"\0"
                    item += b"\0" * (-len(item) % 4)
                    report = struct.pack(">BBHI", 0x80, 201, 1, state["ssrc"])
                    sdes = struct.pack(">BBHI", 0x81, 202, 1 + len(item) // 4, state["ssrc"]) + item
                    both = sdes + report if self.bad("RTP-002/reports") else report + sdes
                    out.sendto(both, (host, port + 1))
                await asyncio.sleep(0.02)
        finally:
            rtp.close()
            out.close()

    def press(self, out, to, event, state, i):
        if self.bad("RTP-010/listed"):
            event = 16
        for k in range(8):
            stamp = i * 160 + (160 * k if self.bad("TRUNK-014/key") else 0)
            head = struct.pack(">BBHII", 0x80, 101 | (128 if k == 0 else 0), (state["seq"] + 5000 + k) & 0xffff, stamp,
                               state["ssrc"])
            out.sendto(head + struct.pack(">BBH", event, (128 if k > 4 else 0) | 10, 160 * min(k + 1, 6)), to)

    # ---- ICE -------------------------------------------------------------------------------

    async def listen_ice(self):
        self.ice, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: Receiver(self.check), local_addr=("127.0.0.1", 0))
        self.ice_port = self.ice.get_extra_info("sockname")[1]

    def ice_lines(self, offer, dialog):
        found = re.search(r"a=ice-ufrag:(\S+)", offer)
        if not found:
            return []
        if dialog.get("theirs") != found.group(1):
            dialog["theirs"] = found.group(1)
            if not dialog.get("ice") or not self.bad("NAT-016/restart"):
                dialog["ice"] = (secrets.token_hex(3), secrets.token_hex(12))
                self.ice_keys[dialog["ice"][0]] = dialog["ice"][1]
        ufrag, pwd = dialog["ice"]
        lines = [f"a=ice-ufrag:{ufrag}", f"a=ice-pwd:{pwd}"]
        place = (re.search(r"c=IN IP4 (\S+)", offer).group(1), re.search(r"m=audio (\d+)", offer).group(1))
        trickle = place == ("0.0.0.0", "9") and not self.bad("NAT-004/mismatch")
        if not trickle and place not in re.findall(r"a=candidate:\S+ 1 UDP \d+ (\S+) (\d+)", offer):
            return lines + ["a=ice-mismatch"]
        self.ice_calls[ufrag] = dialog
        dialog["places"] = re.findall(CANDIDATE, offer)
        if "a=ice-lite" not in offer:
            self.later(self.look(dialog))
        mine = f"a=candidate:1 1 UDP 2130706431 127.0.0.1 {self.ice_port} typ host"
        if "a=ice-options:ice2 trickle\n" in offer and not trickle:
            dialog["trickle"] = dialog["ended"] = False
            self.later(self.inform(dialog, mine))
            return lines + ["a=ice-options:ice2 trickle"]
        return lines + ["a=ice-options:ice2", mine]

    async def look(self, dialog):
        """Checks what it knows of, until something answers or the PAC timer of RFC 8863 is over."""
        limit = 5 if self.bad("NAT-008/late-check") else 39.5
        began = asyncio.get_running_loop().time()
        while not dialog.get("over") and asyncio.get_running_loop().time() < began + limit:
            for host, port in dialog["places"][:None if self.bad("NAT-017/many-pairs") else 100]:
                self.ice.sendto(b"\0\1\0\0" + COOKIE + secrets.token_bytes(12), (host, int(port)))
            await asyncio.sleep(0.3)
        dialog["over"] = True

    async def inform(self, dialog, candidate):
        """Its own candidate, and that there is no other: RFC 8840 4.4."""
        while not dialog.get("acked"):
            await asyncio.sleep(0.05)
        ufrag, pwd = dialog["ice"]
        keys = "" if self.bad("NAT-006/informs") else f"a=ice-pwd:{pwd}\r\na=ice-ufrag:{ufrag}\r\n"
        body = f"{keys}m=audio 9 RTP/AVP 0\r\na=mid:0\r\n{candidate}\r\na=end-of-candidates\r\n"
        self.ask("INFO", dialog["target"], dialog, [("Info-Package", "trickle-ice")], body)

    def trickled(self, m, dialog):
        text = m.body.decode()
        known = re.search(r"a=ice-ufrag:(\S+)", text).group(1) == dialog["theirs"]
        if (known or self.bad("NAT-006/old-generation")) and (
                not dialog["ended"] or self.bad("NAT-005/after-the-end")):
            dialog["places"] += [p for p in re.findall(CANDIDATE, text) if p not in dialog["places"]]
            dialog["ended"] = known and "a=end-of-candidates" in text
        return self.reply(m, 200)

    def check(self, transport, data, peer):
        if data[:2] != b"\0\1":
            return None
        attributes, at = {}, 20
        while at + 4 <= len(data):
            kind, size = struct.unpack(">HH", data[at:at + 4])
            attributes[kind] = (at, data[at + 4:at + 4 + size])
            at += 4 + size + -size % 4
        user = attributes.get(6, (0, b""))[1].decode().split(":")[0]

        def answer(code, body):
            transport.sendto(struct.pack(">HH", code, len(body)) + data[4:20] + body, peer)

        def refuse(status):
            answer(0x111, struct.pack(">HHHBB", 9, 4, 0, status // 100, status % 100))
        if 8 not in attributes and not self.bad("NAT-001/unproved"):
            return refuse(400)
        if 8 in attributes:
            start, mac = attributes[8]
            head = data[:2] + struct.pack(">H", start + 24 - 20) + data[4:start]
            if hmac.digest(self.ice_keys.get(user, "").encode(), head, "sha1") != mac:
                return refuse(401)
        if 0x8029 in attributes and attributes[0x8029][1] > b"\x7f" * 8 and not self.bad("NAT-018/conflict"):
            return refuse(487)
        dialog = self.ice_calls.get(user, {})
        if dialog.get("over"):
            return None
        if dialog and (peer[0], str(peer[1])) not in dialog["places"]:
            dialog["places"].append((peer[0], str(peer[1])))
        if 0x8028 in attributes:
            start, crc = attributes[0x8028]
            if struct.pack(">I", zlib.crc32(data[:start]) ^ 0x5354554e) != crc:
                return None
        return answer(0x101, struct.pack(">HHBBH4s", 0x20, 8, 0, 1, peer[1] ^ 0x2112, b"\x5e\x12\xa4\x43"))
