"""A STUN and TURN relay that is right by default and wrong where it is told to be; see fake.py."""
import asyncio
import hashlib
import hmac
import random
import secrets
import socket
import ssl
import struct

REALM = "fake.test"
COOKIE = b"\x21\x12\xa4\x42"
BINDING, ALLOCATE, REFRESH, SEND, DATA, PERMISSION, CHANNEL = 1, 3, 4, 6, 7, 8, 9
KNOWN = {0x06, 0x08, 0x0c, 0x0d, 0x12, 0x13, 0x14, 0x15, 0x17, 0x18, 0x19, 0x22}


def attribute(kind, value):
    return struct.pack(">HH", kind, len(value)) + value + b"\0" * (-len(value) % 4)


def address(host, port, ident):
    raw = socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    mask = COOKIE + ident
    return (struct.pack(">BBH", 0, 2 if ":" in host else 1, port ^ 0x2112)
            + bytes(a ^ b for a, b in zip(raw, mask)))


def read_address(value, ident):
    family, port = value[1], struct.unpack(">H", value[2:4])[0] ^ 0x2112
    raw = bytes(a ^ b for a, b in zip(value[4:], COOKIE + ident))
    return socket.inet_ntop(socket.AF_INET6 if family == 2 else socket.AF_INET, raw), port


class Allocation:
    def __init__(self, user):
        self.user, self.peers, self.channels, self.sockets, self.lifetime = user, set(), {}, [], 600


class Client:
    def __init__(self, relay, send, peer):
        self.relay, self.send, self.peer, self.allocation = relay, send, peer, None


class FakeRelay:
    def __init__(self, people, cert, broken=""):
        self.people, self.cert, self.broken = people, cert, broken
        self.clients, self.nonces, self.closers, self.next_port = {}, {}, [], 50000

    def bad(self, *tests):
        return self.broken in tests

    def tls_context(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert.file)
        return context

    async def start(self):
        loop = asyncio.get_running_loop()
        relay = self

        class Udp(asyncio.DatagramProtocol):
            def connection_made(self, transport):
                self.transport = transport

            def datagram_received(self, data, peer):
                if peer not in relay.clients:
                    relay.clients[peer] = Client(relay, lambda d: self.transport.sendto(d, peer), peer)
                relay.take(relay.clients[peer], data)

        self.udp, _ = await loop.create_datagram_endpoint(Udp, local_addr=("127.0.0.1", 0))
        self.ports = {"UDP": self.udp.get_extra_info("sockname")[1]}
        for kind, context in (("TCP", None), ("TLS", self.tls_context())):
            s = await asyncio.start_server(self.stream, "127.0.0.1", 0, ssl=context)
            self.ports[kind] = s.sockets[0].getsockname()[1]
            self.closers.append(s)

    async def stop(self):
        self.udp.close()
        for s in self.closers:
            s.close()
        for c in self.clients.values():
            self.free(c)

    async def stream(self, reader, writer):
        client = Client(self, writer.write, writer.get_extra_info("peername")[:2])
        data = b""
        try:
            while more := await reader.read(65536):
                data += more
                while len(data) >= 20 and len(data) >= 20 + struct.unpack(">H", data[2:4])[0]:
                    size = 20 + struct.unpack(">H", data[2:4])[0]
                    self.take(client, data[:size])
                    data = data[size:]
        except ConnectionError:
            pass
        self.free(client)
        writer.close()

    def free(self, client):
        if client.allocation:
            for s in client.allocation.sockets:
                asyncio.get_running_loop().remove_reader(s)
                s.close()
        client.allocation = None

    # ---- messages --------------------------------------------------------------------------

    def take(self, client, data):
        if 0x40 <= data[0] <= 0x4f:
            return self.channel_data(client, data)
        kind, size = struct.unpack(">HH", data[:4])
        good = data[0] < 4 and len(data) >= 20 and data[4:8] == COOKIE and len(data) == 20 + size and size % 4 == 0
        if not good:
            if self.bad("RELAY-012/bad", "MSEC-012/no-range"):
                client.send(b"\x01\x11\0\0" + data[4:20])
            return None
        ident, attributes, at = data[8:20], {}, 20
        order = []
        while at + 4 <= len(data):
            k, n = struct.unpack(">HH", data[at:at + 4])
            attributes.setdefault(k, data[at + 4:at + 4 + n])
            order.append((k, at))
            at += 4 + n + (-n % 4)
        if 0x8028 in attributes and not self.bad("RELAY-014/wrong-fingerprint"):
            return None  # no right one is ever sent here
        method = kind & 0xf
        if kind & 0x10:
            return self.indication(client, method, attributes, ident)

        def answer(code, body=b"", error=0):
            if error:
                body = attribute(0x09, struct.pack(">HBB", 0, error // 100, error % 100) + b"No") + body
            t = (method | (0x110 if error else 0x100))
            client.send(struct.pack(">HH", t, len(body)) + COOKIE + ident + body)

        unknown = [k for k in attributes if k < 0x8000 and k not in KNOWN]
        if unknown and not self.bad("NAT-009/unknown"):
            return answer(0, attribute(0x0a, struct.pack(">H", unknown[0])), 420)
        if method == BINDING:
            if self.bad("RELAY-013/open"):
                return answer(0, b"", 401)
            port = client.peer[1] + (1 if self.bad("NAT-009/binding") else 0)
            return answer(0, attribute(0x20, address(client.peer[0], port, ident)))
        error, more = self.login(client, attributes, data, order)
        if error:
            return answer(0, more, error)
        return self.act(client, method, attributes, ident, answer)

    def fresh(self, client):
        nonce = ("" if self.bad("NAT-010/algorithms") else "obMatJos2gAA") + secrets.token_hex(8)
        self.nonces[nonce] = client
        return (attribute(0x14, REALM.encode()) + attribute(0x15, nonce.encode())
                + attribute(0x8002, b"\0\2\0\0\0\1\0\0"))

    def login(self, client, attributes, data, order):
        if 0x08 not in attributes:
            if self.bad("NAT-011/login"):
                return 0, b""
            return 401, self.fresh(client)
        if 0x15 not in attributes and not self.bad("RELAY-011/nonce-missing"):
            return 400, b""
        nonce = attributes.get(0x15, b"").decode()
        if nonce not in self.nonces:
            if not self.bad("RELAY-010/old-nonce", "RELAY-011/nonce-missing"):
                return 438, self.fresh(client)
        elif self.nonces[nonce] is not client and not self.bad("RELAY-010/nonce-of-another"):
            return 438, self.fresh(client)
        user = attributes[0x06].decode()
        if user not in self.people and self.bad("RELAY-011/user"):
            return 403, b""
        key = hashlib.md5(f"{user}:{REALM}:{self.people.get(user, secrets.token_hex(4))}".encode()).digest()
        at = next(a for k, a in order if k == 0x08)
        covered = data[:2] + struct.pack(">H", at - 20 + 24) + data[4:at]
        if hmac.digest(key, covered, "sha1") != attributes[0x08]:
            return (403, b"") if self.bad("RELAY-011/password") else (401, self.fresh(client))
        a = client.allocation
        if a and a.user != user and not self.bad("RELAY-001/other-user"):
            return 441, b""
        return 0, b""

    def act(self, client, method, attributes, ident, answer):
        a = client.allocation
        if method == ALLOCATE:
            return self.allocate(client, attributes, ident, answer)
        if not a:
            return answer(0) if self.bad("RELAY-002/no-allocation") else answer(0, b"", 437)
        if method == REFRESH:
            family = attributes.get(0x17)
            if family and family[0] != 1 and not self.bad("RELAY-005/refresh-family"):
                return answer(0, b"", 443)
            lifetime = struct.unpack(">I", attributes.get(0x0d, struct.pack(">I", 600)))[0]
            if lifetime == 0 and not self.bad("RELAY-005/deletes"):
                self.free(client)
            return answer(0, attribute(0x0d, struct.pack(">I", min(lifetime, 3600))))
        if 0x12 not in attributes:
            return answer(0) if self.bad("RELAY-006/no-peer") else answer(0, b"", 400)
        host, port = read_address(attributes[0x12], ident)
        if ":" in host:
            return answer(0) if self.bad("RELAY-006/peer-family") else answer(0, b"", 443)
        if not host.startswith("127.") and not self.bad("NAT-013/forbidden"):
            return answer(0, b"", 403)
        if method == CHANNEL:
            number = struct.unpack(">H", attributes[0x0c][:2])[0]
            taken = any((n == number) != (p == (host, port)) for n, p in a.channels.items())
            if (not 0x4000 <= number <= 0x4fff or taken) and not self.bad("RELAY-007/channels"):
                return answer(0, b"", 400)
            a.channels[number] = (host, port)
        a.peers.add(host)
        return answer(0)

    def allocate(self, client, attributes, ident, answer):
        if client.allocation and not self.bad("NAT-011/twice"):
            return answer(0, b"", 437)
        if 0x19 not in attributes and not self.bad("RELAY-003/no-transport"):
            return answer(0, b"", 400)
        transport = attributes.get(0x19, b"\x11")[0]
        if transport != 17:
            return answer(0, b"", 400 if self.bad("RELAY-003/other-transport") else 442)
        if 0x18 in attributes and 0x22 in attributes and not self.bad("RELAY-003/contradiction"):
            return answer(0, b"", 400)
        family = attributes.get(0x17, b"\1")[0]
        if family not in (1, 2):
            return answer(0, b"", 400 if self.bad("NAT-011/family") else 440)
        self.free(client)
        a = client.allocation = Allocation(attributes.get(0x06, b"").decode())
        families = [family] + ([2] if 0x8000 in attributes and not self.bad("IPV6-008/both") else [])
        body = b""
        for f in families:
            host, port = self.open(client, a, f)
            body += attribute(0x16, address(host, port, ident))
        lifetime = struct.unpack(">I", attributes.get(0x0d, struct.pack(">I", 600)))[0]
        if not self.bad("RELAY-015/lifetime"):
            lifetime = min(lifetime, 3600)
        return answer(0, body + attribute(0x0d, struct.pack(">I", lifetime))
                      + attribute(0x20, address(*client.peer, ident)))

    def open(self, client, a, family):
        host = "::1" if family == 2 else "127.0.0.1"
        s = socket.socket(socket.AF_INET6 if family == 2 else socket.AF_INET, socket.SOCK_DGRAM)
        while True:
            port = random.randint(49152, 65535)
            if self.bad("RELAY-004/ports"):
                port = random.randint(20000, 30000)
            try:
                s.bind((host, port))
                break
            except OSError:
                continue
        s.setblocking(False)
        a.sockets.append(s)
        asyncio.get_running_loop().add_reader(s, self.from_peer, client, a, s)
        return host, port

    def from_peer(self, client, a, s):
        data, peer = s.recvfrom(65536)
        if peer[0] not in a.peers and not self.bad("NAT-012/permission"):
            return
        ident = secrets.token_bytes(12)
        body = attribute(0x12, address(peer[0], peer[1], ident)) + attribute(0x13, data)
        client.send(struct.pack(">HH", DATA | 0x10, len(body)) + COOKIE + ident + body)

    def indication(self, client, method, attributes, ident):
        a = client.allocation
        if method == SEND and a and 0x12 in attributes and 0x13 in attributes:
            peer = read_address(attributes[0x12], ident)
            if peer[0] in a.peers or self.bad("RELAY-009/send"):
                data = attributes[0x13]
                a.sockets[0].sendto(data[:2] + b"\0" + data[3:] if self.bad("MSEC-013/unchanged") else data, peer)

    def channel_data(self, client, data):
        number, size = struct.unpack(">HH", data[:4])
        a = client.allocation
        if not a:
            return
        peer = a.channels.get(number)
        if self.bad("RELAY-008/unbound") and a.channels:
            peer = next(iter(a.channels.values()))
        elif size > len(data) - 4:
            return
        if peer:
            a.sockets[0].sendto(data[4:4 + size], peer)
