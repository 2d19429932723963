#!/usr/bin/env python3
"""Real phones for the browser tests, those of tests/e2e: phones.py KITH DATA DOMAIN PORT DIRECTORY

Reads one JSON command a line and answers each with one line, {"ok": value} or {"error": words}:
  {"do": "baresip", "linphone" or "bare", "name": N, "tone": hertz, "video": V}   a person's phone: made, and
                                                      registered; bare: a baresip that does not encrypt; V: false,
                                                      true (VP8), or baresip's module for another format
  {"do": "heard", "name": N, "tone": hertz}           waits until it hears that
  {"do": "rest"}                                      every phone runs, registered, without a call
  {"do": any method of rig.Baresip or rig.Linphone, "name": N, "args": [...]}
It ends with its input, and the phones with it.
"""
import json
import sys
import pathlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
import rig  # noqa: E402
import tones  # noqa: E402

# linphone's browser side: ICE, RTP and RTCP on one port (RFC 5761), feedback (RFC 4585), VP8.
LINPHONE = """[rtp]
rtcp_mux=1
avpf=1
[nat_policy_0]
ref=browser
protocols=ice
[net]
nat_policy_ref=browser
"""


class Phones:
    def __init__(self, kith, data, domain, port, directory):
        self.rig, self.domain, self.port = rig.Rig(directory, kith), domain, int(port)
        self.kith = rig.Kith(self.rig, (domain,))
        self.kith.data = pathlib.Path(data)
        self.rig.dns((domain,))  # phones ask no hosts file
        self.phones = {}

    def do(self, command):
        if command["do"] == "rest":
            return [self._rest(phone) for phone in self.phones.values()] and None
        try:
            return self._do(command)
        except (rig.Failure, OSError) as why:
            phone = self.phones.get(command["name"])
            ended = phone and phone.process and phone.process.ended(phone.home / "log")
            raise rig.Failure(f"{why}{ended or ''}") from why

    def _do(self, command):
        what, name = command["do"], command["name"]
        if what in ("baresip", "linphone", "bare"):
            self.phones[name] = getattr(self, f"_{what}")(name, command["tone"], command["video"])
            return self.phones[name].start() and None
        phone = self.phones[name]
        if what == "heard":
            return tones.heard(phone.recordings, command["tone"], seconds=30)
        answer = getattr(phone, what)(*command.get("args", []))
        return answer if isinstance(answer, (int, str)) else None

    @staticmethod
    def _rest(phone):
        if phone.process.alive():
            phone.hang_up()
        else:
            (phone.home / "log").unlink(missing_ok=True)  # linphone's, else it is registered already
            phone.start()

    def _baresip(self, name, tone, video, **more):
        aor = f"{name}@{self.domain}"
        self.kith.user(aor)
        return rig.Baresip(self.rig, name, aor, certificate=self.kith.device(aor, name),
                           ca=self.kith.ca, port=self.port, server=self.domain, domain=self.domain,
                           tone=tone, account=";medianat=ice", video=video, **more)

    def _bare(self, name, tone, video):
        return self._baresip(name, tone, video, mediaenc="")

    def _linphone(self, name, tone, video):
        aor = f"{name}@{self.domain}"
        phone = rig.Linphone(self.rig, name, aor, self.kith.user(aor), self.kith.ca,
                             tones.write(self.rig.dir / f"{name}.wav", tone), domain=self.domain,
                             port=self.port, server=self.domain, video=video)
        rc = phone.home / "rc"
        text = rc.read_text()
        rc.write_text(text.replace("[rtp]\n", "").replace("[net]\n", LINPHONE))
        return phone


def main():
    phones = Phones(*sys.argv[1:])
    try:
        for line in sys.stdin:
            try:
                answer = {"ok": phones.do(json.loads(line))}
            except (rig.Failure, rig.Skip, OSError) as why:
                answer = {"error": f"{type(why).__name__}: {why}"}
            print(json.dumps(answer), flush=True)
    finally:
        phones.rig.close()


if __name__ == "__main__":
    main()
