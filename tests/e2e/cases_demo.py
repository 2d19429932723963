"""`kith serve --demo`: what it prints is typed into phones as it stands."""
import re
import textwrap

import rig
import tones
from cases import test
from rig import Failure


def printed(text, after, until):
    """The indented lines between two lines of the demo's greeting."""
    found = re.search(after + r".*\n(?:  [^ ].*\n)*((?:    .*\n)+)" + until, text)
    if not found:
        raise Failure(f"the demo prints nothing after {after!r}")
    return textwrap.dedent(found.group(1))


@test()
def demo_settings_work(r):
    """The printed settings, and nothing else, make baresip and linphone register and call."""
    if not r.kith_binary.exists():
        raise rig.Skip("kith is not built")
    demo = r.start("kith", [r.kith_binary, "serve", "--demo", "--data", r.dir / "data"])
    demo.wait_text("Ctrl-C stops the server", 20)
    text = demo.text()
    config = printed(text, r"in ~/.baresip/config", r"  in ~/.baresip/accounts")
    account = printed(text, r"in ~/.baresip/accounts", r"\n")
    rc = printed(text, r"in a file alice.rc", r"\n")
    bob = rig.Baresip(r, "bob", "bob@localhost", listen=None, tone=880)
    settings = (bob.home / "config").read_text()
    (bob.home / "config").write_text(settings + "\n".join(
        line for line in config.splitlines() if line.split()[-1] not in settings) + "\n")
    # Answering by itself stands for the person; a sound card there is none.
    (bob.home / "accounts").write_text(account.strip() + ";answermode=auto\n")
    bob.start()
    alice = rig.Linphone(r, "alice", "alice@localhost", "", "", tones.write(r.dir / "t.wav", 660))
    ours = (alice.home / "rc").read_text()
    (alice.home / "rc").write_text(rc + ours[ours.index("[rtp]"):])
    alice.start()
    alice.dial("bob@localhost")
    alice.up()
    bob.up()
    tones.heard(alice.recordings, 880)
    tones.heard(bob.recordings, 660)
    bob.hang_up()
    alice.closed()
    bob.dial("alice@localhost")
    alice.up(nth=2)
    alice.hang_up()
    bob.closed(nth=2)
    demo.stop(rig.signal.SIGINT)
    if demo.p.returncode != 0:
        raise Failure(f"Ctrl-C ended the demo with {demo.p.returncode}")
