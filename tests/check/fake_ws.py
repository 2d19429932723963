"""WebSocket (RFC 6455) for the fakes, either side; right, but for what `bad` says is broken."""
import base64
import hashlib
import secrets
import struct

CONTINUES, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MESSAGE_MAX = 1 << 20


class Broken(Exception):
    """The other side breaks a rule: the connection ends, with this code."""


def accept_of(key):
    digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
    return base64.b64encode(digest).decode()


def frame(opcode, payload, masked=False):
    size = len(payload)
    head = bytes([0x80 | opcode])
    mark = 0x80 if masked else 0
    if size < 126:
        head += bytes([mark | size])
    elif size < 65536:
        head += bytes([mark | 126]) + struct.pack("!H", size)
    else:
        head += bytes([mark | 127]) + struct.pack("!Q", size)
    if masked:
        key = secrets.token_bytes(4)
        return head + key + bytes(b ^ key[i & 3] for i, b in enumerate(payload))
    return head + payload


async def read_head(reader):
    """Start line and headers (lower case) of an HTTP message."""
    text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    start, *lines = text.strip().split("\r\n")
    pairs = [line.partition(":") for line in lines]
    return start, {k.strip().lower(): v.strip() for k, _, v in pairs}


def is_text(payload):
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


class WebSocket:
    """After the handshake. `bad(test)` tells which rule it does not keep."""

    def __init__(self, reader, writer, bad, is_server):
        self.reader, self.writer, self.bad, self.is_server = reader, writer, bad, is_server
        self.held = b""

    def send(self, data):
        binary = not is_text(data) and not self.bad("TRANS-021/octets")
        if self.is_server and self.bad("TRANS-020/answers") and data.startswith(b"SIP/2.0"):
            self.held += data  # two answers in one message
            if self.held.count(b"SIP/2.0 ") < 2:
                return
            data, self.held = self.held, b""
        masked = not self.is_server and not self.bad("TRANS-024/masks")
        self.writer.write(frame(BINARY if binary else TEXT, data, masked))

    def control(self, opcode, payload=b""):
        self.writer.write(frame(opcode, payload, not self.is_server))

    async def frame_in(self):
        first, second = await self.reader.readexactly(2)
        opcode, size, masked = first & 15, second & 127, second >> 7
        if masked != self.is_server and not self.bad("TRANS-024/unmasked"):
            raise Broken(1002)
        if first & 0x70 and not self.bad("TRANS-026/reserved-bit", "TRANS-026/ends"):
            raise Broken(1002)
        if opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15) and not self.bad("TRANS-026/opcode"):
            raise Broken(1002)
        if opcode >= CLOSE and size > 125 and not self.bad("TRANS-026/long-ping"):
            raise Broken(1002)
        if opcode >= CLOSE and not first >> 7 and not self.bad("TRANS-026/ping-in-pieces"):
            raise Broken(1002)
        if size == 126:
            size, = struct.unpack("!H", await self.reader.readexactly(2))
        elif size == 127:
            size, = struct.unpack("!Q", await self.reader.readexactly(8))
        key = await self.reader.readexactly(4) if masked else bytes(4)
        payload = await self.reader.readexactly(size)
        return bool(first >> 7), opcode, bytes(b ^ key[i & 3] for i, b in enumerate(payload)) if masked else payload

    async def message(self):
        """The next message as (opcode, bytes); None: it is over."""
        kind, data = None, b""
        while True:
            fin, opcode, payload = await self.frame_in()
            if opcode == CLOSE:
                if not self.bad("TRANS-025/close"):
                    self.control(CLOSE, payload)
                return None
            if opcode == PING:
                if self.bad("TRANS-025/ping", "TRANS-025/pong"):
                    payload = b"other"
                self.control(PONG, payload)
                continue
            if opcode == PONG or opcode > BINARY:
                continue
            stray = (opcode == CONTINUES) == (kind is None)
            if stray and not self.bad("TRANS-026/continuation"):
                raise Broken(1002)
            kind = kind or opcode or TEXT
            data += payload
            if len(data) > MESSAGE_MAX and not self.bad("PARSE-004/websocket"):
                raise Broken(1009)
            if self.bad("TRANS-020/pieces") and not fin:
                kind, data = None, b""
                continue
            if fin:
                if kind == TEXT and not is_text(data) and not self.bad("TRANS-026/utf-8"):
                    raise Broken(1007)
                if self.bad({TEXT: "TRANS-021/text", BINARY: "TRANS-021/binary"}[kind]):
                    raise Broken(1003)
                return kind, data


def answer_upgrade(start, headers, bad, foreign):
    """What a server says to a handshake; None: it is refused (by 403 or 400)."""
    offered = [p.strip() for p in headers.get("sec-websocket-protocol", "").split(",") if p.strip()]
    key = headers.get("sec-websocket-key", "")
    good = start.startswith("GET ") and headers.get("upgrade", "").lower() == "websocket" and key
    if "sip" not in offered and not bad("TRANS-019/other-subprotocol" if offered else "TRANS-019/no-subprotocol"):
        good = False
    if foreign(headers.get("origin")) and not bad("TRANS-022/origin"):
        good = False
    if not good:
        return None
    chosen = "Sec-WebSocket-Protocol: sip\r\n"
    if bad("TRANS-019/sip") or "sip" not in offered:
        chosen = ""
    if bad("TRANS-019/sip-of-two"):
        chosen = f"Sec-WebSocket-Protocol: {', '.join(offered)}\r\n"
    return ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept_of(key)}\r\n{chosen}\r\n")
