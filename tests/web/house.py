#!/usr/bin/env python3
"""Runs the browser tests in a network namespace of their own (that of tests/e2e): house.py COMMAND...

Nothing in there reaches the machine's own network, packets can be dropped without harm to anybody,
and whatever is left inside at the end is ended. Exits as the command does; 77 when there can be no
namespace."""
import os
import pathlib
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
import net  # noqa: E402


def main():
    if os.geteuid() != 0:
        return 77
    try:
        space = net.Namespace(f"kith-web-{os.getpid()}")
    except OSError:
        return 77
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with open(space.etc / "hosts", "a") as hosts:
        hosts.write("203.0.113.10 example.org\n")
    try:
        return subprocess.run(space.command(sys.argv[1:]), check=False).returncode
    finally:
        space.remove()


if __name__ == "__main__":
    sys.exit(main())
