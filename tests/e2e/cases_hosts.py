"""Hosts with one address family only, each a network namespace of its own: phones, domains, NAT64."""
from authority import Authority
from cases import House, test
from cases_peers import Domain, publish, talk
from hosts import PREFIX, Host, translate
from phone import Phone, keyed
from rig import DOMAIN, V4, V6, Failure
from zone import Zone

FOUR, SIX = "198.51.100.2", "2001:db8:6::2"
PUBLIC = "192.31.196.2"  # a NAT64 is asked for what is public only (RFC 6052 3.1); this is a sink's (RFC 7535)
FIXED = "198.18.1.2"  # IPv4 for SIX, by a static mapping


def phone_at(r, h, host, name):
    with host:
        p = Phone(r, h.kith, f"{name}@{DOMAIN}", h.secrets[name],
                  host=V6 if ":" in host.address else V4)
    p.register()
    return p


@test()
def phones_of_one_family_each(r):
    """A phone on an IPv6-only host and one on an IPv4-only host call each other through one server."""
    h = House(r, tls=(V4, V6), six=V6).people("six", "four").start()
    hosts = {"four": Host("four", FOUR), "six": Host("six", SIX)}
    hosts["four"].cannot_reach(V6)
    hosts["six"].cannot_reach(V4)
    four, six = (phone_at(r, h, host, name) for name, host in hosts.items())
    for caller, callee in ((six, four), (four, six), (six, four)):
        request = talk(caller, callee)
        # RFC 6157: the route names an address that this phone can reach, or a name
        route = request.get("record-route").split(",")[0]
        if ("[" in route) != (callee is six) and DOMAIN not in route:
            raise Failure(f"a phone at {callee.local[0]} was given the route {route}")


def domain_at(r, ca, name, host, dns):
    """A Kith on a host of its own, asking the test's DNS server over what that host has."""
    d = Domain(r, ca, name, (host.address,), f"[dns]\nservers = {dns}\n")
    d.kith.host = host
    return d


@test()
def domains_of_one_family_each(r):
    """A domain with both families, an IPv6-only one and an IPv4-only one: calls where there is a way."""
    ca = Authority(r)
    four, six = Host("four", FOUR), Host("six", SIX)
    zone = Zone(at=("127.0.0.1", four.router, six.router)).start()
    publish(zone, "both.test", V4, V6)
    publish(zone, "four.test", FOUR)
    publish(zone, "six.test", SIX)
    both = Domain(r, ca, "both.test", (V4, V6)).start("ann")
    others = [domain_at(r, ca, "four.test", four, f"{four.router}:53"),
              domain_at(r, ca, "six.test", six, f"[{six.router}]:53")]
    ann = both.phone("ann")
    for d in others:
        bob = d.start("bob").phone("bob")
        talk(bob, ann)  # it knows addresses of both families, and has a way to one of them
        talk(ann, bob)
        if d.kith.status()["connects_ok"] < 1:
            raise Failure(f"{d.name} did not connect by itself")
        other = "six" if d.name == "four.test" else "four"
        answer = bob.invite(f"bob@{other}.test", keyed()).expect(503, 20)
        if "no route to its addresses" not in answer.get("warning"):
            raise Failure(f"the caller was told {answer.get('warning')!r}")
    if both.kith.status()["connects_failed"]:
        raise Failure("the domain with both families met a connection that failed")


def domains_with_nat64(r, four_at=FOUR, fixed=None, **dns):
    """six.test on an IPv6-only host and four.test on an IPv4-only one, no way between them but a
    NAT64; `fixed` is the IPv4 address it keeps for six.test, `dns` what six.test's DNS server does."""
    ca = Authority(r)
    four, six = Host("four", four_at), Host("six", SIX)
    translate(r, fixed=fixed and (fixed, SIX))
    six.cannot_reach(four_at)
    four.cannot_reach(SIX)
    zone4, zone6 = Zone(at=(four.router,)), Zone(at=(six.router,), **dns)
    for zone in (zone4, zone6):
        publish(zone, "six.test", *filter(None, (fixed, SIX)))
        publish(zone, "four.test", four_at)
        zone.start()
    return (domain_at(r, ca, "six.test", six, f"[{six.router}]:53").start("alice"),
            domain_at(r, ca, "four.test", four, f"{four.router}:53").start("bob"), zone6)


def call_over_own_connection(domain, caller, callee):
    request = talk(caller, callee)
    if caller.aor not in request.get("from"):
        raise Failure(f"{callee.aor} was called by {request.get('from')}")
    status = domain.kith.status()
    if not status["connects_ok"] or status["connects_up"] < 1:
        raise Failure(f"{domain.name} has no connection of its own: {status}")


@test()
def domain_behind_nat64(r):
    """An IPv6-only server calls an IPv4-only domain: an AAAA by DNS64, its way by NAT64."""
    six, four, zone = domains_with_nat64(r, dns64=PREFIX)
    alice, bob = six.phone("alice"), four.phone("bob")
    call_over_own_connection(six, alice, bob)
    if not zone.count("edge.four.test", "AAAA"):
        raise Failure("nobody asked for the AAAA that DNS64 makes")
    talk(alice, bob)


@test()
def domain_behind_nat64_without_dns64(r):
    """An IPv6-only server calls an IPv4-only domain; nothing makes an AAAA, so it asks for the way itself."""
    six, four, zone = domains_with_nat64(r, four_at=PUBLIC, top="arpa")
    # RFC 8880 7.1: what a network with a NAT64 says of this name, and no other network does
    zone.host("ipv4only.arpa", *(PREFIX.replace("/96", a) for a in ("c000:aa", "c000:ab")))
    alice, bob = six.phone("alice"), four.phone("bob")
    call_over_own_connection(six, alice, bob)
    if zone.count("ipv4only.arpa", "AAAA") != 1:
        raise Failure("nobody asked for the prefix of the NAT64, or often")
    talk(alice, bob)


@test()
def domain_called_through_nat64(r):
    """An IPv4-only domain calls an IPv6-only server, at the IPv4 address a NAT64 keeps for it."""
    six, four, _ = domains_with_nat64(r, fixed=FIXED, dns64=PREFIX)
    call_over_own_connection(four, four.phone("bob"), six.phone("alice"))
    if six.kith.status()["connects_ok"]:
        raise Failure("six.test connected: the call shows nothing about the way to it")
