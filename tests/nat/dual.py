"""A client that no installable phone is: on an IPv6-only network it takes one allocation with a
relayed address of each family (RFC 8656 7.1, ADDITIONAL-ADDRESS-FAMILY) and calls with the one
that the other side knows. SIP by phone.Phone, media keyed by SDES (RFC 4568), G.711 A-law, through
Send and Data indications. Interface: clients.py.
"""
import base64
import collections
import hashlib
import hmac
import math
import re
import secrets
import socket
import struct
import subprocess
import threading
import time

import phone
import rig
import tones

COOKIE = 0x2112a442
ALLOCATE, REFRESH, PERMISSION, SEND, DATA_COMES = 3, 4, 8, 0x16, 0x17
USERNAME, INTEGRITY, LIFETIME, PEER, DATA, REALM, NONCE, RELAYED, TRANSPORT, ADDITIONAL_FAMILY = (
    6, 8, 0xd, 0x12, 0x13, 0x14, 0x15, 0x16, 0x19, 0x8000)
IPV4, IPV6, UDP = 1, 2, 17
FRAME = 160  # samples in 20 ms
FRAMES = 5000  # 100 s: longer than any wait of a cell


def attribute(kind, value):
    return struct.pack(">HH", kind, len(value)) + value + bytes(-len(value) % 4)


def attributes(message):
    at, found = 20, []
    while at + 4 <= len(message):
        kind, size = struct.unpack_from(">HH", message, at)
        found.append((kind, message[at + 4:at + 4 + size]))
        at += 4 + size + -size % 4
    return found


def masked(value, tid):
    """An address and its XOR form (RFC 8489 14.2): the one makes the other."""
    mask = struct.pack(">I", COOKIE) + tid
    return bytes(a ^ b for a, b in zip(value, mask))


def xor_address(host, port, tid):
    six = ":" in host
    packed = socket.inet_pton(socket.AF_INET6 if six else socket.AF_INET, host)
    return struct.pack(">HH", IPV6 if six else IPV4, port ^ COOKIE >> 16) + masked(packed, tid)


def address_of(value, tid):
    family, port = struct.unpack_from(">HH", value)
    host = socket.inet_ntop(socket.AF_INET6 if family == IPV6 else socket.AF_INET,
                            masked(value[4:], tid))
    return host, port ^ COOKIE >> 16


class Allocation:
    """One allocation by UDP, with both families. `relayed` is by family: (host, port)."""

    def __init__(self, server, port, user, password):
        self.user, self.password, self.realm, self.nonce = user, password, b"", b""
        self.socket = socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET,
                                    socket.SOCK_DGRAM)
        self.socket.connect((server, port))
        answer = self.ask(ALLOCATE, lambda _: attribute(TRANSPORT, bytes([UDP, 0, 0, 0])) +
                          attribute(ADDITIONAL_FAMILY, bytes([IPV6, 0, 0, 0])))
        found = [address_of(v, answer[8:20]) for k, v in attributes(answer) if k == RELAYED]
        self.relayed = {IPV6 if ":" in host else IPV4: (host, port) for host, port in found}
        if len(self.relayed) != 2:
            raise rig.Failure(f"an allocation without both families: {found}")

    def ask(self, kind, body_for):
        """The success response to a request whose attributes body_for(transaction id) makes; a
        challenge is answered once."""
        for _ in range(2):
            answer = self._exchange(self._request(kind, body_for))
            if not answer[0] & 1:  # the class of an error response has both bits
                raise rig.Failure(f"the relay answers nonsense: {answer.hex()}")
            if not answer[1] & 0x10:
                return answer
            what = dict(attributes(answer))
            if self.nonce == what.get(NONCE, self.nonce):
                break
            self.realm, self.nonce = what[REALM], what[NONCE]
        raise rig.Failure(f"the relay refuses: {what}")

    def _request(self, kind, body_for):
        tid = secrets.token_bytes(12)
        body = body_for(tid)
        if self.nonce:
            body += (attribute(USERNAME, self.user.encode()) + attribute(REALM, self.realm) +
                     attribute(NONCE, self.nonce))
            key = hashlib.md5(self.user.encode() + b":" + self.realm + b":" +
                              self.password.encode()).digest()
            signed = struct.pack(">HHI", kind, len(body) + 24, COOKIE) + tid + body
            body += attribute(INTEGRITY, hmac.digest(key, signed, "sha1"))
        return struct.pack(">HHI", kind, len(body), COOKIE) + tid + body

    def _exchange(self, message):
        self.socket.settimeout(1)
        for _ in range(20):
            self.socket.send(message)
            try:
                while (answer := self.socket.recv(2048))[8:20] != message[8:20]:
                    pass
                return answer
            except TimeoutError:
                pass
        raise rig.Failure("the relay is silent")

    def permit(self, host):
        self.ask(PERMISSION, lambda tid: attribute(PEER, xor_address(host, 0, tid)))

    def send(self, to, data):
        tid = secrets.token_bytes(12)
        body = attribute(PEER, xor_address(*to, tid)) + attribute(DATA, data)
        self.socket.send(struct.pack(">HHI", SEND, len(body), COOKIE) + tid + body)

    def receive(self, seconds):
        """What a peer sent, or nothing within that time."""
        self.socket.settimeout(seconds)
        try:
            message = self.socket.recv(2048)
        except TimeoutError:
            return b""
        if struct.unpack_from(">H", message)[0] != DATA_COMES:
            return b""
        return dict(attributes(message)).get(DATA, b"")

    def close(self):
        self.ask(REFRESH, lambda _: attribute(LIFETIME, bytes(4)))
        self.socket.close()


def aes(key, blocks):
    """Each block of 16 bytes by itself."""
    return subprocess.run(["openssl", "enc", "-aes-128-ecb", "-nopad", "-K", key.hex()],
                          input=blocks, capture_output=True, check=True).stdout


class Srtp:
    """AES_CM_128_HMAC_SHA1_80 (RFC 3711), many packets at a time, without a replay window."""

    def __init__(self, material):
        key, salt = material[:16], material[16:30]

        def derived(label, size):  # 4.3.1, with a key derivation rate of 0
            x = bytearray(salt)
            x[7] ^= label
            blocks = b"".join(bytes(x) + struct.pack(">H", i) for i in range(-(-size // 16)))
            return aes(key, blocks)[:size]

        self.key, self.auth, self.salt = derived(0, 16), derived(1, 20), derived(2, 14)

    def crypt(self, packets, turns):
        """Each packet's payload under its keystream (4.1.1): both ways alike."""
        counters = b""
        for packet, roc in zip(packets, turns):
            number = struct.pack(">4xIIH", *struct.unpack_from(">8xI", packet), roc,
                                 struct.unpack_from(">H", packet, 2)[0])
            start = bytes(a ^ b for a, b in zip(self.salt, number))
            counters += b"".join(start + struct.pack(">H", i)
                                 for i in range(-(-(len(packet) - 12) // 16)))
        stream, made = aes(self.key, counters), []
        for packet in packets:
            size = len(packet) - 12
            made.append(packet[:12] + bytes(a ^ b for a, b in zip(packet[12:], stream)))
            stream = stream[-(-size // 16) * 16:]
        return made

    def tag(self, packet, roc):
        return hmac.digest(self.auth, packet + struct.pack(">I", roc), "sha1")[:10]

    def protected(self, packets):
        """Packets whose sequence numbers do not turn over."""
        return [p + self.tag(p, 0) for p in self.crypt(packets, [0] * len(packets))]

    def opened(self, packets):
        """Those that are what they say; the sequence number may have turned over once."""
        known = [(p[:-10], roc) for p in packets for roc in (0, 1)
                 if hmac.compare_digest(p[-10:], self.tag(p[:-10], roc))]
        return self.crypt(*zip(*known)) if known else []


def alaw(sample):
    """G.711: three bits of exponent, four of mantissa, of a 13-bit magnitude."""
    m = min(abs(sample) >> 3, 4095)
    e = max(m.bit_length() - 5, 0)
    return (e << 4 | (m >> max(e, 1)) & 15) ^ (0xd5 if sample >= 0 else 0x55)


def linear(code):
    e, f = (code ^ 0x55) >> 4 & 7, (code ^ 0x55) & 15
    m = 2 * f + 1 if e == 0 else (2 * f + 33) << (e - 1)
    return m * 8 if code & 0x80 else -m * 8


class Dual:
    MAKE, STAYS = "dual", True

    def __init__(self, house, name, side, tone, _other):
        rig.have("openssl")
        self.house, self.name, self.side, self.aor = house, name, side, f"{name}@{rig.DOMAIN}"
        self.tone, self.phone, self.allocation, self.call_now = tone, None, None, None

    @classmethod
    def cannot(cls, _kind, _other, _make):
        return ""

    def register(self):
        if not self.phone:
            with self.side.host.inside():
                self.phone = phone.Phone(self.side.rig, self.house.kith, self.aor,
                                         self.house.secrets[self.name], host=self.side.server)
                self.allocation = Allocation(self.side.server, 3478,
                                             *self.house.credential(self.name))
        self.phone.register()

    def call(self, aor):
        self.to, self.material = aor, secrets.token_bytes(30)
        self._invite(IPV4)

    def _invite(self, family):
        self.family, (host, port) = family, self.allocation.relayed[family]
        where = f"IN {'IP6' if family == IPV6 else 'IP4'} {host}"
        key = base64.b64encode(self.material).decode()
        self.call_now = self.phone.invite(self.to, (
            f"v=0\r\no=- 1 1 {where}\r\ns=-\r\nc={where}\r\nt=0 0\r\n"
            f"m=audio {port} RTP/SAVP 8\r\na=rtpmap:8 PCMA/8000\r\na=rtcp-mux\r\n"
            f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}\r\n"))

    def up(self, seconds=60):
        answer = self.call_now.expect((200, 488), seconds)
        if answer.status == 488 and self.family == IPV4:  # it does not know that family
            self._invite(IPV6)
            answer = self.call_now.expect(200, seconds)
        self.call_now.ack()
        host, port, inline = (re.search(what, answer.body.decode(), re.M).group(1) for what in (
            r"^c=IN IP\d (\S+)", r"^m=audio (\d+)", r"^a=crypto:\d+ \S+_SHA1_80 inline:([^|\s]+)"))
        self.allocation.permit(host)
        self.came, self.heard_of = Srtp(base64.b64decode(inline)), collections.deque(maxlen=100)
        self.count, self.going = 0, True
        self.media = threading.Thread(target=self._talk, args=((host, int(port)),), daemon=True)
        self.media.start()

    def _talk(self, to):
        """Twenty milliseconds of the tone after the other, and what comes meanwhile."""
        ssrc = secrets.randbelow(1 << 32)
        wave = bytes(alaw(round(9000 * math.sin(2 * math.pi * self.tone * i / 8000)))
                     for i in range(8000)) * 2  # a whole second: whole periods
        packets = Srtp(self.material).protected(
            [struct.pack(">BBHII", 0x80, 8, i, i * FRAME, ssrc) + wave[(at := i * FRAME % 8000):
                                                                       at + FRAME]
             for i in range(FRAMES)])
        began, sent = time.monotonic(), 0
        while self.going and sent < FRAMES:
            late = time.monotonic() - began - sent * FRAME / 8000
            if late >= 0:
                self.allocation.send(to, packets[sent])
                sent += 1
            data = self.allocation.receive(0.001 if late >= 0 else min(-late, 0.02))
            if len(data) > 22 and data[0] >> 6 == 2 and data[1] & 0x7f == 8:  # not RTCP
                self.heard_of.append(data)
                self.count += 1

    def _share(self, hertz):
        """How much of the last half second is this tone."""
        frames = self.came.opened(list(self.heard_of)[-25:])
        samples = [linear(c) for f in frames for c in f[12:]]
        return tones.power(samples, 8000, hertz) if len(samples) >= 4000 else 0

    def hears(self, hertz):
        return max(self._share(hertz + d) for d in (-2, 0, 2)) > 0.6

    def excuse(self):
        return ""

    def broken(self):
        return ""

    def tell(self):
        return f"{self.count} packets came"

    def goes_on(self):
        began = self.count
        return lambda: self.count >= began + 50

    def hang_up(self):
        self.call_now.bye().expect(200, 30, "BYE")

    def over(self):
        self.going = False
        self.media.join()

    def close(self):
        if self.call_now:
            self.over()
        if self.allocation:
            self.allocation.close()
        if self.phone:
            self.phone.close()
