"""Who calls in the NAT laboratory. A client has a Side (its host and how it reaches Kith) and

  register()        connects to Kith; Failure when it cannot
  call(aor), up()   calls, and waits until the call is up; the other side answers by itself
  heard(hertz)      waits until the other side's tone is clearly there
  goes_on()         a condition: about a second of media has come since it was made
  cannot(kind)      why it cannot do media on such a network at all; "" when it can
"""
import json
import os
import pathlib
import re
import threading

import rig
import tones
import web
from rig import DOMAIN, TLS_PORT

TURN_PORT = 3478
SIX = ("ipv6", "nat64")
PEER_PORT = 3480


class Baresip(rig.Baresip):
    """baresip 1.0 with ICE, its relay by UDP. With its like it is keyed by SDES: its ICE may choose
    one path for each direction, which its DTLS takes for two strangers."""

    MAKE = "baresip"
    KEYS = {"baresip": "srtp-mand", "chromium": "dtls_srtp"}
    UDP_ONLY = "its TURN is UDP only"
    NAT64 = "behind NAT64 its reflexive address is of another family than the call"
    ONE_FAMILY = "one address family a call, and no relayed address of the other one"

    def __init__(self, house, name, side, tone, other):
        user, password = house.credential(name)
        # Its ICE knows one family, and what it asks a relay for is IPv4, over IPv6 too.
        helper = "stun" if side.six else "turn"
        port = 443 if side.kind == "only-443" else TLS_PORT
        self.side = side
        super().__init__(
            side.rig, name, f"{name}@{DOMAIN}",
            certificate=house.certificate(name), ca=house.kith.ca, port=port, server=DOMAIN,
            listen=side.address, tone=tone, mediaenc=self.KEYS[other.MAKE],
            account=f";medianat=ice;stunserver=\"{helper}:{DOMAIN}:{TURN_PORT}\""
                    f";stunuser={user};stunpass={password}")

    @classmethod
    def cannot(cls, kind, other):
        if kind in ("udp-blocked", "only-443"):
            return cls.UDP_ONLY
        if "nat64" in (kind, other):
            return cls.NAT64
        if (kind in SIX) != (other in SIX):
            return cls.ONE_FAMILY
        return ""

    def _connect(self):
        with self.side.host.inside():
            return super()._connect()

    def register(self):
        self.start(register=False)
        self.registered(30)

    def call(self, aor):
        self.dial(aor)

    def heard(self, hertz, seconds=60):
        tones.heard(self.recordings, hertz, seconds=seconds)

    def tell(self):
        return f"bits a second: {self.receives()}"

    def goes_on(self):
        return tones.grown(self.recordings, 2 * 8000)


class Devtools:
    """The browser's own remote control (Chrome DevTools Protocol), over two pipes."""

    def __init__(self, start):
        to_browser, self.out = os.pipe()
        self.into, from_browser = os.pipe()
        start(to_browser, from_browser)
        os.close(to_browser)
        os.close(from_browser)
        self.count, self.answers, self.came = 0, {}, threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        data = b""
        while more := os.read(self.into, 65536):
            *messages, data = (data + more).split(b"\0")
            for m in map(json.loads, messages):
                with self.came:
                    self.answers[m.get("id", 0)] = m
                    self.came.notify_all()

    def ask(self, method, session=None, seconds=60, **params):
        self.count += 1
        number = self.count
        message = {"id": number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        with self.came:
            if not self.came.wait_for(lambda: number in self.answers, seconds):
                raise rig.Failure(f"the browser does not answer {method}")
            answer = self.answers.pop(number)
        if "error" in answer:
            raise rig.Failure(f"{method}: {answer['error']}")
        return answer["result"]


class Chromium:
    """A browser: WebRTC with ICE and every kind of TURN, SIP over WebSocket, a session by passkey."""

    MAKE = "chromium"

    def __init__(self, house, name, side, tone, other):
        rig.have("chromium", "certutil")
        self.side, self.name, self.aor = side, name, f"{name}@{DOMAIN}"
        self.home = side.rig.dir / name
        (self.home / ".pki/nssdb").mkdir(parents=True)
        store = f"sql:{self.home}/.pki/nssdb"
        side.rig.run(["certutil", "-N", "-d", store, "--empty-password"])
        side.rig.run(["certutil", "-A", "-d", store, "-n", "ca", "-t", "C,,", "-i", house.kith.ca])
        with house.world.internet.inside():
            self.cookie = web.sign_up(house.kith, self.aor, web.Authenticator(house.rig))
        self.sound = tones.write(self.home / "tone.wav", tone)

    @classmethod
    def cannot(cls, kind, other):
        return ""

    def _start(self, to_browser, from_browser):
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
                 "--no-first-run", "--disable-background-networking",
                 "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
                 f"--use-file-for-fake-audio-capture={self.sound}",
                 "--autoplay-policy=no-user-gesture-required",
                 "--disable-features=WebRtcHideLocalIpsWithMdns",
                 f"--user-data-dir={self.home}/profile"]
        self.process = self.side.rig.start(
            self.name, ["bash", "-c", f"exec \"$@\" 3<&{to_browser} 4>&{from_browser}", "bash",
                        "chromium", *flags, "about:blank"],
            pass_fds=(to_browser, from_browser),
            env={**os.environ, "HOME": str(self.home)})

    def run(self, script):
        result = self.tools.ask("Runtime.evaluate", self.page, expression=script,
                                awaitPromise=False, returnByValue=True)
        if "exceptionDetails" in result:
            raise rig.Failure(f"{self.name}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def tell(self):
        return self.run("labPhone.look()")

    def look(self):
        now = json.loads(self.run("labPhone.look()"))
        if now["trouble"]:
            raise rig.Failure(f"{self.name}: {now}")
        return now

    def register(self):
        self.tools = Devtools(self._start)
        target = self.tools.ask("Target.createTarget", url="about:blank")["targetId"]
        self.page = self.tools.ask("Target.attachToTarget", targetId=target,
                                   flatten=True)["sessionId"]
        origin = f"https://{DOMAIN}"  # browsers refuse to open port 5061
        name, _, value = self.cookie.partition("=")
        self.tools.ask("Network.setCookie", self.page, url=origin, name=name, value=value,
                       secure=True, httpOnly=True, path="/")
        self.tools.ask("Browser.grantPermissions", origin=origin, permissions=["audioCapture"])
        # A page of the origin without a script of its own: not the app, which would register too.
        went = self.tools.ask("Page.navigate", self.page, url=f"{origin}/api/session")
        if went.get("errorText"):
            raise rig.Failure(f"{self.name} cannot open {origin}: {went['errorText']}")
        rig.wait(lambda: self.run("location.origin") == origin, 60, f"{self.name} to open {origin}")
        self.run((pathlib.Path(__file__).parent / "page.js").read_text())
        self.run(f"labPhone.register({self.aor!r})")
        rig.wait(lambda: self.look()["state"] == "registered", 60, f"{self.name} to register")

    def call(self, aor):
        self.run(f"labPhone.call({aor!r}); 0")

    def up(self, seconds=60):
        rig.wait(lambda: self.look()["state"] == "up", seconds,
                 lambda: f"{self.name} to be up: {self.look()}")

    def heard(self, hertz, seconds=60):
        rig.wait(lambda: abs(self.look()["tone"] - hertz) < 20, seconds,
                 lambda: f"{hertz} Hz at {self.name}: {self.look()}")

    def goes_on(self):
        """A condition: a second of media has come since now."""
        began = self.packets()
        return lambda: self.packets() >= began + 50

    def packets(self):
        self.run("(async () => { let n = 0; for (const r of (await labPhone.peer().getStats())"
                 ".values()) if (r.type === 'inbound-rtp') n = r.packetsReceived;"
                 " labPhone.received = n; })()")
        return self.run("labPhone.received || 0")


class Uclient:
    """coturn's client: no calls, only a relay, but one that takes any way to it. It asks for both
    families and sends to turnutils_peer on an IPv4 host: a hundred packets there and back."""

    MAKE = "uclient"
    WAYS = {"udp-blocked": ["-t"], "only-443": ["-t", "-S"]}

    def __init__(self, house, side, peer):
        rig.have("turnutils_uclient", "turnutils_peer")
        self.house, self.side, self.peer = house, side, peer
        peer.rig.start("peer", ["turnutils_peer", "-L", peer.address, "-p", PEER_PORT])

    def relay(self):
        user, password = self.house.credential("alice")
        port = 443 if self.side.kind == "only-443" else TURN_PORT
        packets = 30
        told = self.side.rig.run(
            ["turnutils_uclient", *self.WAYS.get(self.side.kind, []), "-X", "-p", port, "-u", user,
             "-w", password, "-e", self.peer.address, "-r", PEER_PORT, "-n", packets, "-m", 1,
             "-l", 160, "-g", self.side.server], must=False, seconds=60)
        lost = re.search(r"Total lost packets (\d+)", told.stdout + told.stderr)
        allowed = packets // 3 if self.side.kind == "poor" else 0  # it has no retransmission
        if not lost or int(lost.group(1)) > allowed:
            raise rig.Failure((told.stdout + told.stderr).strip()[-400:])
