"""The networks of the NAT laboratory: an internet with one Kith in it, and homes behind devices
that translate, block, lose and delay.

  internet   203.0.113.10, 2001:db8:1::10   Kith, and the router between all sides
  side 1     198.51.100.6 outside, 10.1.0.2 the client    (IPv6: 2001:db8:101::2)
  side 2     198.51.100.10 outside, 10.2.0.2 the client   (IPv6: 2001:db8:102::2), and so on

Each namespace is a host. Nothing leads out of them; all of them end with the cell.
"""
import contextlib
import ctypes
import os
import pathlib
import re
import socket
import subprocess
import sys

import net
from net import ip
from rig import DOMAIN, Rig, Skip, have, wait

SERVER4, SERVER6 = "203.0.113.10", "2001:db8:1::10"
NAT64 = "2001:db8:64::"
HERE = pathlib.Path(__file__).resolve().parent
LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000


OWN_NET = os.open("/proc/self/ns/net", os.O_RDONLY)


def enter(fd):
    """This thread moves to another network namespace."""
    if LIBC.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def enter_named(name):
    with open(f"/run/netns/{name}") as f:
        enter(f.fileno())


class Space(net.Namespace):
    """One host. Unlike in tests/e2e its interfaces come later."""

    def _set_up(self):
        ip("-n", self.name, "link", "set", "lo", "up")
        self.etc.mkdir(parents=True)
        (self.etc / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        host = os.uname().nodename
        (self.etc / "hosts").write_text(f"127.0.0.1 localhost {host}\n::1 localhost\n")

    @contextlib.contextmanager
    def inside(self):
        """What this thread opens meanwhile, it opens on that host."""
        enter_named(self.name)
        try:
            yield
        finally:
            enter(OWN_NET)

    def do(self, *args):
        done = subprocess.run(self.command([str(a) for a in args]), capture_output=True, text=True)
        if done.returncode != 0:
            raise OSError(f"{' '.join(map(str, args))}: {done.stderr.strip()}")
        return done.stdout

    def address(self, device, *addresses):
        ip("-n", self.name, "link", "set", device, "up")
        for a in addresses:
            ip("-n", self.name, "addr", "add", a, "dev", device,
               *(["nodad"] if ":" in a else []))

    def route(self, via, to="default"):
        ip("-n", self.name, *(["-6"] if ":" in via else []), "route", "add", to, "via", via)

    def forward(self):
        self.do("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")

    def rules(self, text):
        have("nft")
        done = subprocess.run(self.command(["nft", "-f", "-"]), input=text, capture_output=True,
                              text=True)
        if "not supported" in done.stderr or "No such file" in done.stderr:
            raise Skip(f"this kernel's nftables lack a piece: {done.stderr.strip()[:200]}")
        if done.returncode != 0:
            raise OSError(f"nft: {done.stderr.strip()[:300]}")


def cable(a, a_device, b, b_device):
    ip("-n", a.name, "link", "add", a_device, "type", "veth", "peer", "name", b_device, "netns",
       b.name)


# ---- what a translating device does ------------------------------------------------------------
# Interface o is outside, those named i* are inside. Linux keeps a port where it can, so its plain
# masquerade maps independently of the endpoint and filters by address and port.

# As on any router the outside may not speak to the device itself: without that a packet that comes
# too early would take the mapping away which the answer to it needs.
CLOSED = """table inet outside {
  chain input { type filter hook input priority 0; iifname "o" meta l4proto udp drop; }
}
"""
PLAIN = """table ip nat {{
  chain post {{ type nat hook postrouting priority 100; oifname "o" masquerade{random}; }}
}}
"""
# Endpoint-independent mapping: which client a port belongs to is learnt from what it sends.
MAPPED = """table ip nat {{
  map owner {{ type inet_service : ipv4_addr; flags dynamic,timeout; timeout 5m; }}
  set spoken_to {{ type ipv4_addr; flags dynamic,timeout; timeout 5m; }}
  chain learn {{ type filter hook prerouting priority -150;
    iifname "i*" meta l4proto udp update @owner {{ udp sport : ip saddr }}
    iifname "i*" meta l4proto udp update @spoken_to {{ ip daddr }};
  }}
  chain pre {{ type nat hook prerouting priority -100;
    {filter} ip daddr {outside} meta l4proto udp dnat to udp dport map @owner;
  }}
  chain post {{ type nat hook postrouting priority 100;
    oifname "o" masquerade
    {hairpin}
  }}
}}
"""
FORWARD = """table inet filter {{
  chain forward {{ type filter hook forward priority 0; {} }}
}}
"""
ONLY_443 = ("ct state established,related accept; iifname \"i*\" tcp dport 443 accept; drop;")
APART = ("iifname \"i*\" oifname \"i*\" ct status dnat accept; iifname \"i*\" oifname \"i*\" drop;")


# A witness beside Kith: which relayed port sent a DTLS ClientHello where to (RFC 6347 4.1: content
# type 22, a header of 13 bytes, then message 1), and what ever came back to it from there.
WITNESS = """table ip witness {
  set hellos { type ipv4_addr . inet_service . inet_service; flags dynamic; }
  set answers { type ipv4_addr . inet_service . inet_service; flags dynamic; }
  chain output { type filter hook output priority 0;
    udp sport 49152-65535 @th,64,8 22 @th,168,8 1 \
      update @hellos { ip daddr . udp dport . udp sport counter }
  }
  chain input { type filter hook input priority 0;
    udp dport 49152-65535 \
      update @answers { ip saddr . udp sport . udp dport counter }
  }
}
"""


def line_of(number):
    """The public line of a side, a /30: the internet's end and the device's."""
    return f"198.51.100.{4 * number + 1}", f"198.51.100.{4 * number + 2}"


def six_of(number):
    return f"2001:db8:1{number:02x}::"


def rules_of(kind, outside):
    from_outside = 'iifname "o"'
    if kind == "full-cone":
        return CLOSED + MAPPED.format(filter=from_outside, outside=outside, hairpin="")
    if kind == "restricted":
        return CLOSED + MAPPED.format(filter=f"{from_outside} ip saddr @spoken_to",
                                      outside=outside, hairpin="")
    if kind == "hairpin":
        # What comes from inside for the own outer address goes back in, from the outer address.
        back = f'iifname "i*" oifname "i*" ct status dnat snat to {outside}'
        return CLOSED + MAPPED.format(filter="", outside=outside, hairpin=back) + \
            FORWARD.format(APART)
    text = CLOSED + PLAIN.format(random=" fully-random" if kind == "symmetric" else "")
    if kind == "udp-blocked":
        text += FORWARD.format("meta l4proto udp drop;")
    if kind == "only-443":
        text += FORWARD.format(ONLY_443)
    return text


class Side:
    """One client's host and the devices between it and the internet."""

    def __init__(self, world, number, kind):
        self.world, self.number, self.kind = world, number, kind
        self.host = world.space(f"c{number}")
        self.server = SERVER4          # how this client reaches Kith
        self.address = f"10.{number}.0.2"
        getattr(self, "_" + kind.replace("-", "_"), self._translated)()
        self.rig = world.rig_on(self.host)
        self._names()

    def _names(self):
        """What this network's resolver says of the server."""
        have("dnsmasq")
        self.rig.start(f"dnsmasq{self.number}", [
            "dnsmasq", "--keep-in-foreground", "--pid-file=", "--no-resolv", "--no-hosts",
            "--bind-interfaces", "--listen-address=127.0.0.1", "--user=root", f"--local=/{DOMAIN}/",
            f"--host-record={DOMAIN},{self.server}", "-C", "/dev/null"])

        def answers():
            with self.host.inside(), socket.socket() as s:
                return s.connect_ex(("127.0.0.1", 53)) == 0

        wait(answers, 20, "dnsmasq to answer")

    @property
    def six(self):
        return ":" in self.address

    def _home(self, device, inner="i0"):
        """A private network between the device and the client."""
        cable(device, inner, self.host, "e0")
        device.address(inner, f"10.{self.number}.0.1/24")
        self.host.address("e0", f"10.{self.number}.0.2/24")
        self.host.route(f"10.{self.number}.0.1")
        device.forward()

    def _line(self, device, slow=False):
        """The public address of a device."""
        n, internet = self.number, self.world.internet
        there, here = line_of(n)
        if slow:
            self.world.slow_cable(device, "o", internet, f"s{n}")
        else:
            cable(device, "o", internet, f"s{n}")
        internet.address(f"s{n}", f"{there}/30")
        device.address("o", f"{here}/30")
        device.route(there)

    def _translated(self, slow=False):
        device = self.world.space(f"n{self.number}")
        self._home(device)
        self._line(device, slow)
        device.rules(rules_of(self.kind, line_of(self.number)[1]))

    def _poor(self):
        self._translated(slow=True)

    def _carrier_grade(self):
        """A home router with an address of the carrier, and the carrier's translator."""
        home, carrier = self.world.space(f"n{self.number}"), self.world.space(f"g{self.number}")
        self._home(home)
        cable(home, "o", carrier, "i0")
        carrier.address("i0", "100.64.0.1/24")
        home.address("o", "100.64.0.2/24")
        home.route("100.64.0.1")
        carrier.forward()
        self._line(carrier)
        for device in (home, carrier):
            device.rules(rules_of("port-restricted", ""))

    def _hairpin(self):
        """Both clients are behind one device, in networks that do not see each other."""
        first = not self.world.shared
        if first:
            self.world.shared = self.world.space(f"n{self.number}")
        self._home(self.world.shared, f"i{self.number}")
        if first:
            self._line(self.world.shared)
            self.world.shared.rules(rules_of("hairpin", line_of(self.number)[1]))

    def _six_line(self, to, device, inner):
        net6 = six_of(self.number)
        cable(to, device, self.host, "e0")
        to.address(device, f"{net6}1/64")
        self.host.address("e0", f"{net6}2/64")
        self.host.route(f"{net6}1")
        self.address = f"{net6}2"

    def _open(self):
        """A public IPv4 address of its own, and no IPv6."""
        self._line(self.host)
        ip("-n", self.host.name, "link", "set", "o", "down")
        ip("-n", self.host.name, "link", "set", "o", "name", "e0")
        ip("-n", self.host.name, "link", "set", "e0", "up")
        there, self.address = line_of(self.number)
        self.host.route(there)

    def _ipv6(self):
        """IPv6 and nothing else."""
        self._six_line(self.world.internet, f"s{self.number}", "e0")
        self.server = SERVER6

    def _nat64(self):
        """IPv6 towards the client, and the server has only an IPv4 address: RFC 6146."""
        have("tayga")
        if not os.path.exists("/dev/net/tun"):
            raise Skip("this kernel has no tun device, which tayga needs")
        device = self.world.space(f"n{self.number}")
        self._six_line(device, "i0", "e0")
        self._line(device)
        device.forward()
        folder = self.world.dir / f"tayga{self.number}"
        folder.mkdir()
        conf = folder / "tayga.conf"
        conf.write_text(f"tun-device nat64\nipv4-addr 10.64.0.1\nprefix {NAT64}/96\n"
                        f"ipv6-addr 2001:db8:6464::1\ndynamic-pool 10.64.0.0/24\n"
                        f"data-dir {folder}\n")
        device.do("tayga", "--mktun", "-c", conf)
        device.address("nat64", "10.64.0.254/32")
        ip("-n", device.name, "route", "add", "10.64.0.0/24", "dev", "nat64")
        ip("-n", device.name, "-6", "route", "add", f"{NAT64}/96", "dev", "nat64")
        device.rules(rules_of("port-restricted", ""))
        self.world.rig_on(device).start(f"tayga{self.number}", ["tayga", "-n", "-c", conf])
        four = bytes(int(x) for x in SERVER4.split("."))
        self.server = f"{NAT64}{four[0]:x}{four[1]:02x}:{four[2]:x}{four[3]:02x}"


class HostRig(Rig):
    """The bench of tests/e2e, on one of several hosts."""

    def __init__(self, space, directory, kith):
        super().__init__(directory, kith)
        self.space = space

    def start(self, name, args, **more):
        return super().start(name, self.space.command([str(a) for a in args]), **more)

    def run(self, args, **more):
        return super().run(self.space.command([str(a) for a in args]), **more)


class World:
    def __init__(self, directory, kith, label):
        self.dir, self.kith, self.label = pathlib.Path(directory), kith, label
        self.spaces, self.rigs, self.sides, self.count, self.shared = [], [], {}, 0, None
        self.internet = self.space("in")
        cable(self.internet, "e0", self.internet, "e1")
        self.internet.address("e1")
        self.internet.address("e0", f"{SERVER4}/24", f"{SERVER6}/64")
        self.internet.forward()
        self.internet.rules(WITNESS)

    def space(self, name):
        try:
            space = Space(f"nat{self.label}-{name}")
        except OSError as why:
            raise Skip(f"no network namespace: {why}") from None
        self.spaces.append(space)
        return space

    def side(self, end, kind):
        """The caller's (end 0) or the callee's (1) network of a kind; it stays for later calls."""
        if (end, kind) not in self.sides:
            self.count += 1  # also of those that this kernel has no means for
            self.sides[end, kind] = Side(self, self.count, kind)
        return self.sides[end, kind]

    def rig_on(self, space):
        rig = HostRig(space, self.dir, self.kith)
        rig.ports += 400 * len(self.rigs)  # no two phones of a world with the same ports
        self.rigs.append(rig)
        return rig

    def unanswered_hellos(self, address, port, relayed):
        """ClientHellos that left a relayed port for that address; 0 when anything came back."""
        entry = f"{address} . {port} . {relayed} counter packets "

        def count(name):
            told = self.internet.do("nft", "list", "set", "ip", "witness", name)
            return int((re.findall(re.escape(entry) + r"(\d+)", told) or [0])[0])

        return 0 if count("answers") else count("hellos")

    def slow_cable(self, a, a_device, b, b_device):
        """5 % of the frames are lost, the others take 150 ms (tests/nat/slow.py)."""
        if not os.path.exists("/dev/net/tun"):
            raise Skip("this kernel has no tun device, which the slow line needs")
        r = Rig(self.dir, self.kith)
        self.rigs.append(r)
        process = r.start(f"slow-{b_device}", [sys.executable, HERE / "slow.py", a.name, a_device,
                                               b.name, b_device, "150", "5"])
        process.wait_text("ready", 20)

    def close(self):
        for rig in reversed(self.rigs):
            rig.close()
        for space in reversed(self.spaces):
            space.remove()
