"""The bench on which real phones are tried: one network namespace, one Kith, phones, a capture.

A test runs inside a namespace of its own (run.py makes and removes it): interface e0 carries
203.0.113.10-19 and 2001:db8:1::10, a dnsmasq answers for the test's domains, nothing leads out.
Everything a test starts is started through Rig, which ends it again, by process id.

Waiting is always for a condition with a deadline (Rig.wait), never for a length of time.
"""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

V4 = "203.0.113.10"
V6 = "2001:db8:1::10"
DOMAIN = "sip.test"
TLS_PORT, LEGACY_TLS_PORT, LEGACY_PORT = 5061, 5071, 5060
# Long enough and in no list; a test of weak ones makes its own.
SECRET = "orbit-tern-glove-mast-{}"


class Failure(Exception):
    """The product (or a phone) did not do what the test asks."""


class Skip(Exception):
    """This machine lacks what the test needs."""


def have(*programs):
    for p in programs:
        if not shutil.which(p):
            raise Skip(f"{p} is not installed")


def wait(condition, seconds, what):
    """The first true value of condition(); Failure after so many seconds."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f"waited {seconds} s for {what() if callable(what) else what}")
        time.sleep(0.02)


class Process:
    """A program with its output in a file. Standard input stays open: phones end without it."""

    def __init__(self, rig, name, args, **more):
        self.name, self.log = name, rig.dir / f"{name}.log"
        self.read_from = self.log.stat().st_size if self.log.exists() else 0
        with open(self.log, "ab") as out:
            self.p = subprocess.Popen([str(a) for a in args], stdin=subprocess.PIPE, stdout=out,
                                      stderr=subprocess.STDOUT, **more)

    @property
    def pid(self):
        return self.p.pid

    def text(self):
        with open(self.log, "rb") as f:
            f.seek(self.read_from)
            return f.read().decode("utf-8", "replace")

    def say(self, line):
        self.p.stdin.write(line.encode() + b"\n")
        self.p.stdin.flush()

    def alive(self):
        return self.p.poll() is None

    def wait_text(self, pattern, seconds=10, count=1):
        wait(lambda: len(re.findall(pattern, self.text())) >= count or self._dead(pattern), seconds,
             f"{pattern!r} from {self.name}")

    def _dead(self, pattern):
        if self.alive() or re.search(pattern, self.text()):
            return False
        raise Failure(f"no {pattern!r}{self.ended()}")

    def ended(self, log=None):
        """How it ended and what it said last (in a log of its own, too), in words that follow a
        reason; none while it runs."""
        code = self.p.poll()
        if code is None:
            return ""
        how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
        said = self.text().splitlines()[-3:]
        if log and log.exists():
            said += log.read_text("utf-8", "replace").splitlines()[-3:]
        return f"; {self.name} has ended ({how}), its last words: {' | '.join(said)[-600:]}"

    def stop(self, how=signal.SIGTERM, seconds=10):
        if self.alive():
            self.p.send_signal(how)
            try:
                self.p.wait(seconds)
            except subprocess.TimeoutExpired:
                self.p.kill()
                self.p.wait()
                return False
        return True


class Rig:
    def __init__(self, directory, kith):
        self.dir, self.kith_binary = pathlib.Path(directory), kith
        self.started, self.ports = [], 7000

    def start(self, name, args, **more):
        p = Process(self, name, args, **more)
        self.started.append(p)
        return p

    def run(self, args, give=None, seconds=60, must=True, env=None):
        """A command that ends by itself; its output as text."""
        done = subprocess.run([str(a) for a in args], input=give, capture_output=True, text=True,
                              timeout=seconds, env=env)
        if must and done.returncode != 0:
            raise Failure(f"{' '.join(str(a) for a in args)}: exit {done.returncode}: "
                          f"{(done.stderr or done.stdout).strip()[-500:]}")
        return done.stdout if must else done

    def port(self, step=10):
        self.ports += step
        return self.ports

    def dns(self, domains=(DOMAIN,), four=V4, six=None):
        """Names of the test's domains, as an operator would publish them."""
        have("dnsmasq")
        # No pid file: all tests would share it, and of two that start at once one would end.
        conf = ["pid-file=", "no-resolv", "no-hosts", "bind-interfaces",
                "listen-address=127.0.0.1", "port=53", "user=root", "local=/test/"]
        for d in domains:
            hosts = ",".join(a for a in (four, six) if a)
            conf += [f"host-record={d},{hosts}", f"host-record=sip.{d},{hosts}",
                     f"naptr-record={d},10,50,s,SIPS+D2T,,_sips._tcp.{d}",
                     f"srv-host=_sips._tcp.{d},sip.{d},{TLS_PORT},10,10"]
        path = self.dir / "dnsmasq.conf"
        path.write_text("\n".join(conf) + "\n")
        self.start("dnsmasq", ["dnsmasq", "--keep-in-foreground", "-C", path])
        wait(self._dns_answers, 5, "dnsmasq")

    def _dns_answers(self):
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", 53)) == 0

    def close(self):
        for p in reversed(self.started):
            p.stop(seconds=3)


class Kith:
    """The server under test, run as an operator would run it."""

    def __init__(self, rig, domains=(DOMAIN,), tls=(V4,), legacy=(), name=None, more="", label=""):
        self.rig, self.domains, self.process, self.devices = rig, domains, None, {}
        self.label, self.root, self.host = f"kith{label}", None, contextlib.nullcontext()
        self.data, self.conf = rig.dir / f"data{label}", rig.dir / f"{self.label}.conf"
        if not os.access(rig.kith_binary, os.X_OK):
            raise Skip("kith is not built")

        def at(hosts, port):
            return ", ".join(f"[{h}]:{port}" if ":" in h else f"{h}:{port}" for h in hosts)

        lines = [f"domain = {', '.join(domains)}", "workers = 2", "[listen]",
                 f"tls = {at(tls, TLS_PORT)}"]
        if name:
            lines.append(f"name = {name}")
        if legacy:
            lines.append("[legacy]")
            for kind in legacy:
                port = LEGACY_TLS_PORT if kind == "tls" else LEGACY_PORT
                lines.append(f"{kind} = {at(tls, port)}")
        self.conf.write_text("\n".join(lines) + "\n" + more)
        self.first = tls[0]

    def cli(self, *args, give=None, must=True):
        return self.rig.run([self.rig.kith_binary, *args, "--data", self.data], give=give,
                            must=must)

    def user(self, aor):
        """Adds a person; the secret is known to the test."""
        secret = SECRET.format(sum(aor.encode()) * 7919)
        self.cli("user", "add", aor, "--password-stdin", give=secret + "\n")
        return secret

    def legacy(self, aor, device):
        """Opens the legacy lane for one device of a person; the secret made for it."""
        until = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 90 * 86400))
        told = self.cli("user", "legacy", aor, "--device", device, "--until", until, "--why",
                        "knows MD5 only")
        found = re.search(r"^ *secret +(\S+)", told, re.MULTILINE)
        if not found:
            raise Failure(f"no secret in {told!r}")
        return found.group(1)

    def device(self, aor, name):
        """A device certificate of a person: a file with key and certificate, as phones want it."""
        out = self.rig.dir / f"{name}.pem"
        told = self.cli("device", "certificate", aor, "--name", name, "--out", out, "--json")
        self.devices[name] = json.loads(told)["device"]
        return out

    def revoke(self, name):
        self.cli("device", "revoke", str(self.devices[name]))

    @property
    def ca(self):
        return self.root or self.data / "tls" / "ca.pem"

    def start(self, seconds=20):
        with self.host:  # hosts.Host: not the test's own
            self.process = self.rig.start(self.label, [self.rig.kith_binary, "serve", "--config",
                                                       self.conf, "--data", self.data])
        wait(self._listens, seconds,
             lambda: "kith to listen; it says: " + self.process.text()[-400:])
        return self

    def _listens(self):
        if not self.process.alive():
            raise Failure(f"kith ended with {self.process.p.returncode}: "
                          f"{self.process.text()[-600:]}")
        family = socket.AF_INET6 if ":" in self.first else socket.AF_INET
        with socket.socket(family) as s:
            return s.connect_ex((self.first, TLS_PORT)) == 0

    def kill(self):
        """kill -9."""
        self.process.p.kill()
        self.process.p.wait()

    def bindings(self, aor):
        """One row per binding, as `kith bindings --json` tells it; none while nothing answers."""
        done = self.cli("bindings", aor, "--json", must=False)
        rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        return [row for row in rows if "contact" in row]

    def wait_bindings(self, aor, count, seconds=10):
        wait(lambda: len(self.bindings(aor)) == count, seconds, f"{count} bindings of {aor}")

    def status(self):
        return json.loads(self.cli("status", "--json"))


class Capture:
    """tcpdump on every interface of the namespace, for wire.py."""

    def __init__(self, rig):
        have("tcpdump")
        self.file = rig.dir / "wire.pcap"
        self.p = rig.start("tcpdump", ["tcpdump", "-i", "any", "-y", "LINUX_SLL", "-U", "-s", "0",
                                       "-B", "8192", "-w", self.file])
        self.p.wait_text("listening on", 10)

    def stop(self):
        self.p.stop(signal.SIGINT)
        return self.file


class Baresip:
    """baresip 1.0 (Debian 12): TLS, DTLS-SRTP, MD5 digest or a certificate; driven over ctrl_tcp.

    It takes its source tone from a sine (ausine) and records what it hears (sndfile), so that a
    test can look for the other side's tone."""

    def __init__(self, rig, name, aor, secret="", certificate=None, ca=None, port=LEGACY_TLS_PORT,
                 server=V4, listen=V4, tone=440, answer="auto", mediaenc="dtls_srtp",
                 codecs="pcma", transport="tls", regint=300, domain=DOMAIN, second=None,
                 q=None, account="", video=False):
        have("baresip")
        self.rig, self.name, self.aor, self.tone = rig, name, aor, tone
        self.home = rig.dir / name
        (self.home / "snd").mkdir(parents=True)
        self.control = rig.port()
        rtp = rig.port(20)
        host = f"[{server}]" if ":" in server else server
        modules = ["stdio", "opus", "g711", "ausine", "aubridge", "sndfile", "stun", "turn", "ice",
                   "srtp", "dtls_srtp"]
        lines = ["poll_method epoll", "net_interface e0",
                 "module_path /usr/lib/baresip/modules", f"audio_source ausine,{tone}",
                 "audio_player aubridge,null", "audio_alert aubridge,null", "ausrc_srate 48000",
                 "ausrc_channels 2",
                 "rtcp_mux yes", "rtp_timeout 30", f"rtp_ports {rtp}-{rtp + 18}",
                 f"snd_path {self.home}/snd"]
        if listen:  # else it uses both address families, whatever the host has
            lines.append(f"sip_listen [{listen}]:0" if ":" in listen else f"sip_listen {listen}:0")
        if ca:
            lines.append(f"sip_cafile {ca}")
        if certificate:
            lines.append(f"sip_certificate {certificate}")
        if video:
            modules += [video if isinstance(video, str) else "vp8", "fakevideo"]
            lines += ["video_source fakevideo,nil", "video_display fakevideo,nil",
                      "video_size 320x240", "video_fps 10", "video_bitrate 300000"]
        lines += [f"module {m}.so" for m in modules]
        lines += ["module_tmp uuid.so", "module_tmp account.so", "module_app menu.so",
                  "module_app ctrl_tcp.so", f"ctrl_tcp_listen 127.0.0.1:{self.control}"]
        (self.home / "config").write_text("\n".join(lines) + "\n")
        user = aor.split("@")[0]
        flow2 = ""
        if second:  # another flow of the same phone: reg-id 2
            at = f"[{second}]" if ":" in second else second
            flow2 = f"outbound2=\"sip:{at}:{port};transport={transport}\";"
        # A password must stand there, else baresip asks for one on the terminal.
        (self.home / "accounts").write_text(
            f"<sip:{aor};transport={transport}>;auth_user={user};auth_pass={secret or 'none'};"
            f"regint={regint};outbound=\"sip:{host}:{port};transport={transport}\";{flow2}"
            f"sipnat=outbound;mediaenc={mediaenc};answermode={answer};audio_codecs={codecs}"
            f"{f';regq={q}' if q else ''}{account}\n")
        (self.home / "contacts").write_text("\n")
        (self.home / "uuid").write_text(f"00000000-0000-4000-8000-{rtp:012x}")
        self.events, self.changed, self.buffer = [], threading.Condition(), b""
        self.process = self.socket = None
        self.six = bool(listen) and ":" in listen

    def start(self, register=True):
        args = ["baresip", "-s", "-f", self.home]
        if self.six:
            args.insert(1, "-6")
        self.process = self.rig.start(self.name, args, cwd=self.home)
        self.socket = wait(self._connect, 60, f"{self.name} to open its control port")
        threading.Thread(target=self._read, daemon=True).start()
        if register:
            self.registered()
        return self

    def _connect(self):
        s = socket.socket()
        if s.connect_ex(("127.0.0.1", self.control)) == 0:
            return s
        s.close()
        return None

    def _read(self):
        data = b""
        while True:
            try:
                more = self.socket.recv(65536)
            except OSError:
                return
            if not more:
                return
            data += more
            while b":" in data:
                size, _, rest = data.partition(b":")
                if len(rest) < int(size) + 1:
                    break
                message = json.loads(rest[:int(size)])
                data = rest[int(size) + 1:]
                with self.changed:
                    self.events.append(message)
                    self.changed.notify_all()

    def command(self, command, params=""):
        message = json.dumps({"command": command, "params": params, "token": "t"}).encode()
        self.socket.sendall(b"%d:%s," % (len(message), message))

    def seen(self, kind):
        with self.changed:
            return [e for e in self.events if e.get("type") == kind]

    def event(self, kind, seconds=15, nth=1, param=None):
        """The nth event of a kind (of those whose param contains `param`)."""
        end = time.monotonic() + seconds
        with self.changed:
            while True:
                found = [e for e in self.events if e.get("type") == kind
                         and (param is None or param in e.get("param", ""))]
                if len(found) >= nth:
                    return found[nth - 1]
                left = end - time.monotonic()
                if left <= 0:
                    seen = [f"{e.get('type')} {e.get('param', '')}".strip() for e in self.events
                            if e.get("event")]
                    raise Failure(f"{self.name}: no {kind} {param or ''} within {seconds} s; "
                                  f"saw {seen[-8:]}")
                self.changed.wait(left)

    def registered(self, seconds=20, nth=1):
        """Registrations begin before the control port is open, so they are read from the log."""
        def done():
            text = self.process.text()
            if len(re.findall(r"\{\d/\w+/v\d\} 200 ", text)) >= nth:
                return True
            refused = re.search(r"reg: sip:\S+: ([3-6]\d\d .*)", text)
            if refused and nth == 1:
                raise Failure(f"{self.name} could not register: {refused.group(1).strip()}")
            return False

        wait(done, seconds, f"{self.name} to register")

    def dial(self, to):
        self.command("dial", f"sip:{to}")

    def up(self, seconds=15, nth=1):
        return self.event("CALL_ESTABLISHED", seconds, nth)

    def closed(self, seconds=15, nth=1, param=None):
        return self.event("CALL_CLOSED", seconds, nth, param)

    def ringing(self, seconds=15, nth=1):
        return self.event("CALL_INCOMING", seconds, nth)

    def hang_up(self):
        self.command("hangup")

    def receives(self):
        """Bits of media a second, as it says itself (it averages over a few seconds)."""
        rates = re.findall(r"audio=\d+/(\d+)", self.process.text()[-4000:])
        return int(rates[-1]) if rates else 0

    def sees(self):
        """Waits until pictures come and are shown, in the call of now."""
        before = len(self.events)

        def shown():
            self.command("video_debug")
            with self.changed:
                said = str([e.get("data") for e in self.events[before:] if e.get("response")])
            return re.search(r"vidisp: .* frames=[1-9]", said)

        wait(shown, 30, f"{self.name} to see a picture")

    def recordings(self):
        """What this phone heard, oldest first."""
        return sorted((self.home / "snd").glob("*-dec.wav"), key=lambda p: p.stat().st_mtime)


# A picture that stands still; what comes is shown to nobody, but decoded.
VIDEO = """[video]
enabled=1
capture=1
display=1
automatically_initiate=1
automatically_accept=1
device=StaticImage: Static picture
displaytype=MSVoidSink
show_local=0
size=qvga
[video_codec_0]
mime=VP8
rate=90000
enabled=1
"""


class Linphone:
    """linphonec 5.1 (Debian 12): TLS 1.2, SHA-256 digest, DTLS-SRTP; driven by its console."""

    def __init__(self, rig, name, aor, secret, ca, tone_file=None, auto=True, encryption="dtls",
                 six=False, domain=DOMAIN, port=TLS_PORT, server=DOMAIN, all_codecs=False,
                 net="", more="", video=False):  # lines of [net]; sections
        have("linphonec")
        self.video = video
        self.rig, self.name, self.home = rig, name, rig.dir / name
        (self.home / ".local/share/linphone").mkdir(parents=True)
        self.record, self.auto = self.home / "heard.wav", auto
        self._dtls_certificate()
        self.tone_file = tone_file
        user, sip_port = aor.split("@")[0], rig.port()
        rtp = rig.port(20)
        # G.711 only: a recording that has no head yet can then be read as 8 kHz.
        order = (("PCMA", 8000), ("PCMU", 8000), ("opus", 48000), ("speex", 16000), ("speex", 8000))
        codecs = "".join(f"[audio_codec_{i}]\nmime={mime}\nrate={rate}\nchannels="
                         f"{2 if mime == 'opus' else 1}\nenabled={int(all_codecs or i < 2)}\n"
                         for i, (mime, rate) in enumerate(order))
        (self.home / "rc").write_text(f"""[sip]
sip_port=0
sip_tcp_port=0
sip_tls_port={sip_port}
root_ca={ca}
verify_server_certs=1
verify_server_cn=1
media_encryption={encryption}
media_encryption_mandatory={0 if encryption == 'none' else 1}
guess_hostname=1
use_ipv6={1 if six else 0}
ping_with_options=0
[auth_info_0]
username={user}
passwd={secret}
realm={domain}
domain={domain}
algorithm=SHA-256
[proxy_0]
reg_proxy=<sip:{server}:{port};transport=tls>
reg_route=<sip:{server}:{port};transport=tls>
reg_identity=sip:{aor}
reg_expires=300
reg_sendregister=1
publish=0
[rtp]
audio_rtp_port={rtp}
rtcp_mux={int(all_codecs)}
[net]
mtu=1300
{net}{more}{codecs}{VIDEO if video else ""}[misc]
uuid=00000000-0000-4000-8000-{rtp:012x}
""")

    def start(self, register=True):
        args = ["linphonec", "-c", self.home / "rc", "-d", "6", "-l", self.home / "log"]
        if self.video:
            args.append("-V")
        if self.auto:
            args.append("-a")
        self.process = self.rig.start(self.name, args, cwd=self.home,
                                      env=dict(os.environ, HOME=str(self.home)))
        self.process.say("soundcard use files")
        if self.tone_file:
            self.process.say(f"play {self.tone_file}")
        self.process.say(f"record {self.record}")
        threading.Thread(target=self._answer_prompts, daemon=True).start()
        if register:
            self.state("LinphoneRegistrationOk", 20)
        return self

    def _dtls_certificate(self):
        """What it would make for itself at the first call, in many seconds."""
        at = self.home / ".linphone-usr-crt"
        at.mkdir()
        pem = at / "linphone-dtls-default-identity.pem"
        self.rig.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "9",
                      "-subj", "/CN=linphone-dtls-default-identity", "-keyout", at / "key", "-out",
                      pem])
        pem.write_text(pem.read_text() + (at / "key").read_text())
        (at / "key").unlink()

    def _answer_prompts(self):
        """Asked for a client certificate in the handshake, the library goes on without one, but
        the console stops everything to ask for a password of nobody. Any word will do."""
        answered = 0
        while self.process.alive():
            asked = self.process.text().count("Password for (null) on (null)")
            if asked > answered:
                answered += 1
                self.process.say("none")
            time.sleep(0.1)

    def state(self, name, seconds=15, nth=1):
        """The nth time that its own log tells of entering this state. (When the server was away
        for a while, failed attempts come before the second registration.)"""
        pattern = re.compile(r"to \[?" + name + r"\b")

        def reached():
            if (name, nth) == ("LinphoneRegistrationOk", 1) and \
                    "LinphoneRegistrationFailed" in self.text():
                raise Failure(f"{self.name} could not register")
            return len(pattern.findall(self.text())) >= nth

        wait(reached, seconds, lambda: f"{name} of {self.name}; it went through " + ", ".join(
            re.findall(r"to \[?Linphone(\w+)\b", self.text())[-6:]))

    def text(self):
        log = self.home / "log"
        return log.read_text("utf-8", "replace") if log.exists() else ""

    def dial(self, to):
        self.process.say(f"call sip:{to}")

    def up(self, seconds=15, nth=1):
        self.state("LinphoneCallStreamsRunning", seconds, nth)

    def ringing(self, seconds=15, nth=1):
        self.state("LinphoneCallIncomingReceived", seconds, nth)

    def closed(self, seconds=15, nth=1):
        self.state("LinphoneCallReleased", seconds, nth)

    def hang_up(self):
        self.process.say("terminate")

    def answer(self):
        self.process.say("answer")

    def sees(self):
        """Waits until a picture has come in the newest call."""
        def came():
            newest = re.split(r"LinphoneCall(?:OutgoingInit|IncomingReceived)\b", self.text())[-1]
            return "First video frame decoded successfully" in newest

        wait(came, 30, f"{self.name} to see a picture")

    def recordings(self):
        return [self.record] if self.record.exists() else []
