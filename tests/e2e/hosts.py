"""Further hosts of one test, each a network namespace of its own behind a link to the test's: with
one address family only, as real networks have it.

  six = Host("six", "2001:db8:6::2")          # no IPv4 at all; the test's side is 2001:db8:6::1
  with six:
      p = Phone(...)                          # its socket, or a program started here, is of that host

A namespace made here has no name: it ends with its last socket and process, and so with the test.
`translate` puts a NAT64 (tayga) into the test's own namespace, which is the router of all."""
import contextlib
import ctypes
import ipaddress
import os
import pathlib
import socket

import net
from rig import Failure, have, wait

CLONE_NEWNET = 0x40000000
HERE = "/proc/thread-self/ns/net"
PREFIX = "2001:db8:64::/96"  # of the NAT64, and of what the test's DNS64 makes
LIBC = ctypes.CDLL(None, use_errno=True)


def _call(what, *args):
    if getattr(LIBC, what)(*args) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


class Host(contextlib.AbstractContextManager):
    """One host with one address; the router's is the first of the same network."""

    def __init__(self, name, address):
        self.name, self.address, self.outside = name, address, None
        ip = ipaddress.ip_address(address)
        bits = 24 if ip.version == 4 else 64
        self.router = str(ipaddress.ip_network(f"{address}/{bits}", strict=False)[1])
        before = os.open(HERE, os.O_RDONLY)
        _call("unshare", CLONE_NEWNET)
        self.inside = os.open(HERE, os.O_RDONLY)
        _call("setns", before, CLONE_NEWNET)
        os.close(before)
        near, far = f"r-{name}", f"h-{name}"
        net.ip("link", "add", near, "type", "veth", "peer", "name", far)
        net.ip("link", "set", far, "netns", f"/proc/{os.getpid()}/fd/{self.inside}")
        self._up(near, f"{self.router}/{bits}", ip.version)
        with self:
            net.ip("link", "set", "lo", "up")
            self._up(far, f"{address}/{bits}", ip.version)
            net.ip(f"-{ip.version}", "route", "add", "default", "via", self.router)

    @staticmethod
    def _up(device, address, version):
        if version == 4:  # no link-local address either
            net.ip("link", "set", device, "addrgenmode", "none")
        net.ip("addr", "add", address, "dev", device, *(("nodad",) if version == 6 else ()))
        net.ip("link", "set", device, "up")

    def __enter__(self):
        self.outside = os.open(HERE, os.O_RDONLY)
        _call("setns", self.inside, CLONE_NEWNET)
        return self

    def __exit__(self, *_):
        _call("setns", self.outside, CLONE_NEWNET)
        os.close(self.outside)

    def cannot_reach(self, address):
        """This host knows no way to that address: the test would prove nothing otherwise."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with self, socket.socket(family, socket.SOCK_DGRAM) as s:
            try:
                s.connect((address, 9))
            except OSError:
                return
        raise Failure(f"host {self.name} has a way to {address}")


def translate(r, pool="198.18.0.0/24", fixed=None):
    """A NAT64 between the test's hosts: IPv6 to PREFIX becomes IPv4 from the pool. `fixed` is a
    pair: what comes to that IPv4 address goes to that IPv6 one, by a static mapping."""
    have("tayga")
    conf = r.dir / "tayga.conf"
    first = ipaddress.ip_network(pool)[1]
    conf.write_text(f"tun-device nat64\nipv4-addr {first}\nipv6-addr 2001:db8:65::1\n"
                    f"prefix {PREFIX}\ndynamic-pool {pool}\ndata-dir {r.dir}\n" +
                    (f"map {fixed[0]} {fixed[1]}\n" if fixed else ""))
    r.start("tayga", ["tayga", "--nodetach", "-c", conf])
    wait(lambda: "nat64" in net.ip("-br", "link"), 20, "tayga's device")
    net.ip("link", "set", "nat64", "up")
    net.ip("-6", "route", "add", PREFIX, "dev", "nat64")
    for inside in [pool] + ([fixed[0]] if fixed else []):
        net.ip("route", "add", inside, "dev", "nat64")
    for family in ("ipv4", "ipv6"):
        pathlib.Path(f"/proc/sys/net/{family}/conf/all/forwarding").write_text("1\n")
