"""Things break: connections, the server itself."""
import subprocess

import tones
from cases import House, test
from phone import Call, Phone, keyed
from rig import DOMAIN, TLS_PORT, Failure, have, wait


def cut(local_port):
    """Kills the TCP connection with this client port, as a NAT that forgot it would."""
    have("ss")
    done = subprocess.run(["ss", "-K", "-H", "-t", "state", "established", "sport", "=",
                           f":{local_port}"], capture_output=True, text=True)
    if str(local_port) not in done.stdout:
        raise Failure(f"ss -K did not find the connection: {done.stdout}{done.stderr}")


def client_ports(pid):
    """Client ports of a process's connections to the main listener."""
    done = subprocess.run(["ss", "-H", "-t", "-n", "-p", "state", "established", "dport", "=",
                           f":{TLS_PORT}"], capture_output=True, text=True, check=True)
    lines = [line.split() for line in done.stdout.splitlines() if f"pid={pid}," in line]
    return [int(fields[2].rpartition(":")[2]) for fields in lines]


@test()
def phone_reconnects_in_call(r):
    """linphone's TLS connection dies in mid-call; it reconnects, and bob's hang-up reaches it."""
    h = House(r).people("lina", "bob").start()
    bob = h.by_legacy("bob", tone=880).start()
    lina = h.linphone("lina", tones.write(r.dir / "t.wav", 660)).start()
    for n, end in ((1, bob), (2, lina)):
        lina.dial(f"bob@{DOMAIN}")
        lina.up(nth=n)
        bob.up(nth=n)
        before = client_ports(lina.process.pid)
        for port in before:
            cut(port)
        wait(lambda old=before: [p for p in client_ports(lina.process.pid) if p not in old], 20,
             "linphone to reconnect")
        lina.state("LinphoneRegistrationOk", 20, nth=n + 1)
        end.hang_up()
        bob.closed(20, nth=n)
        lina.closed(20, nth=n)


@test()
def scripted_phone_reconnects(r):
    """The same with a scripted phone: a new connection, REGISTER, and both directions work."""
    h = House(r).people("alice", "bob").start()
    alice = Phone(r, h.kith, f"alice@{DOMAIN}", h.secrets["alice"])
    bob = Phone(r, h.kith, f"bob@{DOMAIN}", h.secrets["bob"])
    alice.register()
    bob.register()
    call = alice.invite(f"bob@{DOMAIN}", keyed())
    request = bob.expect("INVITE")
    bob.answer(request, 200, "OK", keyed("active"), tag="b1")
    call.expect(200)
    call.ack()
    bob.expect("ACK")
    instance = alice.instance
    alice.socket.close()
    again = Phone(r, h.kith, f"alice@{DOMAIN}", h.secrets["alice"])
    again.instance = instance
    again.register()
    back = Call.from_invite(bob, request, "b1")
    back.request("INFO", "Info-Package: x")
    again.answer(again.expect("INFO"), 200, "OK")
    bob.expect(200, method="INFO")
    call.phone = again
    call.bye()
    bob.answer(bob.expect("BYE"), 200, "OK")
    again.expect(200, method="BYE")


@test()
def closed_flow_is_unreachable_at_once(r):
    """A phone whose connection is gone: 480 at once, no waiting for a timeout."""
    import time
    h = House(r).people("alice", "bob").start()
    alice = Phone(r, h.kith, f"alice@{DOMAIN}", h.secrets["alice"])
    alice.register()
    bob = Phone(r, h.kith, f"bob@{DOMAIN}", h.secrets["bob"])
    bob.register()
    bob.close()
    started = time.monotonic()
    alice.invite(f"bob@{DOMAIN}", keyed()).expect(480)
    if time.monotonic() - started > 10:  # a time-out would be 32 s
        raise Failure("480 took too long")


@test(150)
def kill_and_restart(r):
    """kill -9 of the server: accounts and bindings are there again, phones come back."""
    h = House(r).people("alice", "lina", "lars").start()
    lina = h.linphone("lina", tones.write(r.dir / "a.wav", 660)).start()
    lars = h.linphone("lars", tones.write(r.dir / "b.wav", 990)).start()
    with Phone(r, h.kith, f"alice@{DOMAIN}", h.secrets["alice"]) as p:
        p.register(expires=600)
        h.kith.wait_bindings(f"alice@{DOMAIN}", 1)
        h.kith.kill()
        h.kith.start()
    # Alice's phone does not come back: her binding is there, but unreachable.
    h.kith.wait_bindings(f"alice@{DOMAIN}", 1)
    lina.state("LinphoneRegistrationOk", 80, nth=2)
    lars.state("LinphoneRegistrationOk", 80, nth=2)
    with Phone(r, h.kith, f"alice@{DOMAIN}", h.secrets["alice"]) as p:
        p.invite(f"nobody@{DOMAIN}", keyed(), authorize=True).expect(404)
    lina.dial(f"lars@{DOMAIN}")
    lina.up()
    tones.heard(lina.recordings, 990)
    lina.hang_up()
    lars.closed()


@test()
def kill_during_call(r):
    """kill -9 in mid-call: phones reconnect, and the hang-up still finds the other side."""
    h = House(r).people("alice", "bob").start()
    phones = {}
    for name in ("alice", "bob"):
        phones[name] = Phone(r, h.kith, f"{name}@{DOMAIN}", h.secrets[name])
        phones[name].register()
    alice, bob = phones["alice"], phones["bob"]
    call = alice.invite(f"bob@{DOMAIN}", keyed())
    bob.answer(bob.expect("INVITE"), 200, "OK", keyed("active"), tag="b1")
    call.expect(200)
    call.ack()
    bob.expect("ACK")
    h.kith.kill()
    h.kith.start()
    for name in ("alice", "bob"):
        new = Phone(r, h.kith, f"{name}@{DOMAIN}", h.secrets[name])
        new.instance = phones[name].instance
        new.register()
        phones[name] = new
    call.phone = phones["alice"]
    call.bye()
    phones["bob"].answer(phones["bob"].expect("BYE"), 200, "OK")
    phones["alice"].expect(200, method="BYE")
