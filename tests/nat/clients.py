"""Who calls in the NAT laboratory. A client has a Side (its host and how it reaches Kith) and

  register()        connects to Kith; Failure when it cannot
  call(aor), up()   calls, and waits until the call is up; the other side answers by itself
  heard(hertz)      waits until the other side's tone is clearly there
  cannot(kind)      why it cannot do media on such a network at all; "" when it can
"""
import re

import rig
import tones
from rig import DOMAIN, TLS_PORT

TURN_PORT = 3478
SIX = ("ipv6", "nat64")
PEER_PORT = 3480


class Baresip(rig.Baresip):
    """baresip 1.0 with ICE, its relay by UDP. Keyed by SDES: its ICE may choose one path for each
    direction, which its DTLS takes for two strangers (DTLS-SRTP is tried in tests/e2e)."""

    MAKE = "baresip"
    UDP_ONLY = "its TURN is UDP only"
    NAT64 = "behind NAT64 its reflexive address is of another family than the call"
    ONE_FAMILY = "one address family a call, and no relayed address of the other one"

    def __init__(self, house, name, side, tone):
        user, password = house.credential(name)
        # Its ICE knows one family, and what it asks a relay for is IPv4, over IPv6 too.
        helper = "stun" if side.six else "turn"
        port = 443 if side.kind == "only-443" else TLS_PORT
        self.side = side
        super().__init__(
            side.rig, name, f"{name}@{DOMAIN}",
            certificate=house.certificate(name), ca=house.kith.ca, port=port, server=DOMAIN,
            listen=side.address, tone=tone, mediaenc="srtp-mand",
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
