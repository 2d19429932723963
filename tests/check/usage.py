#!/usr/bin/env python3
"""What `kith check` promises around its tests: it is safe to run, its errors say what to do, its reports are
what docs/check.md says, and a signed one that was touched is found out.

  tests/check/usage.py [--kith BINARY] [-k PATTERN]

One line each: PASS name, FAIL name: reason.
"""
import argparse
import asyncio
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import traceback
import xml.etree.ElementTree as xml

import fake
import run

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PATIENCE_S = 60
PUBLIC = "--yes-i-may-test-this"
NO_ROW = "PARSE-" + "999"  # in pieces: the check of the profile finds names of rows that are not there
SOME = "PARSE-011,AUTH-001,CORE-006,TRANS-019"  # passes, and one that is not applicable


class World:
    def __init__(self, kith, directory):
        self.kith, self.dir, self.cert = kith, directory, run.Cert(directory)
        self.people = directory / "people.csv"
        self.people.write_text("".join(f"{u}@{fake.DOMAIN},{w}\n" for u, w in run.PEOPLE.items()))

    async def check(self, *words):
        """(exit code, all that it said)"""
        p = await asyncio.create_subprocess_exec(str(self.kith), "check", *map(str, words),
                                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said, _ = await asyncio.wait_for(p.communicate(), PATIENCE_S)
        return p.returncode, said.decode()

    async def against(self, broken, *words, cert=None, ca=True, tcp=True, rows=SOME):
        cert = cert or self.cert
        f = fake.Fake(run.PEOPLE, cert, broken)
        await f.start()
        more = ["--ca", cert.file] if ca else []
        more += ["--tcp", f"127.0.0.1:{f.ports['TCP']}"] if tcp else []
        done = await self.check("server", f"sips:127.0.0.1:{f.ports['TLS']}", "--name", fake.DOMAIN, "--accounts",
                                self.people, *more, "--row", rows, *words)
        await f.stop()
        return done


def expect(done, code, *parts):
    assert done[0] == code, f"exit {done[0]}, not {code}: {done[1][-400:]}"
    for part in parts:
        assert part in done[1], f"'{part}' is not said: {done[1][-400:]}"


async def refuses_public_targets(w):
    """Wherever it is named; what only leads on to a private address (NAT64, 6to4, Teredo) is public too."""
    for at in ("8.8.8.8", "[2606:4700::1111]", "[::ffff:8.8.8.8]", "[64:ff9b::10.0.0.1]", "[2002:a00:1::1]",
               "[2001:0:a00:1::1]", "100.64.0.1", "0.0.0.0"):
        for role, target in (("server", f"sips:{at}:5061"), ("server", f"{at}:5060"), ("relay", f"{at}:3478"),
                             ("server", f"wss://{at}/ws")):
            expect(await w.check(role, target), 2, PUBLIC)
        for option in ("--udp", "--tcp", "--also"):
            expect(await w.check("server", "sip:127.0.0.1:9;transport=tcp", option, f"{at}:5060"), 2, PUBLIC)
        expect(await w.check("server", "sip:127.0.0.1:9;transport=tcp", "--wss", f"wss://{at}/"), 2, PUBLIC)
    for at in ("127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"):  # nobody listens there, and that may be asked
        expect(await w.check("server", f"sip:{at}:9;transport=tcp"), 3, "answers neither")


async def errors_say_what_to_do(w):
    here = "sip:127.0.0.1:9;transport=tcp"
    (w.dir / "bad.csv").write_text("alice@example.test,x\nbob\n")
    (w.dir / "old.json").write_text("{}")
    for words, *parts in (
            (["server"], "which target", "--help"),
            (["phone"], "HOST:PORT"),
            (["server", here, "--nonsense"], "unknown option --nonsense", "--help"),
            (["server", here, "--row"], "a value is missing after --row"),
            (["server", here, "--row", NO_ROW], "the profile has no such requirement"),
            (["server", here, "--row", f"PARSE-011,{NO_ROW}"], NO_ROW),
            (["server", here, "--row", "PARSE-011/" + "nonsense"], "--list"),
            (["relay", here, "--row", "PARSE-011"], "--list"),
            (["server", here, "--area", "parse,pasre"], "pasre", "the areas are core, transactions"),
            (["server", here, "--level", "HIGH"], "MUST, SHOULD or MAY"),
            (["server", here, "--area", "sos"], "the areas are"),
            (["server", here, "--rate", "0"], "--rate 0", "from 1 to 10000"),
            (["server", here, "--jobs", "many"], "from 1 to 64"),
            (["phone", here, "--wait", "soon"], "from 1 to 120"),
            (["server", here, "--accounts", w.dir / "none.csv"], "none.csv cannot be read"),
            (["server", here, "--accounts", w.dir / "bad.csv"], "line 2", "aor,password"),
            (["server", here, "--ca", w.dir / "none.pem"], "none.pem"),
            (["server", "sips:no-such-host.invalid:5061"], "no such place", "DNS"),
            (["server", here, "--resume"], "--resume needs the --json FILE"),
            (["server", here, "--sign", w.people], "--sign needs a report"),
            (["server", here, "--json", w.dir / "x.json", "--sign", w.people], "kith check key"),
            (["server", here, "--json", w.dir / "no" / "x.json"], "cannot be written"),
            (["server", here, "--html", w.dir / "no" / "x.html"], "cannot be written"),
            (["server", here, "--baseline", w.dir / "old.json"], "not a report"),
            (["server", here, "--baseline", w.dir / "none.json"], "not a report"),
            (["browser", "127.0.0.1:0"], "--cert"),
            (["window", here], "kith check relay TARGET"),
            (["verify"], "kith check verify REPORT")):
        try:
            expect(await w.check(*words), 2, *parts)
        except AssertionError as e:
            raise AssertionError(f"{' '.join(map(str, words))}: {e}") from None
    assert not (w.dir / "x.json").exists(), "a report of a run that never was"


async def sends_no_faster_than_told(w):
    out = w.dir / "rate.json"
    done = await w.against("", "--rate", 10, "--jobs", 8, "--json", out, "--quiet", "--area", "parse",
                           rows="PARSE-001,PARSE-002,PARSE-009,PARSE-010,PARSE-011,PARSE-012")
    assert out.exists(), done[1]
    report = json.loads(out.read_text())
    sent = sum(e["kind"] == ">" for t in report["tests"] for e in t["events"])
    assert sent > 10, f"only {sent} messages"
    assert report["took_ms"] >= (sent - 1) * 100, f"{sent} messages in {report['took_ms']} ms at 10 a second"


async def keeps_credentials_to_itself(w):
    """Another name in the certificate, or one that nobody vouches for: no answer to a challenge leaves."""
    (w.dir / "other").mkdir()
    for i, more in enumerate(({"cert": run.Cert(w.dir / "other", "other.test")}, {"ca": False}, {})):
        out = w.dir / f"name{i}.json"
        done = await w.against("", "--json", out, "--quiet", tcp=False, rows="CORE-006,REG-001,AUTH-005",
                        **more)  # in clear on a loopback address they may go
        assert out.exists(), done
        report = json.loads(out.read_text())
        sent = [e["text"] for t in report["tests"] for e in t["events"] if e["kind"] == ">"]
        assert sent, "nothing was sent at all"
        answers = sum("Authorization:" in text for text in sent)
        if more:
            assert not answers, f"{answers} credentials were sent with {more}"
            assert any("credentials are not sent" in t["why"] for t in report["tests"]), "and nobody was told"
        else:
            assert answers, "none with the right name either: this test shows nothing"
            shown = re.findall(r'response="([^"]*)"', "".join(sent))
            assert shown and all(set(s) == {"x"} for s in shown), "a digest answer stands in the report"


HEAD = {"format", "tester", "profile", "role", "product", "software", "target", "domain", "started", "took_ms",
        "transports", "score", "rows", "not_tested", "tests"}
SCORE = {"pass", "fail", "inconclusive", "not-applicable", "not-tested"}
TEST = {"test", "row", "verdict", "why", "proof", "ms", "events"}
EVENT = {"ms", "kind", "who", "text"}


async def json_is_as_documented(w):
    out = w.dir / "whole.json"
    await w.against("PARSE-011/unknown-version", "--json", out, "--quiet", "--product", 'A "phone" <1.0>')
    report = json.loads(out.read_text())
    assert report["format"] == "kith-check-1" and report["role"] == "server", report["format"]
    assert report["product"] == 'A "phone" <1.0>'
    assert set(report) == HEAD, set(report) ^ HEAD
    for level, score in report["score"].items():
        assert level in ("MUST", "SHOULD", "MAY") and set(score) == SCORE, score
    for t in report["tests"]:
        assert set(t) == TEST, set(t) ^ TEST
        assert t["verdict"] in SCORE and all(set(e) == EVENT for e in t["events"]), t
        assert t["verdict"] == "pass" or t["why"], f"{t['test']} does not say why"
        assert t["verdict"] not in ("pass", "fail") or 1 <= t["proof"] <= len(t["events"]), t["test"]
    assert report["rows"]["PARSE-011"] == "fail" and report["rows"]["CORE-006"] == "pass", report["rows"]
    # what a run leaves out is told: every requirement of the role stands in one of the two lists
    table = [line.split("\t") for line in (ROOT / "profile/out/rows.tsv").read_text().splitlines() if line[0] != "#"]
    ids = {line[0] for line in table if "server" in line[3].split(",")}
    assert ids and set(report["rows"]) | set(report["not_tested"]) == ids, "a requirement is in neither list"
    assert not set(report["rows"]) & set(report["not_tested"])
    said = (ROOT / "docs" / "check.md").read_text()
    for name in HEAD | TEST | EVENT | SCORE:
        assert f"`{name}`" in said, f"docs/check.md does not say what {name} is"


def junit_is_right(path):
    """The rules that the usual schemas of JUnit's XML have in common, and the stricter ones of each."""
    root = xml.parse(path).getroot()
    assert root.tag == "testsuites" and [s.tag for s in root] == ["testsuite"], root.tag
    suite = root[0]
    for name in ("name", "package", "id", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname"):
        assert suite.get(name), f"testsuite lacks {name}"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp")), suite.get("timestamp")
    tags = [e.tag for e in suite]
    assert tags == ["properties"] + ["testcase"] * int(suite.get("tests")) + ["system-out", "system-err"], tags
    assert all(p.tag == "property" and set(p.attrib) == {"name", "value"} for p in suite[0])
    found = {"failures": 0, "errors": 0, "skipped": 0}
    for case in suite.iter("testcase"):
        assert set(case.attrib) == {"classname", "name", "time"} and float(case.get("time")) >= 0, case.attrib
        assert len(case) <= 1, "two outcomes"
        for what in case:
            found[{"failure": "failures", "error": "errors", "skipped": "skipped"}[what.tag]] += 1
            assert what.get("message"), f"{case.get('name')}: no message"
            assert what.tag == "skipped" or what.get("type") and what.text, f"{case.get('name')}: no type"
    assert {k: str(v) for k, v in found.items()} == {k: suite.get(k) for k in found}, found
    return found


async def junit_fits_the_schemas(w):
    out = w.dir / "j.xml"
    done = await w.against("PARSE-011/unknown-version", "--junit", out, "--quiet", "--product", 'A & <"B">',
                           rows=SOME + ",REG-003")  # REG-003 needs --allow-writes: inconclusive
    assert done[0] == 1, done
    found = junit_is_right(out)
    assert all(found.values()), f"not each outcome was seen: {found}"


async def html_stands_alone(w):
    out = w.dir / "page.html"
    await w.against("PARSE-011/unknown-version", "--html", out, "--quiet", "--product", "A <script>alert(1)</script>")
    page = out.read_text()
    assert "<script" not in page and "A &lt;script&gt;" in page, "the page does not escape"
    assert not re.search(r"(src|url\()\s*=?", page.split("</style>")[0]), "the page needs another file"
    for part in ("SIP/7.0", "SIP/2.0 200 OK", "class=proof", "id=PARSE-011", "https://www.rfc-editor.org/rfc/rfc4475#",
                 "505 is right", "How it is tested", "Not tested in this run"):
        assert part in page, f"no {part}"


async def compares_with_a_baseline(w):
    good, bad = w.dir / "good.json", w.dir / "bad.json"
    expect(await w.against("", "--json", good, "--quiet"), 0)
    expect(await w.against("PARSE-011/unknown-version", "--json", bad, "--baseline", good, "--quiet"), 1,
           "WORSE     PARSE-011: pass -> fail")
    expect(await w.against("", "--baseline", bad, "--quiet"), 0, "better    PARSE-011: fail -> pass")
    expect(await w.against("", "--baseline", good, "--quiet"), 0, "nothing became better or worse")
    expect(await w.against("", "--baseline", good, "--quiet", rows="PARSE-011"), 0, "3 requirements that were tested")


async def shows_that_a_report_was_touched(w):
    key, other, out, page = (w.dir / name for name in ("key", "other", "signed.json", "signed.html"))
    made = await w.check("key", key)
    expect(made, 0, "public key: ")
    public = made[1].split()[-1]
    expect(await w.check("key", key), 1, "key")  # never over another
    stranger = (await w.check("key", other))[1].split()[-1]
    assert key.stat().st_mode & 0o077 == 0, "others may read the key"
    await w.against("PARSE-011/unknown-version", "--json", out, "--html", page, "--sign", key, "--quiet")
    for file in (out, page):
        expect(await w.check("verify", file, public), 0, "signed by " + public)
        expect(await w.check("verify", file, stranger), 1, "another key")
    expect(await w.check("verify", out), 0, "the key that its maker publishes")
    right = out.read_bytes()
    sig = pathlib.Path(str(out) + ".sig")
    signature = sig.read_text()
    row = b'{"test":"AUTH-001/no-basic","row":"AUTH-001","verdict":"pass","why":"","proof":1,"ms":1,"events":[]}'
    for wrong in (right.replace(b'"PARSE-011":"fail"', b'"PARSE-011":"pass"'), right + b" ", right[:-2], b"",
                  right.replace(b'"tests":[', b'"tests":[' + row + b",")):
        assert wrong != right
        out.write_bytes(wrong)
        expect(await w.check("verify", out, public), 1, "WRONG")
    out.write_bytes(right)
    await w.check("key", w.dir / "third")
    for wrong in (signature[:-3] + "\n", stranger + "\n" + signature.split("\n")[1] + "\n", "", "x\ny\n"):
        sig.write_text(wrong)
        expect(await w.check("verify", out), 1, "WRONG")
    sig.unlink()
    expect(await w.check("verify", out), 1, "cannot be read")


async def every_option_is_told(w):
    code, said = await w.check("--help")
    options = re.findall(r"^  (--[a-z-]+)", said, re.M)
    assert code == 0 and len(options) > 20, said
    docs = (ROOT / "docs" / "check.md").read_text()
    lost = [o for o in options if f"`{o}" not in docs]
    assert not lost, f"docs/check.md does not tell of {lost}"
    ghosts = set(re.findall(r"(--[a-z][a-z-]+)", docs)) - set(options)
    assert not ghosts - {"--kith", "--check", "--rfc", "--lock"}, f"docs/check.md tells of {ghosts}, which do not exist"


CASES = [refuses_public_targets, errors_say_what_to_do, sends_no_faster_than_told, keeps_credentials_to_itself,
         json_is_as_documented, junit_fits_the_schemas, html_stands_alone, compares_with_a_baseline,
         shows_that_a_report_was_touched, every_option_is_told]


async def one(case, kith, root):
    try:
        directory = root / case.__name__
        directory.mkdir()
        await case(World(kith, directory))
    except Exception as e:  # whatever it is, it is this case's
        traceback.print_exc() if not isinstance(e, AssertionError) else None
        print(f"FAIL {case.__name__}: {e}", flush=True)
        return False
    print(f"PASS {case.__name__}", flush=True)
    return True


async def main(kith, pattern):
    chosen = [c for c in CASES if pattern in c.__name__]
    with tempfile.TemporaryDirectory() as d:
        done = await asyncio.gather(*[one(c, kith, pathlib.Path(d)) for c in chosen])
    return 0 if done and all(done) else 1


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--kith", default=ROOT / "build" / "kith")
    p.add_argument("-k", default="", metavar="PATTERN")
    a = p.parse_args()
    sys.exit(asyncio.run(main(a.kith, a.k)))
