"""The media of a fake phone or browser under DTLS keys: OpenSSL by ctypes for the handshake and the cipher, SRTP
(RFC 3711, AES_CM_128_HMAC_SHA1_80) and reports here. Right by default, wrong where `bad` says so; see fake.py."""
import asyncio
import ctypes
import hashlib
import hmac
import itertools
import re
import secrets
import socket
import ssl
import struct
import zlib

VERIFY = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p)
take_any = VERIFY(lambda ok, store: 1)  # fingerprints are compared later


def library(name, functions):
    lib = ctypes.CDLL(f"lib{name}.so.3")
    for f in functions.split():
        getattr(lib, f).restype = ctypes.c_void_p
    return lib


SSL = library("ssl", "DTLS_method SSL_CTX_new SSL_new SSL_get1_peer_certificate SSL_get_selected_srtp_profile")
CRYPTO = library("crypto", "BIO_s_mem BIO_new EVP_CIPHER_CTX_new EVP_aes_128_ctr")
P = ctypes.c_void_p


class Dtls:
    def __init__(self, pem, profiles):
        self.context = P(SSL.SSL_CTX_new(P(SSL.DTLS_method())))
        for load in (SSL.SSL_CTX_use_certificate_file, SSL.SSL_CTX_use_PrivateKey_file):
            if load(self.context, pem.encode(), 1) != 1:
                raise OSError(pem)
        SSL.SSL_CTX_set_verify(self.context, 3, take_any)
        SSL.SSL_CTX_set_options(self.context, ctypes.c_uint64(1 << 12))  # no query of the MTU
        if profiles and SSL.SSL_CTX_set_tlsext_use_srtp(self.context, profiles.encode()):
            raise OSError(profiles)
        self.ssl = P(SSL.SSL_new(self.context))
        self.into, self.out = (P(CRYPTO.BIO_new(P(CRYPTO.BIO_s_mem()))) for _ in range(2))
        CRYPTO.BIO_ctrl(self.into, 130, ctypes.c_long(-1), None)  # empty is not the end
        SSL.SSL_set_bio(self.ssl, self.into, self.out)
        SSL.SSL_ctrl(self.ssl, 17, ctypes.c_long(1200), None)  # MTU
        self.up = self.ended = False

    def start(self, server):
        self.server = server
        (SSL.SSL_set_accept_state if server else SSL.SSL_set_connect_state)(self.ssl)
        return self.step()

    def step(self):
        if not self.up:
            n = SSL.SSL_do_handshake(self.ssl)
            self.up, self.ended = n == 1, n < 1 and SSL.SSL_get_error(self.ssl, n) not in (2, 3)
        mem = ctypes.create_string_buffer(65536)
        size, at, records = CRYPTO.BIO_read(self.out, mem, len(mem)), 0, []
        while at + 13 <= size:
            end = at + 13 + int.from_bytes(mem.raw[at + 11:at + 13], "big")
            records.append(mem.raw[at:end])
            at = end
        return records

    def take(self, data):
        CRYPTO.BIO_write(self.into, data, len(data))
        return self.step()

    def tick(self):
        if not self.up:
            SSL.SSL_ctrl(self.ssl, 74, 0, None)  # handle timeout
        return self.step()

    def peer(self):
        """The fingerprint of their certificate; "" when there is none."""
        cert = SSL.SSL_get1_peer_certificate(self.ssl)
        if not cert:
            return ""
        md, size = ctypes.create_string_buffer(64), ctypes.c_uint()
        CRYPTO.EVP_sha256.restype = P
        CRYPTO.X509_digest(P(cert), P(CRYPTO.EVP_sha256()), md, ctypes.byref(size))
        CRYPTO.X509_free(P(cert))
        return ":".join(f"{b:02X}" for b in md.raw[:size.value])

    def keys(self):
        """(What we write with, what they write with), or None: the profile (0x0001) was not chosen."""
        profile = SSL.SSL_get_selected_srtp_profile(self.ssl)
        if not profile or ctypes.cast(profile, ctypes.POINTER(ctypes.c_ulong))[1] != 1:
            return None
        k = ctypes.create_string_buffer(60)
        label = b"EXTRACTOR-dtls_srtp"
        SSL.SSL_export_keying_material(self.ssl, k, ctypes.c_size_t(60), label, ctypes.c_size_t(len(label)), None,
                                       ctypes.c_size_t(0), 0)
        client, server = Srtp(k.raw[:16], k.raw[32:46]), Srtp(k.raw[16:32], k.raw[46:60])
        return (server, client) if self.server else (client, server)

    def close(self):
        SSL.SSL_free(self.ssl)
        SSL.SSL_CTX_free(self.context)


def counter_mode(key, iv, data):
    c = P(CRYPTO.EVP_CIPHER_CTX_new())
    out, size = ctypes.create_string_buffer(len(data) + 16), ctypes.c_int()
    CRYPTO.EVP_EncryptInit_ex(c, P(CRYPTO.EVP_aes_128_ctr()), None, key, iv)
    CRYPTO.EVP_EncryptUpdate(c, out, ctypes.byref(size), data, len(data))
    CRYPTO.EVP_CIPHER_CTX_free(c)
    return out.raw[:len(data)]


class Srtp:
    def __init__(self, key, salt):
        def derive(label, size):
            iv = bytearray(salt + b"\0\0")
            iv[7] ^= label
            return counter_mode(key, bytes(iv), bytes(size))
        self.rtp = derive(0, 16), derive(1, 20), derive(2, 14)
        self.rtcp = derive(3, 16), derive(4, 20), derive(5, 14)

    @staticmethod
    def cipher(keys, ssrc, index, data):
        iv = int.from_bytes(keys[2] + b"\0\0", "big") ^ int.from_bytes(ssrc, "big") << 64 ^ index << 16
        return counter_mode(keys[0], iv.to_bytes(16, "big"), data)

    @staticmethod
    def tag(keys, data):
        return hmac.digest(keys[1], data, "sha1")[:10]

    def seal(self, rtp, turns):
        index = turns << 16 | int.from_bytes(rtp[2:4], "big")
        packet = rtp[:12] + self.cipher(self.rtp, rtp[8:12], index, rtp[12:])
        return packet + self.tag(self.rtp, packet + struct.pack(">I", turns))

    def proves(self, packet, turns):
        return self.tag(self.rtp, packet[:-10] + struct.pack(">I", turns)) == packet[-10:]

    def seal_rtcp(self, rtcp, index):
        packet = rtcp[:8] + self.cipher(self.rtcp, rtcp[4:8], index, rtcp[8:]) + struct.pack(">I", 1 << 31 | index)
        return packet + self.tag(self.rtcp, packet)

    def open_rtcp(self, packet):
        """The RTCP in it; None: the tag is wrong."""
        if len(packet) < 22 or self.tag(self.rtcp, packet[:-10]) != packet[-10:]:
            return None
        index = int.from_bytes(packet[-14:-10], "big") & 0x7fffffff
        return packet[:8] + self.cipher(self.rtcp, packet[4:8], index, packet[8:-14])


class Source:
    """What the reports say about their media; RFC 3550 A.3, and the list of RFC 3711 3.3.2."""

    def __init__(self, index, window):
        self.first = self.highest = index
        self.received, self.window, self.seen = 0, window, set()

    def take(self, index, once):
        if once and (index in self.seen or index <= self.highest - self.window):
            return
        self.seen.add(index)
        self.received += 1
        self.highest = max(self.highest, index)

    def lost(self):
        return self.highest - self.first + 1 - self.received


class SecureMedia:
    def __init__(self, bad, pem):
        self.bad, self.task, self.dtls, self.keys, self.source, self.ssrc = bad, None, None, None, None, b""
        self.socket = socket.socket(type=socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.port, self.pem = self.socket.getsockname()[1], pem
        self.proved, self.stalled, self.told, self.gone, self.greeted = False, 0, None, False, False
        self.mine, self.key_wanted = secrets.token_bytes(4), True
        asyncio.get_running_loop().add_reader(self.socket, self.readable)

    def begin(self, sdp, server, ufrag=""):
        """Their description is there; as server they are the active side. ufrag: ours, and ICE is used."""
        if self.task:
            return
        self.server, self.ufrag, self.limited = server, ufrag, "b=AS:64" in sdp and not self.bad("WEB-008/bandwidth")
        self.video = "m=video" in sdp
        self.peer = re.search(r"c=IN IP4 (\S+)", sdp).group(1), int(re.search(r"m=\S+ (\d+)", sdp).group(1))
        if ufrag:
            self.theirs = [re.search(f"a=ice-{x}:(\\S+)", sdp).group(1) for x in ("ufrag", "pwd")]
        self.fingerprint = re.search(r"(?i)a=fingerprint:sha-256 (\S+)", sdp).group(1)
        profiles = None if self.bad("MSEC-006/chosen") else "SRTP_AEAD_AES_128_GCM:SRTP_AES128_CM_SHA1_80"
        self.dtls = Dtls(self.pem, profiles)
        self.task = asyncio.get_running_loop().create_task(self.live())

    def close(self):
        if self.task:
            self.task.cancel()
        if self.socket.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self.socket)
            self.socket.close()

    def put(self, data):
        try:
            self.socket.sendto(data, self.peer)
        except OSError:
            pass

    # ---- receiving -------------------------------------------------------------------------

    def readable(self):
        try:
            data = self.socket.recv(4096)
        except OSError:
            return
        if not self.dtls or not data:
            return
        if data[0] < 4:
            if data[:2] == b"\1\1":
                self.proved, self.consented = True, asyncio.get_running_loop().time()
        elif data[0] < 64:
            if self.bad("MSEC-006/unknown-only"):  # it takes what nobody knows for what it knows
                data = data.replace(b"\0\x0e\0\5\0\2\x7f\1", b"\0\x0e\0\5\0\2\0\1")
            self.greeted = True
            if not self.dtls.ended:
                for record in self.dtls.take(data):
                    self.put(record)
        elif 192 <= data[1] < 224:
            self.take_rtcp(data)
        elif len(data) > 22:
            self.take_rtp(data)

    def take_rtp(self, data):
        seq = int.from_bytes(data[2:4], "big")
        index = seq
        if self.source:
            index = self.source.highest + (seq - self.source.highest + 0x8000 & 0xffff) - 0x8000
        if not self.keys or index < 0:
            return
        if not self.keys[1].proves(data, index >> 16) and not self.bad("MSEC-010/forged"):
            return
        self.ssrc = data[8:12]
        self.source = self.source or Source(index, 32 if self.bad("MSEC-010/window") else 128)
        self.source.take(index, not self.bad("MSEC-010/replayed"))

    def take_rtcp(self, data):
        plain = self.keys and self.keys[1].open_rtcp(data)
        if not plain and self.bad("MSEC-011/plain-bye") and data[9:10] == b"\xcb":
            self.gone = True
        for kind, test in ((b"\x81\xce\0\2", "MEET-006/pli"), (b"\x84\xce\0\4", "MEET-006/fir")):
            if plain and kind in plain and not self.bad(test):
                self.key_wanted = True
        if plain and len(plain) >= 32 and plain[1] == 201 and plain[8:12] == self.mine:
            self.stalled = self.stalled + 1 if self.told == plain[16:20] else 0
            self.told = plain[16:20]

    # ---- sending ---------------------------------------------------------------------------

    def check(self):
        def attribute(kind, value):
            return struct.pack(">HH", kind, len(value)) + value + bytes(-len(value) % 4)

        def head(size):
            return struct.pack(">HH", 1, size) + b"\x21\x12\xa4\x42" + ident
        ident = secrets.token_bytes(12)
        body = attribute(6, f"{self.theirs[0]}:{self.ufrag}".encode()) + attribute(0x24, b"\x6e\0\1\xff")
        body += attribute(0x802a, secrets.token_bytes(8)) + attribute(0x25, b"")
        key = b"another" if self.bad("WEB-001/full-ice") else self.theirs[1].encode()
        body += attribute(8, hmac.digest(key, head(len(body) + 24) + body, "sha1"))
        crc = zlib.crc32(head(len(body) + 8) + body) ^ 0x5354554e
        return head(len(body) + 8) + body + attribute(0x8028, struct.pack(">I", crc))

    async def live(self):
        while self.ufrag and not self.proved:
            self.put(self.check())
            await asyncio.sleep(0.05)
        first = self.dtls.start(self.server)
        for i in itertools.count():
            for record in first if i % 5 == 0 and not self.greeted else self.dtls.tick():
                self.put(record)
            await asyncio.sleep(0.02)
            if self.dtls.up or self.dtls.ended:
                break
        self.keys = self.dtls.keys() if self.dtls.up else None
        stranger = self.dtls.up and self.dtls.peer() != self.fingerprint
        if self.dtls.up and self.keys and (not stranger or self.bad("MSEC-004/stranger", "MSEC-004/stranger-active")):
            await self.speak()
        while self.bad("MSEC-006/none-common") and not self.keys:
            self.put(b"\x80\x08" + bytes(170))
            await asyncio.sleep(0.02)

    async def speak(self):
        payload = bytes(1000 if self.video and not self.limited else 100)
        now = asyncio.get_running_loop().time
        check_at = now() + 5
        for i in range(5000):
            head = struct.pack(">BBHI", 0x80, 96 if self.video else 8, i & 0xffff, i * 160) + self.mine
            if self.ufrag and now() >= check_at:
                self.put(self.check())
                check_at += 5
            if self.ufrag and now() > self.consented + 30 and not self.bad("NAT-007/consent"):
                break
            if self.video:  # one packet each: the descriptor of VP8, and the bit that a key frame lacks
                payload = b"\x10" + bytes([not self.key_wanted]) + payload[2:]
                self.key_wanted = False
            if not self.gone and (self.stalled < 5 or self.bad("WEB-008/media-timeout")):
                self.put(self.keys[0].seal(head + payload, i >> 16))
            if i % 10 == 9:
                self.report(i)
            await asyncio.sleep(0.02)

    def report(self, index):
        block = b""
        if self.source and not self.gone:
            s = self.source
            block = self.ssrc + struct.pack(">II", s.lost() & 0xffffff, s.highest) + bytes(12)
        rtcp = struct.pack(">BBH", 0x80 | bool(block), 201, 1 + len(block) // 4) + self.mine + block
        rtcp += struct.pack(">BBH", 0x81, 202, 3) + self.mine + b"\1\4kith\0\0"
        self.put(rtcp if self.bad("MSEC-011/protected") else self.keys[0].seal_rtcp(rtcp, index))


def fingerprint_of(pem):
    der = ssl.PEM_cert_to_DER_cert(re.search(r"-----BEGIN CERTIFICATE.*?END CERTIFICATE-----\n", open(pem).read(),
                                             re.S).group(0))
    return "a=fingerprint:SHA-256 " + ":".join(f"{b:02X}" for b in hashlib.sha256(der).digest())
