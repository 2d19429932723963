"""The list of tests. A test is a function that takes a Rig; it fails by raising rig.Failure."""
import importlib
import inspect
import pathlib
import re

import rig


class Case:
    def __init__(self, name, run, seconds):
        self.name, self.run, self.seconds = name, run, seconds
        self.story = " ".join((inspect.getdoc(run) or "").split("\n")[0].split())


CASES = {}


def test(seconds=120):
    """Marks a test; its name is the function's, with dashes. `seconds` is its hard limit."""
    def mark(f):
        name = f.__name__.replace("_", "-")
        if name in CASES:
            raise ValueError(f"two tests are called {name}")
        CASES[name] = Case(name, f, seconds)
        return f
    return mark


def all_cases():
    if not CASES:
        for path in sorted(pathlib.Path(__file__).parent.glob("cases_*.py")):
            importlib.import_module(path.stem)
    return CASES


def server_trouble(r):
    """What must never be in the server's log, whatever the test was about."""
    text = "".join(log.read_text("utf-8", "replace") for log in sorted(r.dir.glob("kith*.log")))
    for pattern in (r"ERROR: \w+Sanitizer", r"runtime error:", r"WARNING: ThreadSanitizer",
                    r"assertion", r"Segmentation"):
        found = re.search(pattern + r".*", text, re.IGNORECASE)
        if found:
            return f"the server's log has: {found.group(0)[:200]}"
    return ""


class House:
    """What most tests begin with: names, a running Kith, people, and phones for them."""

    def __init__(self, r, tls=(rig.V4,), legacy=("tls",), domains=(rig.DOMAIN,), more="",
                 four=rig.V4, six=None):
        self.r = r
        r.dns(domains, four=four, six=six)
        self.kith = rig.Kith(r, domains, tls, legacy, more=more)
        self.secrets = {}

    def people(self, *names):
        for n in names:
            aor = n if "@" in n else f"{n}@{rig.DOMAIN}"
            self.secrets[n] = self.kith.user(aor)
        return self

    def start(self):
        self.kith.start()
        return self

    def by_certificate(self, name, **more):
        """baresip on the main listener: proved by a device certificate, no digest at all."""
        aor = f"{name}@{rig.DOMAIN}"
        pem = self.kith.device(aor, f"{name}-device")
        return rig.Baresip(self.r, more.pop("label", name), aor, certificate=pem,
                           ca=self.kith.ca, port=rig.TLS_PORT, **more)

    def by_legacy(self, name, **more):
        """baresip in the legacy lane: MD5 over TLS, with a secret for that device alone."""
        aor = f"{name}@{rig.DOMAIN}"
        label = more.pop("label", name)
        secret = self.kith.legacy(aor, f"{label}-old")
        return rig.Baresip(self.r, label, aor, secret, ca=self.kith.ca, **more)

    def linphone(self, name, tone_file=None, **more):
        """linphone on the main listener: SHA-256 digest."""
        return rig.Linphone(self.r, more.pop("label", name), f"{name}@{rig.DOMAIN}",
                            self.secrets[name], self.kith.ca, tone_file, **more)
