"""What people do with calls: hold, cancel, reject, ring two phones, transfer."""
import tones
from cases import House, test
from rig import DOMAIN, Failure, wait


def two(r, **more):
    h = House(r).people("alice", "bob", "carol").start()
    alice = h.by_certificate("alice", tone=440)
    bob = h.by_legacy("bob", tone=880, **more)
    bob.start()
    alice.start()
    return h, alice, bob


def held(r):
    """Alice (baresip) and Lina (linphone): baresip plays nothing more once a player was restarted
    (its null device), so after a hold it is linphone's recording that shows speech."""
    h = House(r).people("alice", "lina").start()
    alice = h.by_certificate("alice", tone=440).start()
    lina = h.linphone("lina", tones.write(r.dir / "tone.wav", 660)).start()
    return alice, lina


def speech_again(alice, lina):
    wait(tones.grown(lina.recordings, 16000), 15, "speech after the resume")
    tones.heard(lina.recordings, 440)
    wait(lambda: alice.receives() > 40000, 10, "media at alice after the resume")


@test()
def hold_and_resume(r):
    """The caller holds (re-INVITE, sendonly), resumes, and speech goes on both ways."""
    alice, lina = held(r)
    alice.dial(f"lina@{DOMAIN}")
    alice.up()
    tones.heard(lina.recordings, 440)
    tones.heard(alice.recordings, 660)
    alice.command("hold")
    lina.state("LinphoneCallPausedByRemote")
    wait(lambda: alice.receives() < 10000, 15, "the media from lina to end")
    alice.command("resume")
    lina.up(nth=2)
    speech_again(alice, lina)
    lina.hang_up()
    alice.closed()


@test()
def hold_by_callee(r):
    """The callee holds and resumes; then the caller hangs up."""
    alice, lina = held(r)
    alice.dial(f"lina@{DOMAIN}")
    alice.up()
    tones.heard(lina.recordings, 440)
    lina.process.say("pause")
    lina.state("LinphoneCallPaused")
    alice.event("CALL_REMOTE_SDP", nth=2)
    lina.process.say("resume")
    lina.up(nth=2)
    alice.event("CALL_REMOTE_SDP", nth=3)
    speech_again(alice, lina)
    alice.hang_up()
    lina.closed()


@test()
def cancel(r):
    """The caller gives up while it rings: the callee stops ringing at once."""
    _, alice, bob = two(r, answer="manual")
    alice.dial(f"bob@{DOMAIN}")
    bob.ringing()
    alice.event("CALL_RINGING")
    alice.hang_up()
    bob.closed(seconds=3)
    bob.process.wait_text(r"CANCEL sip:")
    bob.process.wait_text(r"487 ")
    if bob.seen("CALL_ESTABLISHED"):
        raise Failure("a cancelled call was connected")


@test()
def busy(r):
    """The callee rejects: the caller learns 486."""
    _, alice, bob = two(r, answer="manual")
    alice.dial(f"bob@{DOMAIN}")
    bob.ringing()
    bob.hang_up()
    alice.closed(param="486")


@test()
def no_answer(r):
    """Nobody picks up: the caller ends the attempt, a new one goes through."""
    _, alice, bob = two(r, answer="manual")
    alice.dial(f"bob@{DOMAIN}")
    bob.ringing()
    alice.event("CALL_RINGING")
    alice.hang_up()
    bob.closed(seconds=3)
    alice.dial(f"bob@{DOMAIN}")
    bob.ringing(nth=2)
    bob.command("accept")
    alice.up()
    tones.heard(alice.recordings, 880)
    alice.hang_up()
    bob.closed(nth=2)


@test()
def nobody_there(r):
    """A person without a registered phone: 480; a name that does not exist: 404."""
    _, alice, _ = two(r)
    alice.dial(f"carol@{DOMAIN}")
    alice.closed(param="480")
    alice.dial(f"nobody@{DOMAIN}")
    alice.closed(nth=1, param="404")


@test()
def two_devices_ring(r):
    """Both phones of a person ring; one answers, the other is cancelled."""
    h, alice, bob = two(r, answer="manual")
    other = h.by_certificate("bob", label="bob-other", tone=990, answer="manual").start()
    alice.dial(f"bob@{DOMAIN}")
    bob.ringing()
    other.ringing()
    other.command("accept")
    alice.up()
    bob.closed(seconds=3)
    bob.process.wait_text(r"CANCEL sip:")
    if bob.seen("CALL_ESTABLISHED"):
        raise Failure("both phones were connected")
    tones.heard(alice.recordings, 990)
    tones.heard(other.recordings, 440)
    other.hang_up()
    alice.closed()


@test()
def two_devices_one_rejects(r):
    """One phone of a person says busy, the other still rings and answers."""
    h, alice, bob = two(r, answer="manual")
    other = h.linphone("bob", tones.write(r.dir / "t.wav", 660), label="bob-lin", auto=False)
    other.start()
    alice.dial(f"bob@{DOMAIN}")
    bob.ringing()
    other.ringing()
    bob.hang_up()
    bob.closed()
    other.answer()
    alice.up()
    tones.heard(alice.recordings, 660)
    alice.hang_up()
    other.closed()


@test()
def transfer(r):
    """Bob transfers Alice to Carol by REFER: Alice and Carol talk, Bob is out."""
    h, alice, bob = two(r)
    carol = h.by_certificate("carol", tone=990).start()
    alice.dial(f"bob@{DOMAIN}")
    alice.up()
    bob.up()
    tones.heard(alice.recordings, 880)
    bob.command("transfer", f"sip:carol@{DOMAIN}")
    carol.up(20)
    bob.process.wait_text(r"REFER sip:")
    alice.up(20, nth=2)
    tones.heard(alice.recordings, 990)
    tones.heard(carol.recordings, 440)
    carol.hang_up()
    alice.event("CALL_CLOSED", nth=1)


@test()
def unencrypted_phone_refused(r):
    """A phone without media encryption: 488, and the Warning says what to switch on."""
    h, _, bob = two(r)
    carol = h.by_certificate("carol", mediaenc="").start()
    carol.dial(f"bob@{DOMAIN}")
    carol.closed(param="488")
    carol.process.wait_text(r"Warning: 399 .*(SRTP|encrypt)")
    if bob.seen("CALL_INCOMING"):
        raise Failure("the callee was disturbed")


@test()
def unencrypted_callee_refused(r):
    """The called phone answers without encryption: the caller gets 488, nobody talks in clear."""
    h, alice, _ = two(r)
    carol = h.by_certificate("carol", mediaenc="", answer="auto").start()
    alice.dial(f"carol@{DOMAIN}")
    alice.closed(param="488")
    wait(lambda: carol.seen("CALL_CLOSED") or not carol.seen("CALL_ESTABLISHED"), 10,
         "the unencrypted call to end")
    if alice.seen("CALL_ESTABLISHED"):
        raise Failure("the call was connected")
