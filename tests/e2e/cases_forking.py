"""Who rings when: phones of different q, and call forwarding."""
import tones
from cases import House, test
from rig import DOMAIN, Failure


@test()
def phones_ring_by_q(r):
    """Three phones of one person: the first rings alone, the others when nobody picks it up."""
    h = House(r, more="[calls]\ngroup_ring = 4s\n").people("alice", "bob").start()
    alice = h.by_certificate("alice", tone=440).start()
    desk = h.by_legacy("bob", label="desk", tone=660, answer="manual", q="1.0").start()
    room = h.by_legacy("bob", label="room", tone=770, answer="manual", q="0.5").start()
    cell = h.by_certificate("bob", label="cell", tone=880, answer="manual", q="0.5").start()
    alice.dial(f"bob@{DOMAIN}")
    desk.ringing()
    if room.seen("CALL_INCOMING") or cell.seen("CALL_INCOMING"):
        raise Failure("the phones of q 0.5 ring together with that of q 1.0")
    room.ringing(10)
    cell.ringing(5)
    desk.closed(5)
    cell.command("accept")
    alice.up()
    cell.up()
    room.closed(5)
    tones.heard(alice.recordings, 880)
    tones.heard(cell.recordings, 440)
    alice.hang_up()
    cell.closed()


@test()
def forwarded_when_nobody_answers(r):
    """bob lets it ring: after his time carol's phone does, and the call is hers."""
    h = House(r).people("alice", "bob", "carol").start()
    alice = h.by_certificate("alice", tone=440).start()
    bob = h.by_legacy("bob", tone=660, answer="manual").start()
    carol = h.by_legacy("carol", tone=880).start()
    h.kith.cli("user", "set", f"bob@{DOMAIN}", f"forward-no-answer=carol@{DOMAIN},4s")
    shown = h.kith.cli("user", "show", f"bob@{DOMAIN}")
    if "carol" not in shown or "after 4 s" not in shown:
        raise Failure(f"kith user show says: {shown}")
    alice.dial(f"bob@{DOMAIN}")
    bob.ringing()
    if carol.seen("CALL_INCOMING"):
        raise Failure("carol's phone rings before bob's time is over")
    carol.up(15)
    alice.up()
    bob.closed(5)
    tones.heard(alice.recordings, 880)
    tones.heard(carol.recordings, 440)
    carol.hang_up()
    alice.closed()
    h.kith.cli("user", "set", f"bob@{DOMAIN}", "forward-no-answer=", "dnd=on")
    alice.dial(f"bob@{DOMAIN}")
    alice.closed(param="480")
    if len(bob.seen("CALL_INCOMING")) != 1:
        raise Failure("bob's phone rang though he does not want to be disturbed")
