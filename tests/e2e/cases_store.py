"""Staying up: killed in the middle of writing, a full disk, a lock, told to stop in mid-call."""
import contextlib
import os
import re
import signal
import sqlite3
import subprocess
import threading
import time

from cases import House, test
from phone import Phone, keyed
from rig import DOMAIN, TLS_PORT, Failure, Skip, have, wait

HOME = "127.0.0.1"


def contacts(h):
    """{user: contact} as they stand in the file."""
    with contextlib.closing(sqlite3.connect(f"file:{h.kith.data}/kith.db?mode=ro", uri=True)) as db:
        return dict(db.execute("SELECT a.user, b.contact FROM binding b JOIN account a"
                               " ON a.id = b.account_id"))


@test(120)
def kill_while_phones_register(r):
    """kill -9 in the middle of 1,000 registrations a second: none that got its 200 is lost."""
    phones = 200
    load = r.kith_binary.parent / "bench" / "load" / "bench_load"
    if not os.access(load, os.X_OK):
        raise Skip("bench_load is not built")
    h = House(r, tls=(HOME,), more="[log]\nlevel = warn\n")
    users = r.run([load, "--domain", DOMAIN, "users", str(phones)])
    h.kith.cli("user", "import", "-", give=str(users))
    h.start()
    for run in range(3):
        p = subprocess.Popen([load, "--server", f"{HOME}:{TLS_PORT}", "--pid", "0", "--domain",
                              DOMAIN, "--json", "-"], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=open(r.dir / f"load{run}.err", "w"), text=True)
        p.stdin.write(f"open {phones}\n")
        p.stdin.flush()
        p.stdout.readline()
        p.stdin.write(f"moves 1\nwidth {phones // 2}\nrate 1000\nrefresh 4000\nacked {phones}\n")
        p.stdin.close()
        time.sleep(1.1 + 0.3 * run)
        h.kith.kill()
        told = p.stdout.read().splitlines()
        p.wait()
        rate = re.search(r'"done":(\d+)', told[0])
        acked = {f"u{int(u):05}": int(n) for u, n in (line.split() for line in told[1:])}
        if not rate or int(rate.group(1)) < 200 or len(acked) != phones:
            raise Failure(f"the load did not run: {told[:2]}")
        h.kith.start()
        stored = contacts(h)
        for user, n in acked.items():
            has = re.search(r";n=(\d+)", stored.get(user, ""))
            if n and (not has or int(has.group(1)) < n):
                raise Failure(f"{user} got a 200 for ;n={n}, stored is {stored.get(user)!r}")
        print(f"run {run}: {rate.group(1)} registrations, all there")


def failing(h):
    return h.kith.status()["store"].get("failing")


def moved(p, n):
    return p.contact.replace(">", f";n={n}>") + ";reg-id=1"


def until_refused(p, what):
    for n in range(400):
        answer = p.register(contact=moved(p, n), must=None)
        if answer.status != 200:
            if answer.status not in (500, 503) or not answer.get("retry-after"):
                raise Failure(f"{what}: {answer.first}, not 500 or 503 with Retry-After")
            return
    raise Failure(f"{what}: 400 registrations were taken")


def trouble(r, begin, end, words):
    """What must be stored is refused, the rest goes on, the status says why, and it heals itself."""
    h = House(r).people("alice", "bob", "carol")
    begin(h, "prepare")
    h.start()
    with Phone(r, h.kith, f"alice@{DOMAIN}", h.secrets["alice"]) as alice, \
            Phone(r, h.kith, f"bob@{DOMAIN}", h.secrets["bob"]) as bob, \
            Phone(r, h.kith, f"carol@{DOMAIN}", h.secrets["carol"]) as carol:
        alice.register()
        bob.register()
        begin(h, "now")
        until_refused(carol, words)
        wait(lambda: failing(h), 5, "the status to say that the store fails")
        said = h.kith.status()["store"].get("trouble", "")
        if words not in said:
            raise Failure(f"the status says {said!r}, not that {words!r}")
        alice.register()  # a refresh changes nothing that must be stored at once
        call = alice.invite(f"bob@{DOMAIN}", keyed())
        bob.answer(bob.expect("INVITE"), 200, "OK", keyed("active"), tag="b1")
        call.expect(200)
        call.ack()
        bob.expect("ACK")
        if carol.register(contact=moved(carol, 1000), must=None).status not in (500, 503):
            raise Failure("a new contact was taken while nothing can be stored")
        end(h)
        wait(lambda: not failing(h), 10, "the status to say that the store works again")
        wait(lambda: carol.register(contact=moved(carol, 1001), must=None).status == 200, 10,
             "registrations to be taken again")
        call.request("BYE")
        bob.answer(bob.expect("BYE"), 200)
    h.kith.kill()
    h.kith.start()
    if ";n=1001" not in contacts(h).get("carol", ""):
        raise Failure(f"carol's contact is not stored: {contacts(h)}")


@test()
def full_disk(r):
    """The disk is full: new registrations are refused, calls go on, and it heals by itself."""
    have("mount")

    def begin(h, when):
        if when == "prepare":
            kept = {p.relative_to(h.kith.data): p.read_bytes()
                    for p in h.kith.data.rglob("*") if p.is_file()}
            r.run(["mount", "-t", "tmpfs", "-o", "size=3m,mode=0700", "none", h.kith.data])
            for name, text in kept.items():
                path = h.kith.data / name
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                path.write_bytes(text)
                path.chmod(0o600)
            return
        with open(h.kith.data / "ballast", "wb", buffering=0) as f, \
                contextlib.suppress(OSError):
            while True:
                f.write(bytes(4096))

    trouble(r, begin, lambda h: (h.kith.data / "ballast").unlink(), "no space left")


@test()
def locked_store(r):
    """Another process holds the database's lock: the same."""
    gone, held = threading.Event(), threading.Event()

    def hold(path):
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("BEGIN IMMEDIATE")
        held.set()
        gone.wait(80)
        db.execute("ROLLBACK")
        db.close()

    def begin(h, when):
        if when == "prepare":
            return
        threading.Thread(target=hold, args=(h.kith.data / "kith.db",), daemon=True).start()
        held.wait(10)

    trouble(r, begin, lambda h: gone.set(), "locked by another process")


def stop(h):
    h.kith.process.p.send_signal(signal.SIGTERM)


def ends(h, seconds):
    """Its exit code."""
    try:
        return h.kith.process.p.wait(seconds)
    except subprocess.TimeoutExpired:
        raise Failure(f"kith has not ended after {seconds} s") from None


@test(60)
def stop_lets_calls_be_answered(r):
    """SIGTERM: what rings may be answered, nothing new begins, then it ends by itself with 0."""
    h = House(r).people("alice", "bob", "carol").start()
    with Phone(r, h.kith, f"alice@{DOMAIN}", h.secrets["alice"]) as alice, \
            Phone(r, h.kith, f"bob@{DOMAIN}", h.secrets["bob"]) as bob, \
            Phone(r, h.kith, f"carol@{DOMAIN}", h.secrets["carol"]) as carol:
        for p in (alice, bob, carol):
            p.register()
        call = alice.invite(f"bob@{DOMAIN}", keyed())
        asked = bob.expect("INVITE")
        bob.answer(asked, 180, "Ringing", tag="b1")
        call.expect(180)
        stop(h)
        time.sleep(1)
        if h.kith.process.p.poll() is not None:
            raise Failure("kith did not wait for the call to be answered")
        if h.kith._listens():
            raise Failure("it still takes connections")
        carol.invite(f"alice@{DOMAIN}", keyed()).expect(503)
        bob.answer(asked, 200, "OK", keyed("active"), tag="b1")
        call.expect(200)
        call.ack()
        bob.expect("ACK")
        if ends(h, 5) != 0:
            raise Failure(f"exit code {h.kith.process.p.returncode}")


@test(60)
def second_signal_stops_at_once(r):
    """A second SIGTERM does not wait for what rings; without one the grace period is the end."""
    for signals, least, most in ((2, 0, 3), (1, 2.5, 8)):
        h = House(r, more="[limits]\ndrain = 4s\n")
        if signals == 2:
            h.people("alice", "bob")
            secrets = h.secrets
        h.start()
        with Phone(r, h.kith, f"alice@{DOMAIN}", secrets["alice"]) as alice, \
                Phone(r, h.kith, f"bob@{DOMAIN}", secrets["bob"]) as bob:
            alice.register()
            bob.register()
            alice.invite(f"bob@{DOMAIN}", keyed())
            bob.expect("INVITE")
            begun = time.monotonic()
            for _ in range(signals):
                stop(h)
                time.sleep(0.5)
            code, took = ends(h, most), time.monotonic() - begun
            if code != 0 or took < least:
                raise Failure(f"exit code {code} after {took:.1f} s")
