"""The relay, with the clients of another project (coturn's)."""
import hashlib
import hmac
import json
import os
import re
import socket
import struct

from cases import House, test
from phone import Phone
from rig import DOMAIN, TLS_PORT, V4, V6, Failure, have, wait
from web import Authenticator, Browser, cookie_of, sign_in, sign_up

PEER_PORT = 3480
ELSEWHERE = "203.0.113.11"  # of this host, and not where it relays


def credential(r, h):
    answer = h.kith.cli("turn", "credential", f"alice@{DOMAIN}", "--for", "1h")
    name = re.search(r"^username +(\S+)$", answer, re.M)
    word = re.search(r"^password +(\S+)$", answer, re.M)
    if not name or not word:
        raise Failure(f"no credential in: {answer}")
    return name.group(1), word.group(1)


def relayed(r, user, password, how, server, port, peer):
    """Twenty packets there and back through the relay; coturn's client counts them."""
    out = r.run(["turnutils_uclient", *how, "-p", port, "-u", user, "-w", password, "-e", peer,
                 "-r", PEER_PORT, "-n", 20, "-m", 1, "-l", 160, "-X", "-g", server], must=False)
    text = out.stdout + out.stderr
    if not re.search(r"Total lost packets 0 \(0\.000000%\)", text):
        raise Failure(f"{' '.join(how) or 'UDP'} to {server}: {text.strip()[-400:]}; "
                      + r.run([r.kith_binary, "status", "--data", r.dir / "data"], must=False).stdout)


def relay_house(r, allow):
    have("turnutils_uclient", "turnutils_peer", "turnutils_stunclient")
    h = House(r, tls=(V4, V6), four=V4, six=V6, more=f"[turn]\nallow = {allow}\n").people("alice").start()
    for at in (V4, V6):
        r.start(f"peer-{'6' if ':' in at else '4'}", ["turnutils_peer", "-L", at, "-p", PEER_PORT])
    return h


@test()
def turn_over_everything(r):
    """A client relays by UDP, TCP and TLS, over both families, without losing a packet."""
    h = relay_house(r, "203.0.113.0/24, 2001:db8:1::/64")
    user, password = credential(r, h)
    for server, peer, family in ((V4, V4, []), (V6, V6, ["-x"])):
        relayed(r, user, password, family, server, 3478, peer)
        relayed(r, user, password, [*family, "-t"], server, 3478, peer)
        relayed(r, user, password, [*family, "-t", "-S"], server, TLS_PORT, peer)
        text = r.run(["turnutils_stunclient", server])
        if "reflexive addr" not in text:
            raise Failure(f"STUN at {server}: {text[-300:]}")
    turn = json.loads(h.kith.cli("status", "--json"))["turn"]
    if turn["created"] < 6 or turn["bytes_up"] < 6 * 20 * 160:
        raise Failure(f"kith status counts otherwise: {turn}")
    if turn["limits"]["allocations_per_account"] != 20 or turn["limits"]["lifetime_s"] != 600:
        raise Failure(f"kith status says other limits: {turn}")


@test()
def turn_by_tcp_to_the_peer(r):
    """RFC 6062: the peer is reached by TCP, for a client that came by TCP and for one by TLS."""
    h = relay_house(r, "203.0.113.0/24, 2001:db8:1::/64")
    user, password = credential(r, h)
    relayed(r, user, password, ["-t", "-T"], V4, 3478, V4)
    relayed(r, user, password, ["-x", "-t", "-S", "-T"], V6, TLS_PORT, V6)
    turn = json.loads(h.kith.cli("status", "--json"))["turn"]
    if turn["packets_up"] or turn["bytes_up"] < 2 * 20 * 160:
        raise Failure(f"it went another way: {turn}")


@test()
def turn_keeps_out(r):
    """Nobody without a credential; nowhere but to what the operator named."""
    h = relay_house(r, "198.51.100.0/24")
    user, password = credential(r, h)
    for who, word, why in (("nobody", "guess", "wrong credentials"),
                           (user, password, "a peer that is not to be reached")):
        done = r.run(["turnutils_uclient", "-p", 3478, "-u", who, "-w", word, "-e", ELSEWHERE, "-r",
                      PEER_PORT, "-n", 2, "-m", 1, "-X", "-g", V4], must=False, seconds=30)
        if "Total lost packets 0" in done.stdout + done.stderr:
            raise Failure(f"relayed in spite of {why}")
    turn = json.loads(h.kith.cli("status", "--json"))["turn"]
    if not turn["bad_credentials"] or not turn["forbidden_peers"] or turn["bytes_up"]:
        raise Failure(f"kith status counts otherwise: {turn}")


class Client:
    """As little of a TURN client by UDP as makes an allocation (RFC 8656, MD5 and SHA-1)."""

    ALLOCATE, REALM, NONCE, ERROR = 3, 0x14, 0x15, 9

    def __init__(self, server):
        self.nonce = b""
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(10)
        self.socket.connect((server, 3478))

    def ask(self, body, key=None):
        """The answer's status and attributes."""
        head = lambda more: struct.pack("!HHI", self.ALLOCATE, len(body) + more, 0x2112A442) + tid
        tid = os.urandom(12)
        message = head(0) + body
        if key:
            mac = hmac.new(key, head(24) + body, hashlib.sha1).digest()
            message = head(24) + body + struct.pack("!HH", 8, 20) + mac
        self.socket.send(message)
        got, found, at = self.socket.recv(2048), {}, 20
        while at < len(got):
            kind, size = struct.unpack_from("!HH", got, at)
            found[kind] = got[at + 4:at + 4 + size]
            at += 4 + (size + 3) // 4 * 4
        error = found.get(self.ERROR)
        return error[2] * 100 + error[3] if error else 200, found

    def allocate(self, user, password):
        put = lambda kind, value: struct.pack("!HH", kind, len(value)) + value + b"\0" * (-len(value) % 4)
        udp = put(0x19, b"\x11\0\0\0")
        status, found = self.ask(udp)
        if status != 401:
            raise Failure(f"a stranger hears {status}")
        realm, user = found[self.REALM], user.encode()
        key = hashlib.md5(user + b":" + realm + b":" + password.encode()).digest()
        return self.ask(udp + put(6, user) + put(self.REALM, realm)
                        + put(self.NONCE, found[self.NONCE]), key)[0]


def page_credential(h, cookie):
    with Browser(h.kith) as b:
        servers = b.ask("GET", "/api/turn", headers={"Cookie": cookie}).json()["iceServers"]
    found = next(s for s in servers if "credential" in s)
    return found["username"], found["credential"]


@test()
def turn_ends_with_session_and_account(r):
    """Signing out, a revoked session and a disabled person end what their credentials made."""
    h = House(r, tls=(V4, V6), four=V4).people("wendy").start()
    aor, key = f"wendy@{DOMAIN}", Authenticator(r)
    cookies = [sign_up(h.kith, aor, key), *(cookie_of(sign_in(h.kith, key)) for _ in range(2))]
    mine = [page_credential(h, c) for c in cookies]
    clients = [Client(V4) for _ in mine]
    count = lambda n: (lambda: json.loads(h.kith.cli("status", "--json"))["turn"]["allocations"] == n)
    for client, credential_of in zip(clients, mine):
        if client.allocate(*credential_of) != 200:
            raise Failure("no allocation for a session")
    wait(count(3), 15, "three allocations")
    with Browser(h.kith) as b:
        if b.ask("POST", "/api/logout", {}, headers={"Cookie": cookies[2]}).status != 204:
            raise Failure("signing out")
    wait(count(2), 15, "the end of what the session had that signed out")
    if Client(V4).allocate(*mine[2]) != 403:
        raise Failure("its credential is still good")
    with Browser(h.kith) as b:
        devices = b.ask("GET", "/api/devices", headers={"Cookie": cookies[0]}).json()["devices"]
    other = int(mine[1][0].split(":")[2])
    if other not in [d["id"] for d in devices if d["kind"] == "session"]:
        raise Failure(f"{other} is no session of {devices}")
    h.kith.cli("device", "revoke", str(other))
    wait(count(1), 15, "the end of what the revoked session had")
    h.kith.cli("user", "disable", aor)
    wait(count(0), 15, "the end of what a disabled person had")
    if Client(V4).allocate(*mine[0]) != 403:
        raise Failure("a disabled person relays")


def numbers(value, name):
    """Every figure of the status, under the name its metric has."""
    if isinstance(value, dict):
        return {n: v for key, inner in value.items() for n, v in numbers(inner, f"{name}_{key}").items()}
    return {re.sub("_s$", "_seconds", name): int(value)} if isinstance(value, (bool, int)) else {}


def figures_agree(h):
    """kith status --openmetrics: all figures of --json, and no others."""
    told = h.kith.cli("status", "--openmetrics")
    want = set(numbers(json.loads(h.kith.cli("status", "--json")), "kith")) - {"kith_ok", "kith_pid"}
    kinds = dict(re.findall(r"^# TYPE (\S+) (gauge|counter)$", told, re.M))
    found = {n.removesuffix("_total"): int(v)
             for n, v in re.findall(r"^(kith_\S+) (\d+)$", told, re.M)}
    if set(found) != want or set(kinds) != want or not told.endswith("\n# EOF\n"):
        raise Failure(f"not the same: {want ^ set(found)} {want ^ set(kinds)}")
    if found["kith_turn_allocations"] != 1 or found["kith_turn_created"] != 1:
        raise Failure(f"other figures: {told}")


@test()
def turn_credential_from_register(r):
    """A phone that asks by Accept hears from its registrar where the relay is; what it hears is good."""
    h = House(r, tls=(V4, V6), four=V4).people("tom").start()
    tom = Phone(r, h.kith, f"tom@{DOMAIN}", h.secrets["tom"])
    if tom.register().body:
        raise Failure("a body that was not asked for")
    tom.send(tom.register_text() + "\nAccept: application/json")
    answer = tom.expect(200, 15, method="REGISTER")
    servers = json.loads(answer.body)["iceServers"]
    if not any(url.startswith("turns:") for url in servers[1]["urls"]):
        raise Failure(f"{servers}")
    if Client(V4).allocate(servers[1]["username"], servers[1]["credential"]) != 200:
        raise Failure(f"not good for an allocation: {servers}")
    figures_agree(h)
    row = json.loads(h.kith.cli("turn", "list", f"tom@{DOMAIN}", "--json"))
    how = [row[n] for n in ("aor", "allocations", "client_transport", "client_family",
                            "relay_transport", "relay_families", "bytes_up", "peers")]
    if how != [f"tom@{DOMAIN}", 1, "udp", "IPv4", "udp", ["IPv4"], 0, 0] or not 0 < row["seconds_left"] <= 600:
        raise Failure(f"kith turn list: {row}")
    if not h.kith.cli("turn", "list").startswith(f"tom@{DOMAIN}  allocations: 1\n    udp over IPv4, relays udp"):
        raise Failure(f"kith turn list: {h.kith.cli('turn', 'list')}")
    h.kith.cli("user", "disable", f"tom@{DOMAIN}")
    wait(lambda: json.loads(h.kith.cli("status", "--json"))["turn"]["allocations"] == 0, 15,
         "the end of what a disabled person had")
