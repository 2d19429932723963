"""Who calls in the NAT laboratory. A client has a Side (its host and how it reaches Kith), an
account of its own (`aor`), and

  register()        connects to Kith if it has not yet; Failure when it cannot
  call(aor), up()   calls, and waits until the call is up; the other side answers by itself
  hears(hertz)      whether the other side's tone is clearly there
  goes_on()         a condition: about a second of media has come since it was made
  hang_up(), over() ends the call, and waits until it has ended here
  close()           ends the client; one that STAYS is kept for the next call from its side instead
  cannot(kind, other, make)  why it cannot do media between such networks at all; "" when it can
  excuse()          why it does not in this call, proved by its own log; "" without such a proof
  broken()          the same of a fault that is not there in each call: one more may do
"""
import json
import os
import pathlib
import re
import threading
import time

import rig
import tones
import web
from rig import DOMAIN, TLS_PORT

TURN_PORT = 3478
SIX = ("ipv6", "nat64")
PEER_PORT = 3480


class Recorder:
    """A phone that records what it hears."""

    def hears(self, hertz):
        files = self.recordings()
        return bool(files) and files[-1].stat().st_size > 12000 and \
            tones.share(files[-1], hertz) > 0.6

    def goes_on(self):
        return tones.grown(self.recordings, 2 * 8000)

    def call(self, aor):
        self.dial(aor)

    def over(self):
        self.closed(30)

    def close(self):
        if self.process:
            self.process.stop(seconds=3)

    def excuse(self):
        return ""

    def broken(self):
        return ""


class Baresip(Recorder, rig.Baresip):
    """baresip 1.0 with ICE, its relay by UDP. With its like it is keyed by SDES: its ICE may choose
    one path for each direction, which its DTLS takes for two strangers."""

    MAKE, STAYS = "baresip", False
    KEYS = {"baresip": "srtp-mand", "chromium": "dtls_srtp", "linphone": "dtls_srtp",
            "dual": "srtp-mand"}
    BROWSER = "a browser's offer names its relayed IPv4 address, to which it answers 488 over IPv6"
    UDP_ONLY = "its TURN is UDP only"
    NAT64 = "behind NAT64 its reflexive address is of another family than the call"
    FAILED_PAIR = "its ICE chose a pair that it had given up"
    OVERTAKEN = "the re-INVITE that ends ICE overtook its own, which then never ended"
    TWO_PATHS = "its ICE takes another path than the browser's, which its DTLS takes for a stranger"
    WRONG_WAY = "it begins DTLS through its relay, by a way on which nothing ever came back"
    ONE_FAMILY = "one address family a call, and no relayed address of the other one"

    def __init__(self, house, name, side, tone, other):
        user, password = house.credential(name)
        # Its ICE knows one family, and what it asks a relay for is IPv4, over IPv6 too.
        helper = "stun" if side.six else "turn"
        port = 443 if side.kind == "only-443" else TLS_PORT
        self.side, self.world, self.asked = side, house.world, 0.0
        super().__init__(
            side.rig, name, f"{name}@{DOMAIN}",
            certificate=house.certificate(name), ca=house.kith.ca, port=port, server=DOMAIN,
            listen=side.address, tone=tone, mediaenc=self.KEYS[other.MAKE],
            account="" if other.MAKE == "dual" else  # which has no ICE
            f";medianat=ice;stunserver=\"{helper}:{DOMAIN}:{TURN_PORT}\""
            f";stunuser={user};stunpass={password}")

    @classmethod
    def cannot(cls, kind, other, make):
        if kind in ("udp-blocked", "only-443"):
            return cls.UDP_ONLY
        if make.MAKE == "chromium":
            return cls.BROWSER if kind in SIX else ""
        if "nat64" in (kind, other):
            return cls.NAT64
        if (kind in SIX) != (other in SIX) and make.MAKE != "dual":
            return cls.ONE_FAMILY
        return ""

    def _connect(self):
        with self.side.host.inside():
            return super()._connect()

    def register(self):
        self.start(register=False)
        self.registered(30)

    def tell(self):
        return f"bits a second: {self.receives()}"

    def broken(self):
        """Its ICE chose a pair whose check it had given up (late answers on a busy machine), and
        gave back what the other side had chosen: no packet passes, whatever the network is like."""
        text = self.process.text()
        if "set_selected: invalid state 'Failed'" in text:
            return self.FAILED_PAIR
        # libre throws its open checks away when the offer comes, and sends its media nowhere.
        is_early = "got re-INVITE (SDP Offer)" in text and "mnat 'ice' connected" not in text
        return self.OVERTAKEN if is_early else ""

    def excuse(self):
        """Either it began DTLS with one address of the browser, and others come again and again; or
        its ClientHellos leave its relayed port for an address from which nothing ever came to that
        port, not even an answer to a check: ICE cannot have chosen that pair."""
        text = self.process.text()
        if len(re.findall("dtls already accepted", text)) >= 3:
            return self.TWO_PATHS
        own = re.findall(r"Default local candidates: [\d.]+:(\d+)", text)
        to = re.findall(r"dtls connect to ([\d.]+):(\d+)", text)
        if not own or not to or time.monotonic() < self.asked + 1:
            return ""
        self.asked = time.monotonic()
        unanswered = self.world.unanswered_hellos(*to[-1], own[-1])
        return self.WRONG_WAY if unanswered >= 4 else ""


class Linphone(Recorder, rig.Linphone):
    """linphonec 5.1 with ICE, its relay by UDP, and what a browser asks of it (RTCP beside RTP)."""

    MAKE, STAYS = "linphone", False
    HELLO = "its DTLS handshake as the server of a browser fails"
    NET = "nat_policy_ref=relay\n"
    RELAY = ("[nat_policy_0]\nref=relay\nstun_server={server}:{port}\nprotocols=stun,turn,ice\n"
             "stun_server_username={user}\n[auth_info_1]\nusername={user}\npasswd={password}\n"
             "realm={server}\n")

    def __init__(self, house, name, side, tone, other):
        user, password = house.credential(name)
        self.side, self.aor, self.process = side, f"{name}@{DOMAIN}", None
        super().__init__(
            side.rig, name, self.aor, house.secrets[name], house.kith.ca,
            tones.write(side.rig.dir / f"{name}.wav", tone), six=side.six, net=self.NET,
            more=self.RELAY.format(server=DOMAIN, port=TURN_PORT, user=user, password=password) +
            "[rtp]\nrtcp_mux=1\n")

    @classmethod
    def cannot(cls, kind, other, make):
        return ""

    def register(self):
        self.start(register=False)
        self.state("LinphoneRegistrationOk", 60)

    def tell(self):
        return ", ".join(re.findall(r"ice: .*", self.text())[-3:])

    def excuse(self):
        refused = re.search("DTLS handhake returns -0x7080", self.text())
        return self.HELLO if refused else ""


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
    """A browser: WebRTC with ICE and every TURN, SIP over WebSocket, a session by passkey."""

    MAKE, STAYS = "chromium", True
    # What a page without pictures, extensions and updates can do without: it starts the faster.
    FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-software-rasterizer",
             "--remote-debugging-pipe", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-default-apps", "--disable-extensions",
             "--disable-sync", "--renderer-process-limit=1",
             "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
             "--autoplay-policy=no-user-gesture-required",
             "--disable-features=WebRtcHideLocalIpsWithMdns,OptimizationHints,MediaRouter,"
             "Translate,SpareRendererForSitePerProcess"]

    WAYS = {"udp-blocked": "3478?transport=tcp", "only-443": ":443?transport=tcp"}

    def __init__(self, house, name, side, tone, other):
        rig.have("chromium", "certutil")
        self.side, self.name, self.aor = side, name, f"{name}@{DOMAIN}"
        self.tools = self.process = None
        self.home = side.rig.dir / name
        (self.home / ".pki/nssdb").mkdir(parents=True)
        store = f"sql:{self.home}/.pki/nssdb"
        side.rig.run(["certutil", "-N", "-d", store, "--empty-password"])
        side.rig.run(["certutil", "-A", "-d", store, "-n", "ca", "-t", "C,,", "-i", house.kith.ca])
        with house.world.internet.inside():
            self.cookie = web.sign_up(house.kith, self.aor, web.Authenticator(house.rig))
        self.sound = tones.write(self.home / "tone.wav", tone)

    @classmethod
    def cannot(cls, kind, other, make):
        return ""

    def _start(self, to_browser, from_browser):
        flags = [*self.FLAGS, f"--use-file-for-fake-audio-capture={self.sound}",
                 f"--user-data-dir={self.home}/profile"]
        self.process = self.side.rig.start(
            self.name, ["bash", "-c", f"exec \"$@\" 3<&{to_browser} 4>&{from_browser}", "bash",
                        "chromium", *flags, "about:blank"],
            pass_fds=(to_browser, from_browser),
            env={**os.environ, "HOME": str(self.home)})

    def run(self, script):
        """The script's value; that of a promise when it has come."""
        result = self.tools.ask("Runtime.evaluate", self.page, expression=script,
                                awaitPromise=True, returnByValue=True)
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
        if not self.tools:
            self._open()
        self.run(f"labPhone.register({self.aor!r})")
        rig.wait(lambda: self.look()["state"] == "registered", 60,
                 lambda: f"{self.name} to register: {self.look()}")

    def _open(self):
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
        # A browser that has just started takes its first look at the network for a change of it.
        def goes():
            went = self.tools.ask("Page.navigate", self.page, url=f"{origin}/api/session")
            error = went.get("errorText", "")
            if error and error != "net::ERR_NETWORK_CHANGED":
                raise rig.Failure(f"{self.name} cannot open {origin}: {error}")
            return not error and self.run("location.origin") == origin

        rig.wait(goes, 60, f"{self.name} to open {origin}")
        self.run((pathlib.Path(__file__).parent / "page.js").read_text())

    def call(self, aor, one_way=False):
        """With `one_way` it knows one address of its own, a relayed one, as a page may ask for."""
        way = self.WAYS.get(self.side.kind, "transport=udp") if one_way else ""
        self.run(f"labPhone.call({aor!r}, {way!r}); 0")

    def up(self, seconds=60):
        rig.wait(lambda: self.look()["state"] == "up", seconds,
                 lambda: f"{self.name} to be up: {self.look()}")

    def hears(self, hertz):
        return abs(self.look()["tone"] - hertz) < 20

    def excuse(self):
        return ""

    def broken(self):
        return ""

    def hang_up(self):
        self.run("labPhone.hangUp(); 0")

    def over(self):
        rig.wait(lambda: self.look()["state"] == "registered", 30,
                 lambda: f"{self.name}'s call to end: {self.look()}")

    def close(self):
        if self.process:
            self.process.stop(seconds=3)

    def goes_on(self):
        began = self.packets()
        return lambda: self.packets() >= began + 50

    def packets(self):
        return self.run("labPhone.received()")


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
        user, password = self.house.credential(self.house.person("alice"))
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
