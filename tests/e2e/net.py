"""Network namespaces, made and removed by run.py: one per test, nothing leads out of them."""
import os
import pathlib
import shutil
import signal
import subprocess
import time


def ip(*args, must=True):
    done = subprocess.run(["ip", *args], capture_output=True, text=True)
    if must and done.returncode != 0:
        raise OSError(f"ip {' '.join(args)}: {done.stderr.strip()}")
    return done.stdout


def namespaces(prefix):
    """Those whose name begins so."""
    names = [line.split()[0] for line in ip("netns", "list", must=False).splitlines() if line]
    return [name for name in names if name.startswith(prefix)]


def remove(name):
    """Away with a namespace, and with what runs inside: its maker started that, nobody else."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        pids = [int(p) for p in ip("netns", "pids", name, must=False).split()]
        for pid in pids:
            try:
                os.kill(pid, how)
            except ProcessLookupError:
                pass
        end = time.monotonic() + 2
        while pids and time.monotonic() < end and ip("netns", "pids", name, must=False).strip():
            time.sleep(0.05)
    ip("netns", "del", name, must=False)
    shutil.rmtree(pathlib.Path("/etc/netns") / name, ignore_errors=True)


class Namespace:
    def __init__(self, name):
        self.name = name
        self.etc = pathlib.Path("/etc/netns") / name
        ip("netns", "add", name)
        try:
            self._set_up()
        except OSError:
            self.remove()
            raise

    def _set_up(self):
        n = ("-n", self.name)
        ip(*n, "link", "set", "lo", "up")
        # baresip ignores lo, and linphone wants a default route to think that it is online.
        ip(*n, "link", "add", "e0", "type", "veth", "peer", "name", "e1")
        for host in range(10, 20):
            ip(*n, "addr", "add", f"203.0.113.{host}/24", "dev", "e0")
        # One IPv6 address only: with several the newest is the source, which phones do not expect.
        ip(*n, "addr", "add", "2001:db8:1::10/64", "dev", "e0", "nodad")
        # Others, for servers only: on lo, where phones do not look for addresses of their own.
        for host in range(11, 15):
            ip(*n, "addr", "add", f"2001:db8:1::{host}/128", "dev", "lo", "nodad")
        ip(*n, "link", "set", "e0", "up")
        ip(*n, "link", "set", "e1", "up")
        ip(*n, "route", "add", "default", "via", "203.0.113.1", "dev", "e0")
        ip(*n, "-6", "route", "add", "default", "via", "2001:db8:1::1", "dev", "e0")
        # `ip netns exec` lays these over /etc for what runs inside.
        self.etc.mkdir(parents=True)
        (self.etc / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        host = os.uname().nodename
        (self.etc / "hosts").write_text(f"127.0.0.1 localhost {host}\n::1 localhost\n")

    def command(self, args):
        return ["ip", "netns", "exec", self.name, *args]

    def remove(self):
        remove(self.name)
