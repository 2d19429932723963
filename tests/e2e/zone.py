"""A small authoritative DNS server of the test: UDP and TCP, names as a domain's operator publishes
them for SIP (NAPTR, SRV, A, AAAA), aliases, and a proper "no" (with SOA) for all else.

  z = Zone(); z.host("edge.a.test", "203.0.113.11"); z.domain("a.test", ["edge.a.test"]); z.start()

It answers from threads of the test on 127.0.0.1:53 of the namespace (or other addresses, another
port), and keeps what it was asked, as (name, type, "udp" or "tcp"). With `dns64`, a /96, a name that
has no AAAA gets one for each A (RFC 6147).
"""
import ipaddress
import socket
import struct
import threading

A, CNAME, SOA, AAAA, SRV, NAPTR = 1, 5, 6, 28, 33, 35
NOERROR, NXDOMAIN, SERVFAIL, NOTIMP = 0, 3, 2, 4
TYPES = {A: "A", AAAA: "AAAA", SRV: "SRV", NAPTR: "NAPTR", CNAME: "CNAME"}


def name(text):
    labels = [p.encode() for p in text.split(".") if p]
    return b"".join(bytes([len(p)]) + p for p in labels) + b"\0"


def string(text):
    return bytes([len(text)]) + text.encode()


class Zone:
    def __init__(self, port=53, top="test", ttl=60, at=("127.0.0.1",), dns64=None):
        self.port, self.top, self.ttl, self.at = port, top, ttl, at
        self.records, self.asked, self.sockets = {}, [], []
        self.dns64 = ipaddress.ip_network(dns64).network_address.packed[:12] if dns64 else None
        self.short_udp = False  # every answer over UDP is cut: TCP must be used
        self.broken = set()     # names that get SERVFAIL

    def add(self, owner, kind, data):
        self.records.setdefault((owner.lower(), kind), []).append(data)

    def host(self, owner, *addresses):
        for a in addresses:
            ip = ipaddress.ip_address(a)
            self.add(owner, A if ip.version == 4 else AAAA, ip.packed)

    def srv(self, owner, target, port=5061, priority=10, weight=10):
        self.add(owner, SRV, struct.pack(">HHH", priority, weight, port) + name(target))

    def naptr(self, owner, service, replacement, order=10, preference=50):
        self.add(owner, NAPTR, struct.pack(">HH", order, preference) + string("s") +
                 string(service) + string("") + name(replacement))

    def alias(self, owner, target):
        self.add(owner, CNAME, name(target))

    def domain(self, domain, targets, naptr=True, port=5061):
        """A SIP domain whose servers are `targets`, the first one preferred."""
        if naptr:
            self.naptr(domain, "SIPS+D2T", f"_sips._tcp.{domain}")
        for i, target in enumerate(targets):
            self.srv(f"_sips._tcp.{domain}", target, port, priority=10 * (i + 1))

    # ---- answering ----

    def _question(self, message):
        at, labels = 12, []
        while message[at]:
            labels.append(message[at + 1:at + 1 + message[at]].decode())
            at += 1 + message[at]
        kind = struct.unpack_from(">H", message, at + 1)[0]
        return ".".join(labels).lower(), kind, message[12:at + 5]

    def _record(self, owner, kind, data):
        return name(owner) + struct.pack(">HHIH", kind, 1, self.ttl, len(data)) + data

    def reply(self, message, over):
        owner, kind, question = self._question(message)
        self.asked.append((owner, TYPES.get(kind, kind), over))
        answers, at = [], owner
        while (at, kind) not in self.records and (at, CNAME) in self.records:
            to = self.records[at, CNAME][0]
            answers.append(self._record(at, CNAME, to))
            at = ".".join(label.decode() for label in self._labels(to))
        found = self.records.get((at, kind), [])
        if self.dns64 and kind == AAAA and not found:
            found = [self.dns64 + d for d in self.records.get((at, A), [])]
        answers += [self._record(at, kind, d) for d in found]
        exists = any(o == at or o.endswith("." + at) for o, _ in self.records)
        rcode = SERVFAIL if owner in self.broken else NOERROR if exists else NXDOMAIN
        cut = over == "udp" and self.short_udp
        if rcode == SERVFAIL or cut:
            answers, authority = [], []
        else:
            soa = name(f"ns.{self.top}") + name(f"root.{self.top}") + \
                struct.pack(">5I", 1, 3600, 600, 86400, 30)
            authority = [] if found else [self._record(self.top, SOA, soa)]
        flags = 0x8180 | rcode | (0x0200 if cut else 0)
        head = message[:2] + struct.pack(">HHHHH", flags, 1, len(answers), len(authority), 0)
        return head + question + b"".join(answers + authority)

    @staticmethod
    def _labels(wire):
        at = 0
        while wire[at]:
            yield wire[at + 1:at + 1 + wire[at]]
            at += 1 + wire[at]

    # ---- serving ----

    def start(self):
        for address in self.at:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            udp, tcp = (socket.socket(family, k) for k in (socket.SOCK_DGRAM, socket.SOCK_STREAM))
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            for s in (udp, tcp):
                s.bind((address, self.port))
            tcp.listen(16)
            self.sockets += [udp, tcp]
            for serve, on in ((self._serve_udp, udp), (self._serve_tcp, tcp)):
                threading.Thread(target=serve, args=(on,), daemon=True).start()
        return self

    def stop(self):
        """From here on nobody answers."""
        for s in self.sockets:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            s.close()

    def _serve_udp(self, on):
        while True:
            try:
                message, peer = on.recvfrom(4096)
                on.sendto(self.reply(message, "udp"), peer)
            except OSError:
                return

    def _serve_tcp(self, on):
        while True:
            try:
                peer, _ = on.accept()
            except OSError:
                return
            threading.Thread(target=self._serve_one, args=(peer,), daemon=True).start()

    def _serve_one(self, peer):
        with peer:
            try:
                while head := peer.recv(2, socket.MSG_WAITALL):
                    message = peer.recv(struct.unpack(">H", head)[0], socket.MSG_WAITALL)
                    answer = self.reply(message, "tcp")
                    peer.sendall(struct.pack(">H", len(answer)) + answer)
            except (OSError, struct.error):
                return

    def count(self, owner=None, kind=None, over=None):
        return len([1 for o, k, v in list(self.asked)
                    if owner in (None, o) and kind in (None, k) and over in (None, v)])
