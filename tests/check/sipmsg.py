"""Messages as the fake server reads and writes them; a third reader, beside Kith's and the tester's."""
import re

COMPACT = {"v": "Via", "f": "From", "t": "To", "i": "Call-ID", "m": "Contact", "l": "Content-Length",
           "c": "Content-Type", "k": "Supported", "o": "Event", "x": "Session-Expires"}
LISTS = ("via", "route", "record-route", "contact", "path", "history-info", "x-kith")


def split(text, sep):
    """At `sep`, but not inside quotes or <>."""
    out, depth, quoted, last, i = [], 0, False, 0, 0
    while i < len(text):
        c = text[i]
        if quoted and c == "\\":
            i += 1
        elif c == '"':
            quoted = not quoted
        elif not quoted and c == "<":
            depth = 1
        elif not quoted and c == ">":
            depth = 0
        elif not quoted and not depth and c == sep:
            out.append(text[last:i].strip())
            last = i + 1
        i += 1
    return out + [text[last:].strip()]


def params(text):
    """Of `x;a=1;b`: {"a": "1", "b": ""}."""
    pairs = [p.partition("=") for p in split(text, ";")[1:]]
    return {k.strip().lower(): v.strip() for k, _, v in pairs}


def uri_of(value):
    found = re.search(r"<([^>]*)>", re.sub(r'"(\\.|[^"\\])*"', "", value))
    return found.group(1).strip() if found else value.split(";")[0].strip()


class Uri:
    def __init__(self, text):
        self.text = text
        found = re.fullmatch(r"(?i)(sips?):(?:([^@]*)@)?(\[[^\]]+\]|[a-z0-9.-]+)(?::(\d+))?((?:;[^?]*)?)(?:\?.*)?", text)
        self.good = bool(found)
        if not found:
            return
        self.scheme, user, self.host, self.port, rest = found.groups()
        self.user = re.sub("%([0-9A-Fa-f]{2})", lambda m: chr(int(m[1], 16)), user or "")
        self.scheme, self.host = self.scheme.lower(), self.host.lower()
        self.params = params(rest)

    def hostport(self):
        return (self.host.strip("[]"), int(self.port or 5060))


class Msg:
    def __init__(self, start, headers, body=b""):
        self.start, self.headers, self.body = start, headers, body

    @classmethod
    def read(cls, data):
        head, _, body = data.partition(b"\r\n\r\n")
        text = re.sub(r"\r\n[ \t]+", " ", head.decode("utf-8", "surrogateescape"))
        start, *lines = text.split("\r\n")
        headers = []
        for line in lines:
            name, _, value = line.partition(":")
            name = name.strip()
            headers.append((COMPACT.get(name.lower(), name), value.strip()))
        return cls(start, headers, body)

    def copy(self):
        return Msg(self.start, list(self.headers), self.body)

    def lines(self, name):
        return [v for n, v in self.headers if n.lower() == name.lower()]

    def get(self, name):
        found = self.lines(name)
        return found[0] if found else None

    def values(self, name):
        if name.lower() in LISTS:
            return [v for line in self.lines(name) for v in split(line, ",") if v]
        return self.lines(name)

    def has_token(self, name, token):
        return any(token == v.strip().lower() for line in self.lines(name) for v in line.split(","))

    def drop(self, name):
        self.headers = [(n, v) for n, v in self.headers if n.lower() != name.lower()]

    def set(self, name, values, first=False):
        self.drop(name)
        fresh = [(name, v) for v in ([values] if isinstance(values, str) else values)]
        self.headers = fresh + self.headers if first else self.headers + fresh

    def add(self, name, value):
        self.headers.append((name, value))

    def bytes(self):
        self.set("Content-Length", str(len(self.body)))
        text = "\r\n".join([self.start] + [f"{n}: {v}" for n, v in self.headers]) + "\r\n\r\n"
        return text.encode("utf-8", "surrogateescape") + self.body

    # requests and responses
    @property
    def status(self):
        return int(self.start.split(" ")[1]) if self.start.startswith("SIP/") else 0

    @property
    def method(self):
        return self.start.split(" ")[0]

    @property
    def uri(self):
        return self.start.split(" ")[1]

    @uri.setter
    def uri(self, value):
        self.start = f"{self.method} {value} SIP/2.0"

    @property
    def cseq(self):
        number, _, method = (self.get("CSeq") or "").partition(" ")
        return number, method.strip()

    def branch(self):
        via = self.values("Via")
        return params(re.sub(r"\s*([;=])\s*", r"\1", via[0])).get("branch", "") if via else ""

    def sent_by(self):
        found = re.match(r"(?i)SIP\s*/\s*2\.0\s*/\s*\S+\s+([^;\s]+)", self.values("Via")[0])
        return found.group(1) if found else ""
