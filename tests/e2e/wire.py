"""What somebody on the wire could read: looks into a capture for SIP text and for speech.

Text: the payload of every TCP segment and UDP datagram is searched for words of SIP and for names.
Speech: every UDP flow that looks like RTP is taken for PCMA and PCMU, as an eavesdropper would,
and searched for the tones that the phones sent; besides, encrypted payload must look random.
"""
import collections
import math
import struct

import tones
from rig import Failure

WORDS = [b"SIP/2.0", b"INVITE ", b"REGISTER ", b"BYE ", b"CSeq", b"Call-ID", b"m=audio",
         b"a=crypto"]


class Packet:
    def __init__(self, protocol, source, target, payload):
        self.protocol, self.source, self.target, self.payload = protocol, source, target, payload


def packets(path):
    """The TCP and UDP packets of a LINUX_SLL capture."""
    raw = path.read_bytes()
    if raw[:4] not in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1"):
        raise Failure(f"{path.name} is no capture")
    at = 24
    while at + 16 <= len(raw):
        size = struct.unpack_from("<I", raw, at + 8)[0]
        frame = raw[at + 16:at + 16 + size]
        at += 16 + size
        p = transport(frame)
        if p:
            yield p


def transport(frame):
    if len(frame) < 36:
        return None
    kind, ip = struct.unpack_from(">H", frame, 14)[0], frame[16:]
    if kind == 0x0800:
        head, protocol = (ip[0] & 15) * 4, ip[9]
        source, target = ip[12:16], ip[16:20]
        total = struct.unpack_from(">H", ip, 2)[0]
        if total >= head:
            ip = ip[:total]
    elif kind == 0x86dd and len(ip) >= 40:
        head, protocol, source, target = 40, ip[6], ip[8:24], ip[24:40]
    else:
        return None
    body = ip[head:]
    if protocol == 17 and len(body) >= 8:
        payload = body[8:]
    elif protocol == 6 and len(body) >= 20:
        payload = body[(body[12] >> 4) * 4:]
    else:
        return None
    ports = struct.unpack_from(">HH", body)
    name = "tcp" if protocol == 6 else "udp"
    return Packet(name, (source, ports[0]), (target, ports[1]), payload)


def pcma(byte):
    byte ^= 0x55
    exponent, mantissa = (byte >> 4) & 7, byte & 15
    value = (mantissa << 4) + 8 if exponent == 0 else ((mantissa << 4) + 0x108) << (exponent - 1)
    return value if byte & 0x80 else -value


def pcmu(byte):
    byte = ~byte & 0xff
    value = (((byte & 15) << 3) + 0x84 << ((byte >> 4) & 7)) - 0x84
    return -value if byte & 0x80 else value


PCMA = [pcma(b) for b in range(256)]
PCMU = [pcmu(b) for b in range(256)]


def entropy(data):
    counts = collections.Counter(data)
    return -sum(n / len(data) * math.log2(n / len(data)) for n in counts.values())


def streams(captured):
    """Payloads of the UDP flows that look like RTP, in order of arrival."""
    found = collections.defaultdict(list)
    for p in captured:
        d = p.payload
        if p.protocol == "udp" and len(d) > 12 and d[0] >> 6 == 2 and not 64 <= d[1] & 0x7f <= 95:
            found[p.source, p.target, d[8:12]].append(d[12:])
    return [b"".join(parts) for parts in found.values() if len(parts) >= 25]


def findings(path, names=(), hertz=()):
    """(what is readable, number of speech streams, number of TLS bytes seen)."""
    captured = list(packets(path))
    bad = []
    words = WORDS + [n.encode() for n in names]
    tls = 0
    for p in captured:
        if 53 in (p.source[1], p.target[1]) or p.source[0][0] == p.target[0][0] == 127:
            continue  # names being looked up; the control ports of the phones
        if p.protocol == "udp" and len(p.payload) > 8 and 200 <= p.payload[1] <= 204:
            continue  # RTCP: baresip 1.0 sends one report in clear before it has keys
        if p.protocol == "tcp" and p.payload[:3] in (b"\x17\x03\x03", b"\x16\x03\x01"):
            tls += len(p.payload)
        for w in words:
            if w.lower() in p.payload.lower():
                bad.append(f"{w.decode()!r} in a {p.protocol} packet to port {p.target[1]}")
    speech = streams(captured)
    for payload in speech:
        middle = payload[len(payload) // 2:][:4000]
        for law, table in (("PCMA", PCMA), ("PCMU", PCMU)):
            signal = [table[b] for b in middle]
            for hz in hertz:
                part = max(tones.power(signal, 8000, hz + d) for d in (-2, 0, 2))
                if part > 0.05:
                    bad.append(f"a tone of {hz} Hz when read as {law} (share {part:.2f})")
        if entropy(payload) < 7.8:
            bad.append(f"media payload that is not random: {entropy(payload):.2f} bits a byte")
    return bad, len(speech), tls


def must_be_dark(path, names, hertz, streams_at_least=2):
    bad, speech, tls = findings(path, names, hertz)
    if bad:
        raise Failure(f"readable on the wire: {'; '.join(sorted(set(bad))[:6])}")
    if speech < streams_at_least or tls < 2000:
        raise Failure(f"the capture shows too little: {speech} streams, {tls} bytes of TLS")
