"""`kith check` against Kith itself: what fails is known, listed, and nothing else."""
import json
import pathlib
import threading

import rig
import tones
from cases import House, test
from rig import DOMAIN, Failure

ROOT = pathlib.Path(__file__).parent.parent.parent
EXPECTED = ROOT / "tests" / "check" / "kith.tsv"
BROWSER = EXPECTED.parent / "jssip.tsv"
LINPHONE = EXPECTED.parent / "linphone.tsv"
# of those that bind browsers, the areas that are about browsers: the others are shown by phones
BROWSER_AREAS = "browser,transport,media,media-security,conference,nat"
# without auth, which has a run of its own: a challenge for a bearer token (AUTH-011) ends linphonec
LINPHONE_AUTH = "AUTH-003,AUTH-005,AUTH-008"
LINPHONE_AREAS = ("core,transactions,routing,offer-answer,parse,transport,registration,outbound,privacy,"
                  "nat,media-security,media,events,conference,messaging,identity,push")
PEOPLE = 24


def expected(path=EXPECTED):
    """{row: (verdict, why)} of the rows that Kith (or another) is known not to pass."""
    rows = [line.split("\t") for line in path.read_text().splitlines()
            if line and not line.startswith("#")]
    return {row: (verdict, why) for row, verdict, why in rows}


KAMAILIO = EXPECTED.parent / "kamailio.cfg"


def run_check(r, target, people, *more, seconds=170, role="server"):
    out = r.dir / "report.json"
    done = r.run([r.kith_binary, "check", role, target, "--accounts", people, "--allow-writes",
                  "--quiet", "--json", out, *more], seconds=seconds, must=False)
    if not out.exists():
        raise Failure(f"no report: {done.stderr.strip()[-300:]}")
    return json.loads(out.read_text())


@test(seconds=240)
def check_kith(r):
    """Every requirement that Kith fails stands in tests/check/kith.tsv, and none there passes."""
    h = House(r, tls=("127.0.0.1", "::1"), legacy=(), four="127.0.0.1", six="::1")
    people = r.dir / "people.csv"
    people.write_text("".join(f"u{i}@{DOMAIN},{rig.SECRET.format(i)}\n" for i in range(PEOPLE)))
    h.kith.cli("user", "import", people)
    h.kith.start()
    report = run_check(r, f"sips:{DOMAIN}", people, "--ca", h.kith.ca, "--wss", "wss://127.0.0.1:5061/ws")
    known, wrong = expected(), []
    for row, verdict in sorted(report["rows"].items()):
        want = known.get(row, (None,))[0]
        if verdict in ("fail", "inconclusive") and verdict != want:
            why = [t["test"] + ": " + t["why"] for t in report["tests"]
                   if t["row"] == row and t["verdict"] == verdict]
            wrong.append(f"{row} is now {verdict} ({'; '.join(why)})")
        if want and verdict not in ("fail", "inconclusive"):
            wrong.append(f"{row} is now {verdict}: strike it from {EXPECTED.name}")
    if len(report["rows"]) < 100:
        wrong.append(f"only {len(report['rows'])} requirements were tested")
    if report["took_ms"] > 180000:
        wrong.append(f"it took {report['took_ms'] / 1000:.0f} s")
    if wrong:
        raise Failure("; ".join(wrong))


@test(seconds=240)
def check_kamailio(r):
    """The tester against Debian's Kamailio over UDP, TCP and TLS: most pass, and known faults show."""
    rig.have("kamailio", "openssl")
    r.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=kam",
           "-addext", f"subjectAltName=DNS:{DOMAIN}", "-keyout", r.dir / "key.pem", "-out",
           r.dir / "cert.pem"])
    text = KAMAILIO.read_text()
    for name, value in (("DIR", r.dir), ("DOMAIN", DOMAIN), ("UDP", 5060), ("TLS", 5061)):
        text = text.replace(f"@{name}@", str(value))
    (r.dir / "kamailio.cfg").write_text(text)
    people = r.dir / "people.csv"
    people.write_text("".join(f"u{i}@{DOMAIN},{rig.SECRET.format(i)}\n" for i in range(PEOPLE)))
    k = r.start("kamailio", ["kamailio", "-DD", "-E", "-f", r.dir / "kamailio.cfg", "-Y", r.dir])
    rig.wait(lambda: rig.socket.socket().connect_ex(("127.0.0.1", 5061)) == 0 or not k.alive(), 20,
             "kamailio")
    report = run_check(r, "sips:127.0.0.1:5061", people, "--ca", r.dir / "cert.pem", "--udp",
                       "127.0.0.1:5060", "--tcp", "127.0.0.1:5060", "--trust-network")
    rows = report["rows"]
    passed = [row for row in rows if rows[row] == "pass"]
    if len(passed) < 60:
        raise Failure(f"only {len(passed)} requirements pass")
    # RFC 6026, RFC 5393 and RFC 4320 came after the rules that this configuration keeps
    for row in ("CORE-027", "CORE-021", "CORE-018"):
        if rows[row] != "fail":
            raise Failure(f"{row} is {rows[row]}, and it is known to fail here")


@test(seconds=60)
def check_coturn(r):
    """`kith check relay` against Debian's coturn over UDP, TCP and TLS."""
    rig.have("turnserver", "openssl")
    r.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=turn",
           "-addext", f"subjectAltName=DNS:{DOMAIN}", "-keyout", r.dir / "key.pem", "-out",
           r.dir / "cert.pem"])
    people = [(f"u{i}", rig.SECRET.format(i)) for i in range(6)]
    (r.dir / "people.csv").write_text("".join(f"{u}@{DOMAIN},{s}\n" for u, s in people))
    users = [word for u, s in people for word in ("-u", f"{u}:{s}")]
    t = r.start("turnserver", ["turnserver", "-n", "-L", "127.0.0.1", "-L", "::1", "--listening-port", "3478",
                               "--tls-listening-port", "5349", "--cert", r.dir / "cert.pem", "--pkey",
                               r.dir / "key.pem", "-a", "-r", DOMAIN, *users, "--allow-loopback-peers",
                               "--no-cli", "--log-file", "stdout", "--pidfile", r.dir / "pid", "--db",
                               r.dir / "turndb"])
    rig.wait(lambda: rig.socket.socket().connect_ex(("127.0.0.1", 5349)) == 0 or not t.alive(), 20,
             "turnserver")
    report = run_check(r, "sips:127.0.0.1:5349", r.dir / "people.csv", "--ca", r.dir / "cert.pem", "--udp",
                       "127.0.0.1:3478", "--tcp", "127.0.0.1:3478", role="relay")
    passed = [row for row, verdict in report["rows"].items() if verdict == "pass"]
    if len(passed) < 14:
        raise Failure(f"only {len(passed)} requirements pass")


@test(seconds=240)
def check_baresip(r):
    """`kith check phone` with a baresip that answers by itself, over UDP. It gives up at the first challenge, which
    has an algorithm that it does not know, and would register again after 30 to 60 s: it is told to at once."""
    rig.have("baresip")
    out = r.dir / "report.json"
    tester = r.start("tester", [r.kith_binary, "check", "phone", f"{rig.V4}:5060", "--json", out])
    tester.wait_text("Waiting for a phone", 10)
    r.dns()
    bob = rig.Baresip(r, "bob", f"bob@{DOMAIN}", "x", port=5060, transport="udp", regint=60).start(register=False)
    bob.process.wait_text("Register: Function not implemented", 30)
    bob.command("uadel", f"sip:bob@{DOMAIN}")
    bob.command("uanew", (bob.home / "accounts").read_text().strip())
    rig.wait(lambda: out.exists() or not tester.alive(), 210, "the report")
    if not out.exists():
        raise Failure(f"no report: {tester.text()[-400:]}")
    rig.wait(lambda: not tester.alive(), 10, "the tester to end")
    passed = [row for row, verdict in json.loads(out.read_text())["rows"].items() if verdict == "pass"]
    if len(passed) < 20:
        raise Failure(f"only {len(passed)} requirements pass")


def judged(out, known, least):
    """The report in this file: Failure if one fails that is not known, or fewer than `least` pass."""
    known, rows = expected(known), json.loads(out.read_text())["rows"]
    wrong = [f"{row} is now {verdict}" for row, verdict in rows.items()
             if verdict in ("fail", "inconclusive") and row not in known]
    passed = [row for row, verdict in rows.items() if verdict == "pass"]
    if wrong or len(passed) < least:
        raise Failure(f"{len(passed)} requirements pass; {'; '.join(wrong)}")


def tester_cert(r):
    """(The certificate of the tester, the file with its key too.)"""
    r.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=tester",
           "-addext", f"subjectAltName=DNS:{DOMAIN},IP:{rig.V4}", "-keyout", r.dir / "key.pem", "-out",
           r.dir / "chain.pem"])
    (r.dir / "cert.pem").write_text((r.dir / "chain.pem").read_text() + (r.dir / "key.pem").read_text())
    return r.dir / "chain.pem", r.dir / "cert.pem"


def linphone(r, *which, least, more=""):
    """`kith check phone` with a linphone that answers by itself, over TLS: what newly fails is told."""
    rig.have("linphonec", "openssl")
    chain, cert = tester_cert(r)
    out = r.dir / "report.json"
    tester = r.start("tester", [r.kith_binary, "check", "phone", f"{rig.V4}:{rig.TLS_PORT}", "--cert", cert, *which,
                                "--patience", "2", "--json", out])
    tester.wait_text("Waiting for a phone", 10)
    r.dns()
    tone = tones.write(r.dir / "tone.wav", 660)
    rig.Linphone(r, "lina", f"lina@{DOMAIN}", "x", chain, tone, all_codecs=True,
                 more=more).start(register=False)
    rig.wait(lambda: not tester.alive(), 230, "the report")
    if not out.exists():
        raise Failure(f"no report: {tester.text()[-400:]}")
    judged(out, LINPHONE, least)


@test(seconds=260)
def check_linphone(r):
    """`kith check phone` with a linphone that answers by itself, over TLS: what newly fails is told."""
    # without keep-alives: one that follows a message which it could not read (PARSE-001) ends it (segmentation fault)
    linphone(r, "--area", LINPHONE_AREAS, least=25, more="[sip]\nkeepalive_period=600000\n")


@test(seconds=120)
def check_linphone_auth(r):
    """The area auth, but for AUTH-011: that challenge ends linphonec, and all tests after it."""
    # it calls from its account, and has a password for it: else it asks for one on its terminal
    linphone(r, "--row", LINPHONE_AUTH, least=2, more="[sip]\ndefault_proxy=0\n")


@test(seconds=320)
def check_chromium(r):
    """`kith check browser` with JsSIP in Debian's Chromium: what newly fails is told."""
    rig.have("chromium", "node", "openssl")
    if not (ROOT / "web" / "node_modules" / "jssip").is_dir():
        raise rig.Skip("web/node_modules is not installed (npm ci in web/)")
    _, cert = tester_cert(r)
    out = r.dir / "report.json"
    tester = r.start("tester", [r.kith_binary, "check", "browser", f"{rig.V4}:443", "--cert", cert,
                                "--area", BROWSER_AREAS, "--wait", "10", "--json", out])
    tester.wait_text("Waiting for a browser", 10)
    page = r.start("page", ["node", EXPECTED.parent / "jssip_page.mjs", f"wss://{rig.V4}:443/", f"bob@{DOMAIN}", "x"])
    rig.wait(lambda: not (tester.alive() and page.alive()), 300, "the report")
    rig.wait(lambda: not tester.alive(), 10, "the tester to end")
    if not out.exists():
        raise Failure(f"no report: {tester.text()[-300:]} {page.text()[-300:]}")
    judged(out, BROWSER, 20)


@test(seconds=60)
def check_finds_the_domain(r):
    """A domain without a port is found by NAPTR and SRV; nobody listens there, and the tester says so."""
    r.dns(four="127.0.0.1", six="::1")  # where nobody listens
    done = r.run([r.kith_binary, "check", "server", f"sips:{DOMAIN}", "--row", "PARSE-011"], seconds=50, must=False)
    where = f"{DOMAIN}: TLS at sip.{DOMAIN}:{rig.TLS_PORT}"
    if where not in done.stdout or done.returncode != 3:
        raise Failure(f"exit {done.returncode}: {(done.stdout + done.stderr).strip()[-300:]}")


@test(seconds=60)
def check_refuses_public_names(r):
    """Of a name with a private IPv4 address and one in 2002::/16 (6to4, here to 10.0.0.1), neither is asked."""
    r.dns(six="2002:a00:1::1")
    for target in (f"sips:{DOMAIN}", f"sips:sip.{DOMAIN}:{rig.TLS_PORT}"):
        done = r.run([r.kith_binary, "check", "server", target, "--row", "PARSE-011"], seconds=50, must=False)
        if "2002:a00:1::1 is a public address" not in done.stderr or done.returncode != 2:
            raise Failure(f"{target}: exit {done.returncode}: {(done.stdout + done.stderr).strip()[-300:]}")


def challenger(at):
    """(what came, the port) of a server in clear that answers OPTIONS and challenges all else."""
    came, listener = [], rig.socket.create_server((at, 0))

    def serve(conn):
        with conn, conn.makefile("rb") as lines:
            request = []
            for line in lines:
                if line != b"\r\n":
                    request.append(line.decode())
                    continue
                came.extend(request)
                ours = [h for h in request if h.split(":")[0] in ("Via", "From", "To", "Call-ID", "CSeq")]
                status = "200 OK" if request and request[0].startswith("OPTIONS") else "401 Unauthorized"
                conn.sendall((f"SIP/2.0 {status}\r\n{''.join(ours)}WWW-Authenticate: Digest realm=\"{DOMAIN}\", "
                              'nonce="n", algorithm=SHA-256, qop="auth"\r\nContent-Length: 0\r\n\r\n').encode())
                request = []

    def accept():
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
    threading.Thread(target=accept, daemon=True).start()
    return came, listener.getsockname()[1]


@test(seconds=60)
def check_keeps_credentials_off_the_wire(r):
    """In clear beyond this machine no challenge is answered, unless --trust-network says so."""
    (r.dir / "people.csv").write_text(f"u0@{DOMAIN},{rig.SECRET.format(0)}\n")
    for more, answers in (((), False), (("--trust-network",), True)):
        came, port = challenger(rig.V4)
        run_check(r, f"sip:{rig.V4}:{port};transport=tcp", r.dir / "people.csv", "--row", "REG-001", *more, seconds=50)
        if not any(line.startswith("REGISTER ") for line in came):
            raise Failure(f"no REGISTER came: {came[:3]}")
        if any(line.startswith("Authorization:") for line in came) != answers:
            raise Failure(f"credentials {'were not sent' if answers else 'were sent'} with {more}")
