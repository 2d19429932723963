"""A browser's side of the wire, from sockets up: HTTPS requests and SIP over WebSocket (RFC 7118)."""
import base64
import hashlib
import json
import os
import secrets
import socket
import ssl
import struct
import time

from phone import Message, Phone
from rig import Failure, TLS_PORT, V4

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Answer:
    def __init__(self, head, body):
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = [(n.strip().lower(), v.strip())
                        for n, _, v in (line.partition(":") for line in lines[1:])]
        self.body = body

    def get(self, name):
        return next((v for n, v in self.headers if n == name), "")

    def json(self):
        return json.loads(self.body)


class Browser:
    """One HTTPS connection."""

    def __init__(self, kith, host="sip.test", at=V4, port=TLS_PORT, alpn="http/1.1"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(kith.ca)
        if alpn:
            context.set_alpn_protocols([alpn])
        s = socket.create_connection((at, port), timeout=20)
        self.socket = context.wrap_socket(s, server_hostname=host)
        self.host, self.origin, self.buffer = f"{host}:{port}", f"https://{host}:{port}", b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, raw):
        self.socket.sendall(raw)

    def fill(self):
        """False: the server has closed."""
        try:
            more = self.socket.recv(65536)
        except (ConnectionError, ssl.SSLError):
            more = b""
        self.buffer += more
        return bool(more)

    def answer(self, has_body=True):
        while b"\r\n\r\n" not in self.buffer:
            if not self.fill():
                raise Failure(f"the server closed after {self.buffer[:200]!r}")
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        a = Answer(head, b"")
        size = int(a.get("content-length") or 0) if has_body else 0
        while len(self.buffer) < size:
            if not self.fill():
                raise Failure("the server closed within a body")
        a.body, self.buffer = self.buffer[:size], self.buffer[size:]
        return a

    def ask(self, method, path, body=None, headers=None, origin=True, host=None):
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host or self.host}"]
        lines += [f"{k}: {v}" for k, v in (headers or {}).items()]
        if origin and method in ("POST", "DELETE"):
            lines.append(f"Origin: {self.origin if origin is True else origin}")
        raw = b"" if body is None else json.dumps(body).encode()
        if body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(raw)}"]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + raw)
        return self.answer(method != "HEAD")

    def ended(self):
        """Reads on until the server closes."""
        while self.fill():
            pass
        return True


def handshake(browser, path="/ws", origin=True, protocol="sip", cookie="", version="13"):
    key = base64.b64encode(os.urandom(16))
    headers = {"Upgrade": "websocket", "Connection": "Upgrade",
               "Sec-WebSocket-Key": key.decode(), "Sec-WebSocket-Version": version}
    if protocol:
        headers["Sec-WebSocket-Protocol"] = protocol
    if origin:
        headers["Origin"] = browser.origin if origin is True else origin
    if cookie:
        headers["Cookie"] = cookie
    a = browser.ask("GET", path, headers=headers)
    wanted = base64.b64encode(hashlib.sha1(key + MAGIC).digest()).decode()
    if a.status == 101 and (a.get("sec-websocket-accept") != wanted or
                            a.get("sec-websocket-protocol") != "sip"):
        raise Failure("the handshake's answer is wrong")
    return a


def frame(opcode, payload, last=True, mask=True):
    n, bit = len(payload), 0x80 if mask else 0
    head = bytes([(0x80 if last else 0) | opcode])
    if n < 126:
        head += bytes([bit | n])
    elif n < 65536:
        head += bytes([bit | 126]) + struct.pack(">H", n)
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", n)
    if not mask:
        return head + payload
    key = secrets.token_bytes(4)
    return head + key + bytes(c ^ key[i % 4] for i, c in enumerate(payload))


class WebPhone(Phone):
    """A scripted phone over WSS; `closed` is the code with which the server closed."""

    def __init__(self, rig, kith, aor, secret="", path="/ws", origin=True, cookie="", port=TLS_PORT,
                 at=V4):
        self.closed, self.pongs, self.crlfs = None, [], 0
        self.web = Browser(kith, aor.split("@")[1], at, port)
        a = handshake(self.web, path, origin, cookie=cookie)
        if a.status != 101:
            self.web.socket.close()
            raise Failure(f"the WebSocket was refused: {a.status}")
        self.place = f"{secrets.token_hex(6)}.invalid"
        super().__init__(rig, kith, aor, secret, transport="wss", host=at, port=port)
        self.buffer = self.web.buffer

    def _connect(self, *_):
        return self.web.socket

    @property
    def contact(self):
        return (f"<sip:{self.user}@{self.place};transport=ws;ob>;"
                f"+sip.instance=\"{self.instance}\"")

    def via(self):
        return f"Via: SIP/2.0/WSS {self.place};branch=z9hG4bK{secrets.token_hex(8)}"

    def send_raw(self, raw, opcode=TEXT):
        self.trace.write(f">>> {time.time():.3f}\n{raw.decode('utf-8', 'replace')}\n")
        self.trace.flush()
        self.socket.sendall(frame(opcode, raw))

    def send_frame(self, *args, **more):
        self.socket.sendall(frame(*args, **more))

    def _cut(self):
        while True:
            b = self.buffer
            if len(b) < 2:
                return None
            n, at = b[1] & 0x7f, 2
            if b[1] & 0x80 or b[0] & 0x70:
                raise Failure("the server masked a frame, or set a reserved bit")
            if n >= 126:
                size = 2 if n == 126 else 8
                if len(b) < 2 + size:
                    return None
                n, at = int.from_bytes(b[2:2 + size], "big"), 2 + size
            if len(b) < at + n:
                return None
            opcode, payload, self.buffer = b[0] & 15, b[at:at + n], b[at + n:]
            if opcode == CLOSE:
                self.closed = int.from_bytes(payload[:2], "big")
            elif opcode == PING:
                self.send_frame(PONG, payload)
            elif opcode == PONG:
                self.pongs.append(payload)
            elif payload == b"\r\n":
                self.crlfs += 1
            else:
                m = Message(payload)
                if int(m.get("content-length", "-1")) != len(m.body):
                    raise Failure("a WebSocket message with more or less than one SIP message")
                return m

    def pulse(self):
        """All that was sent before has been handled when this returns."""
        mark = secrets.token_bytes(8)
        self.send_frame(PING, mark)
        end = time.monotonic() + 20
        while mark not in self.pongs:
            m = self.receive(0.1)  # gives back messages only: look at the Pongs every now and then
            if m:
                self.inbox.append(m)
            elif mark not in self.pongs and (self.ended or time.monotonic() > end):
                raise Failure(f"{self.name}: no Pong (closed with {self.closed})")

    def until_closed(self, seconds=20):
        """The code of the server's close frame, or 0 when it closed without one."""
        end = time.monotonic() + seconds
        while not self.ended and time.monotonic() < end:
            self.receive(max(0.1, end - time.monotonic()))
        if not self.ended:
            raise Failure(f"{self.name}: the server does not close")
        return self.closed or 0


def b64(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Authenticator:
    """A passkey in software (WebAuthn 6), its key by the openssl program."""

    def __init__(self, r):
        self.r, self.key = r, r.dir / f"passkey-{secrets.token_hex(4)}.pem"
        r.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.key])
        r.run(["openssl", "ec", "-in", self.key, "-pubout", "-outform", "DER", "-out",
               f"{self.key}.pub"])
        self.point = open(f"{self.key}.pub", "rb").read()[-64:]
        self.id = secrets.token_bytes(20)

    def _client(self, kind, challenge, origin):
        return json.dumps({"type": kind, "challenge": challenge, "origin": origin,
                           "crossOrigin": False}).encode()

    def create(self, options, origin, rp=None, flags=0x45):
        """What navigator.credentials.create() gives, as toJSON() writes it."""
        x, y = self.point[:32], self.point[32:]
        cose = b"\xa5\x01\x02\x03\x26\x20\x01\x21\x58\x20" + x + b"\x22\x58\x20" + y
        data = hashlib.sha256((rp or options["rp"]["id"]).encode()).digest() + bytes([flags])
        data += struct.pack(">I", 0) + bytes(16) + struct.pack(">H", len(self.id)) + self.id + cose
        client = self._client("webauthn.create", options["challenge"], origin)
        return {"id": b64(self.id), "rawId": b64(self.id), "type": "public-key",
                "response": {"clientDataJSON": b64(client), "authenticatorData": b64(data)}}

    def get(self, options, origin, rp=None, flags=0x05):
        data = hashlib.sha256((rp or options["rpId"]).encode()).digest() + bytes([flags])
        data += struct.pack(">I", 0)
        client = self._client("webauthn.get", options["challenge"], origin)
        path = self.r.dir / f"sign-{secrets.token_hex(4)}"
        path.write_bytes(data + hashlib.sha256(client).digest())
        self.r.run(["openssl", "dgst", "-sha256", "-sign", self.key, "-out", f"{path}.sig", path])
        return {"id": b64(self.id), "type": "public-key",
                "response": {"clientDataJSON": b64(client), "authenticatorData": b64(data),
                             "signature": b64(open(f"{path}.sig", "rb").read())}}


def cookie_of(a):
    """ "name=value" of the cookie that an answer sets, after a look at what else it says."""
    line = a.get("set-cookie")
    for word in ("__Host-kith=", "Secure", "HttpOnly", "SameSite=Strict", "Path=/"):
        if word not in line:
            raise Failure(f"the cookie lacks {word}: {line!r}")
    return line.split(";")[0]


def sign_up(kith, aor, authenticator):
    """Invitation, passkey, session: its cookie."""
    link = json.loads(kith.cli("invite", aor, "--json"))["link"]
    token = link.partition("#invite=")[2]
    with Browser(kith) as b:
        options = b.ask("POST", "/api/invite/options", {"token": token})
        if options.status != 200:
            raise Failure(f"the invitation got {options.status} {options.body!r}")
        made = authenticator.create(options.json()["publicKey"], b.origin)
        a = b.ask("POST", "/api/invite/finish", {"token": token, "device": "test browser",
                                                 "credential": made})
        if a.status != 200:
            raise Failure(f"the passkey got {a.status} {a.body!r}")
        return cookie_of(a)


def sign_in(kith, authenticator):
    with Browser(kith) as b:
        options = b.ask("POST", "/api/login/options", {}).json()["publicKey"]
        return b.ask("POST", "/api/login/finish",
                     {"credential": authenticator.get(options, b.origin)})
