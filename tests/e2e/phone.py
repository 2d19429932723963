"""A scripted SIP phone over TLS (or plain TCP, UDP): for what no real phone can be made to do.

  with Phone(rig, kith, "alice@sip.test", secret) as p:
      p.register()
      call = p.invite("bob@sip.test", sdp=keyed())
      call.expect(180); call.expect(200); call.ack(); call.bye(); call.expect(200)
"""
import hashlib
import itertools
import re
import secrets
import socket
import ssl
import time

from rig import Failure, TLS_PORT, V4

COUNTER = itertools.count(1)
FINGERPRINT = ":".join(f"{b:02X}" for b in hashlib.sha256(b"a scripted phone").digest())
COMPACT = {"v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact",
           "l": "content-length", "c": "content-type", "k": "supported"}


def keyed(setup="actpass", port=40000, extra="", address=V4):
    """A session description with DTLS-SRTP keys."""
    family = "IP6" if ":" in address else "IP4"
    return (f"v=0\r\no=- 1 1 IN {family} {address}\r\ns=-\r\nc=IN {family} {address}\r\nt=0 0\r\n"
            f"m=audio {port} UDP/TLS/RTP/SAVP 8\r\na=rtpmap:8 PCMA/8000\r\n"
            f"a=fingerprint:sha-256 {FINGERPRINT}\r\na=setup:{setup}\r\n{extra}")


def unkeyed(port=40000, address=V4):
    """One without: what Kith must refuse."""
    return (f"v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\n"
            f"m=audio {port} RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n")


class Message:
    def __init__(self, raw):
        self.raw = raw
        head, _, self.body = raw.partition(b"\r\n\r\n")
        lines = re.sub(r"\r\n[ \t]+", " ", head.decode("utf-8", "replace")).split("\r\n")
        self.first, self.headers = lines[0], []
        for line in lines[1:]:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            self.headers.append((COMPACT.get(name, name), value.strip()))
        response = self.first.startswith("SIP/2.0 ")
        self.status = int(self.first.split()[1]) if response else 0
        self.method = "" if response else self.first.split()[0]
        self.uri = "" if response else self.first.split()[1]

    def all(self, name):
        return [v for n, v in self.headers if n == name.lower()]

    def get(self, name, otherwise=""):
        return next(iter(self.all(name)), otherwise)

    def param(self, name, param):
        found = re.search(rf";\s*{param}=([^;>\s]+)", self.get(name).rpartition(">")[2])
        return found.group(1) if found else ""

    def __str__(self):
        return self.raw.decode("utf-8", "replace")


def split_routes(values):
    """Record-Route values one by one, also when several stand on a line."""
    return [r.strip() for v in values for r in re.split(r",(?=[^>]*(?:<|$))", v)]


class Phone:
    def __init__(self, rig, kith, aor, secret="", certificate=None, host=V4, port=TLS_PORT,
                 transport="tls", version=None, local=None, verify=True):
        self.rig, self.aor, self.secret, self.transport = rig, aor, secret, transport
        self.user, self.domain = aor.split("@")
        self.inbox, self.buffer, self.challenge, self.nc = [], b"", None, 0
        self.name = f"phone-{self.user}-{next(COUNTER)}"
        self.trace = open(rig.dir / f"{self.name}.log", "a")
        self.instance = f"<urn:uuid:00000000-0000-4000-8000-{secrets.token_hex(6)}>"
        self.call_id, self.cseq, self.tag = secrets.token_hex(8), 0, secrets.token_hex(4)
        self.socket = self._connect(kith, certificate, host, port, version, local, verify)
        self.local = self.socket.getsockname()[:2]

    def _connect(self, kith, certificate, host, port, version, local, verify):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        kind = socket.SOCK_DGRAM if self.transport == "udp" else socket.SOCK_STREAM
        s = socket.socket(family, kind)
        s.settimeout(10)
        if local:
            s.bind((local, 0))
        s.connect((host, port))
        return self._tls(s, kith, certificate, version, verify) if self.transport == "tls" else s

    def _tls(self, s, kith, certificate, version, verify):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if verify:
            context.load_verify_locations(kith.ca)
        else:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if certificate:
            context.load_cert_chain(certificate)
        if version:
            context.minimum_version = context.maximum_version = version
        return context.wrap_socket(s, server_hostname=self.domain)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()
        self.trace.close()

    @property
    def here(self):
        host = f"[{self.local[0]}]" if ":" in self.local[0] else self.local[0]
        return f"{host}:{self.local[1]}"

    @property
    def contact(self):
        return (f"<sip:{self.user}@{self.here};transport={self.transport}>;"
                f"+sip.instance=\"{self.instance}\"")

    def send(self, text, body=""):
        """Text with plain newlines; Content-Length is added unless it stands there."""
        head = text.strip().replace("\r\n", "\n").split("\n")
        if not any(re.match(r"(?i)(content-length|l)\s*:", line) for line in head):
            head.append(f"Content-Length: {len(body.encode())}")
        raw = ("\r\n".join(head) + "\r\n\r\n" + body).encode()
        self.send_raw(raw)

    def send_raw(self, raw):
        self.trace.write(f">>> {time.time():.3f}\n{raw.decode('utf-8', 'replace')}\n")
        self.trace.flush()
        self.socket.sendall(raw)

    def receive(self, seconds=5):
        """The next message, or None when none comes in that time or the connection ended."""
        end = time.monotonic() + seconds
        while True:
            message = self._cut()
            if message:
                self.trace.write(f"<<< {time.time():.3f}\n{message}\n")
                self.trace.flush()
                return message
            left = end - time.monotonic()
            if left <= 0:
                return None
            self.socket.settimeout(left)
            try:
                more = self.socket.recv(65536)
            except (TimeoutError, ssl.SSLWantReadError):
                return None
            except (ConnectionError, ssl.SSLError):
                more = b""
            if not more:
                self.ended = True
                return None
            self.buffer += more

    ended = False

    def _cut(self):
        self.buffer = self.buffer.lstrip(b"\r\n")
        head, blank, rest = self.buffer.partition(b"\r\n\r\n")
        if not blank:
            return None
        found = re.search(rb"(?i)\r\n(?:content-length|l)\s*:\s*(\d+)", head)
        size = int(found.group(1)) if found else 0
        if len(rest) < size:
            return None
        end = len(head) + 4 + size
        raw, self.buffer = self.buffer[:end], self.buffer[end:]
        return Message(raw)

    def expect(self, what, seconds=15, method=None, call_id=None):
        """The next message that is this status (or one of them), or this method. What does not
        fit stays for later."""
        def fits(m):
            if call_id and m.get("call-id") != call_id:
                return False
            if isinstance(what, str):
                return m.method == what
            wanted = what if isinstance(what, (tuple, list)) else (what,)
            return m.status in wanted and (not method or m.get("cseq").endswith(" " + method))

        for i, m in enumerate(self.inbox):
            if fits(m):
                return self.inbox.pop(i)
        end = time.monotonic() + seconds
        seen = []
        while (left := end - time.monotonic()) > 0:
            m = self.receive(left)
            if not m:
                break
            if fits(m):
                return m
            self.inbox.append(m)
            seen.append(m.first)
        left_over = [m.first for m in self.inbox]
        raise Failure(f"{self.name}: no {what} {'(connection ended) ' if self.ended else ''}"
                      f"within {seconds} s; there were {left_over[-5:]}")

    def nothing(self, what, seconds=1):
        """Fails when such a message comes within the time."""
        try:
            m = self.expect(what, seconds)
        except Failure:
            return
        raise Failure(f"{self.name}: {m.first} came, and should not")

    def authorization(self, challenge, method, uri):
        def value(name):
            found = re.search(rf'(?i)\b{name}=(?:"([^"]*)"|([^,\s]+))', challenge)
            return (found.group(1) or found.group(2) or "") if found else ""

        algorithm = value("algorithm") or "MD5"
        hashes = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256,
                  "SHA-512-256": lambda d: hashlib.new("sha512_256", d)}
        if algorithm not in hashes:
            raise Failure(f"challenge with algorithm {algorithm}")

        def h(text):
            return hashes[algorithm](text.encode()).hexdigest()

        self.nc += 1
        nc, cnonce = f"{self.nc:08x}", secrets.token_hex(8)
        a1 = h(f"{self.user}:{value('realm')}:{self.secret}")
        answer = h(f"{a1}:{value('nonce')}:{nc}:{cnonce}:auth:{h(f'{method}:{uri}')}")
        return (f'Digest username="{self.user}", realm="{value("realm")}", '
                f'nonce="{value("nonce")}", uri="{uri}", response="{answer}", '
                f'algorithm={algorithm}, cnonce="{cnonce}", qop=auth, nc={nc}')

    def via(self):
        return (f"Via: SIP/2.0/{self.transport.upper()} {self.here};"
                f"branch=z9hG4bK{secrets.token_hex(8)};rport")

    def register_text(self, expires=300, contact=None, authorization="", to=None):
        self.cseq += 1
        aor = to or self.aor
        text = (f"REGISTER sip:{self.domain} SIP/2.0\n{self.via()}\nMax-Forwards: 70\n"
                f"From: <sip:{aor}>;tag={self.tag}\nTo: <sip:{aor}>\nCall-ID: {self.call_id}\n"
                f"CSeq: {self.cseq} REGISTER\nContact: {contact or self.contact + ';reg-id=1'}\n"
                f"Supported: path, outbound, gruu\nExpires: {expires}")
        return text + (f"\nAuthorization: {authorization}" if authorization else "")

    def register(self, expires=300, contact=None, must=200):
        """REGISTER, answering one challenge; the final response."""
        self.send(self.register_text(expires, contact))
        answer = self.expect(list(range(200, 700)), method="REGISTER")
        if answer.status == 401 and self.secret:
            self.challenge, self.nc = answer.get("www-authenticate"), 0
            proof = self.authorization(self.challenge, "REGISTER", f"sip:{self.domain}")
            self.send(self.register_text(expires, contact, proof))
            answer = self.expect(list(range(200, 700)), method="REGISTER")
        if must and answer.status != must:
            raise Failure(f"{self.name}: REGISTER got {answer.first}, not {must}")
        return answer

    def invite(self, to, sdp=None, headers="", from_line=None, authorize=False):
        return Call(self, to, sdp, headers, from_line, authorize)

    def answer(self, request, status, reason="", sdp=None, tag=None, headers=""):
        """Answers a request the way RFC 3261 8.2.6 has it."""
        to = request.get("to")
        if ";tag=" not in to and status != 100:
            to += f";tag={tag or self.tag}"
        lines = [f"SIP/2.0 {status} {reason or 'Answer'}"]
        lines += [f"Via: {v}" for v in request.all("via")]
        lines += [f"Record-Route: {v}" for v in request.all("record-route")]
        lines += [f"From: {request.get('from')}", f"To: {to}",
                  f"Call-ID: {request.get('call-id')}", f"CSeq: {request.get('cseq')}"]
        if request.method == "INVITE" and 100 < status < 300:
            lines.append(f"Contact: {self.contact}")
        if headers:
            lines += headers.strip().split("\n")
        if sdp:
            lines.append("Content-Type: application/sdp")
        self.send("\n".join(lines), sdp or "")


class Call:
    """A dialog that this phone began, or (Call.from_invite) one that it was called into."""

    def __init__(self, phone, to, sdp, headers, from_line, authorize):
        self.phone, self.cseq = phone, 1
        self.call_id = secrets.token_hex(12)
        self.target = f"sip:{to}"
        self.near = from_line or f"<sip:{phone.aor}>;tag={secrets.token_hex(4)}"
        self.far, self.routes, self.last_invite = f"<sip:{to}>", [], None
        self.sdp, self.headers = sdp, headers
        self._invite()
        if authorize:
            m = self.expect(407)
            self._ack_failure(m)
            self.cseq += 1
            proof = phone.authorization(m.get("proxy-authenticate"), "INVITE", self.target)
            self._invite(f"Proxy-Authorization: {proof}")

    @classmethod
    def from_invite(cls, phone, request, tag):
        self = cls.__new__(cls)
        self.phone, self.cseq = phone, 100
        self.call_id = request.get("call-id")
        self.target = re.search(r"<([^>]+)>", request.get("contact")).group(1)
        self.near, self.far = f"{request.get('to')};tag={tag}", request.get("from")
        self.routes = split_routes(request.all("record-route"))
        self.last_invite = None
        return self

    def _invite(self, more=""):
        p = self.phone
        self.branch = p.via()
        extra = "\n".join(x for x in (self.headers.strip(), more) if x)
        body = "\nContent-Type: application/sdp" if self.sdp else ""
        p.send(f"INVITE {self.target} SIP/2.0\n{self.branch}\nMax-Forwards: 70\n"
               f"From: {self.near}\nTo: {self.far}\nCall-ID: {self.call_id}\n"
               f"CSeq: {self.cseq} INVITE\nContact: {p.contact}\n"
               f"Supported: outbound, gruu{body}" + (f"\n{extra}" if extra else ""), self.sdp or "")

    def expect(self, status, seconds=15, method=None):
        m = self.phone.expect(status, seconds, method, self.call_id)
        if m.get("cseq").endswith("INVITE") and m.status >= 300:
            self._ack_failure(m)
        elif m.get("cseq").endswith("INVITE") and m.status > 100 and ";tag=" in m.get("to"):
            self.far = m.get("to")
            self.routes = split_routes(m.all("record-route"))[::-1]
            if m.get("contact"):
                self.target = re.search(r"<([^>]+)>", m.get("contact")).group(1)
        return m

    def _ack_failure(self, m):
        number = m.get("cseq").split()[0]
        self.phone.send(f"ACK {self.target} SIP/2.0\n{self.branch}\nMax-Forwards: 70\n"
                        f"From: {self.near}\nTo: {m.get('to')}\nCall-ID: {self.call_id}\n"
                        f"CSeq: {number} ACK")

    def request(self, method, headers="", sdp=None, cseq=None):
        if cseq is None:
            self.cseq += 1
            cseq = self.cseq
        lines = [f"{method} {self.target} SIP/2.0", self.phone.via(), "Max-Forwards: 70"]
        lines += [f"Route: {r}" for r in self.routes]
        lines += [f"From: {self.near}", f"To: {self.far}", f"Call-ID: {self.call_id}",
                  f"CSeq: {cseq} {method}", f"Contact: {self.phone.contact}"]
        if headers:
            lines += headers.strip().split("\n")
        if sdp:
            lines.append("Content-Type: application/sdp")
        self.phone.send("\n".join(lines), sdp or "")

    def ack(self, sdp=None):
        self.request("ACK", sdp=sdp, cseq=self.cseq)

    def bye(self):
        self.request("BYE")
        return self

    def cancel(self):
        self.phone.send(f"CANCEL {self.target} SIP/2.0\n{self.branch}\nMax-Forwards: 70\n"
                        f"From: {self.near}\nTo: {self.far}\nCall-ID: {self.call_id}\n"
                        f"CSeq: {self.cseq} CANCEL")
