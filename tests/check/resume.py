#!/usr/bin/env python3
"""A run of `kith check` that is interrupted says so, keeps what it has, and --resume runs only the rest.

  tests/check/resume.py [--kith BINARY]
"""
import argparse
import asyncio
import json
import pathlib
import signal
import sys
import tempfile

import fake
import run

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PATIENCE_S = 60


async def ends(process):
    return await asyncio.wait_for(process.communicate(), PATIENCE_S)


async def main(kith, directory):
    (directory / "people.csv").write_text("".join(f"{u}@{fake.DOMAIN},{w}\n" for u, w in run.PEOPLE.items()))
    cert, out = run.Cert(directory), directory / "report.json"
    part = directory / "report.json.part"
    f = fake.Fake(run.PEOPLE, cert)
    await f.start()
    args = [kith, "check", "server", f"sips:127.0.0.1:{f.ports['TLS']}", "--name", fake.DOMAIN, "--accounts",
            directory / "people.csv", "--ca", cert.file, "--area", "parse", "--jobs", 1, "--json", out]

    async def start(*more):
        return await asyncio.create_subprocess_exec(*map(str, [*args, *more]), stdout=asyncio.subprocess.PIPE,
                                                    stderr=asyncio.subprocess.STDOUT)
    first = await start()
    async with asyncio.timeout(PATIENCE_S):
        while not part.exists() or part.read_text().count("\n") < 6:
            await asyncio.sleep(0.01)
    first.send_signal(signal.SIGINT)
    said, _ = await ends(first)
    before = part.read_text().splitlines()[1:]  # the first says what the rest is of
    assert first.returncode == 1 and b"interrupted" in said, said
    assert not out.exists(), "a report of an interrupted run"
    args[3] = f"sips:localhost:{f.ports['TLS']}"
    said, _ = await ends(await start("--resume"))
    assert b"of another target" in said, said
    args[3] = f"sips:127.0.0.1:{f.ports['TLS']}"
    second = await start("--resume", "--jobs", 8)
    said, _ = await ends(second)
    await f.stop()
    tests = json.loads(out.read_text())["tests"]
    listed, _ = await ends(await asyncio.create_subprocess_exec(
        str(kith), "check", "server", "--area", "parse", "--list", stdout=asyncio.subprocess.PIPE))
    total = listed.count(b"\n")
    assert 5 <= len(before) < total, f"{len(before)} of {total} tests ran before the interruption"
    assert len(tests) == total, f"{len(tests)} of {total} tests stand in the report"
    kept = [json.loads(line) for line in before]
    assert all(t in tests for t in kept), "a test that was done ran again"
    assert not part.exists(), "FILE.part was left"
    print(f"PASS resume: {len(before)} of {total} before the interruption")


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--kith", default=ROOT / "build" / "kith")
    with tempfile.TemporaryDirectory() as d:
        asyncio.run(main(p.parse_args().kith, pathlib.Path(d)))
    sys.exit(0)
