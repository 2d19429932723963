"""The conference of the fake server (RFC 4575, 4579): nobody hears anything, but it has members and watchers.
Right by default, wrong where `bad` says so; see fake.py."""
import secrets

from sipmsg import Msg, uri_of

NAME = "meeting"
SDP = (b"v=0\r\no=- 3 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
       b"m=audio 40004 UDP/TLS/RTP/SAVP 0\r\na=setup:active\r\n")


class Meeting:
    def __init__(self, fake, domain):
        self.fake, self.bad, self.uri = fake, fake.bad, f"sip:{NAME}@{domain}"
        self.domain, self.members, self.watchers = domain, {}, {}

    def take(self, s, sender):
        return getattr(self, "on_" + s.request.method.lower(), self.refuse)(s, sender)

    def refuse(self, s, _):
        return self.fake.say(s, 405)

    def on_invite(self, s, sender):
        focus = "" if self.bad("MEET-001/focus") else ";isfocus"
        r = self.fake.response_to(s.request, 200, [("Contact", f"<{self.uri}>{focus}"),
                                                   ("Content-Type", "application/sdp")], SDP)
        self.fake.say_msg(s, r)
        entity = f"sip:{sender}@{self.domain}"
        if s.request.lines("Privacy") and not self.bad("MEET-003/privacy"):
            entity = f"sip:anonymous{secrets.token_hex(2)}@anonymous.invalid"
        self.change(s.request.get("Call-ID"), entity, "full")

    def on_bye(self, s, _):
        self.fake.say(s, 200)
        self.change(s.request.get("Call-ID"), self.members.get(s.request.get("Call-ID")), "deleted")

    def on_subscribe(self, s, _):
        m = s.request
        r = self.fake.response_to(m, 200, [("Expires", m.get("Expires")), ("Contact", f"<{self.uri}>")])
        self.fake.say_msg(s, r)
        if m.get("Expires") == "0":
            self.watchers.pop(m.get("Call-ID"), None)
            return
        self.watchers[m.get("Call-ID")] = w = {"conn": s.conn, "local": r.get("To"), "remote": m.get("From"),
                                               "target": uri_of(m.get("Contact")), "number": 0, "version": 7}
        users = "".join(f'<user entity="{e}" state="full"/>' for e in self.members.values())
        self.tell(m.get("Call-ID"), w, "full",
                  f"<conference-description/><users>{users}</users>")

    def change(self, call_id, entity, state):
        if state == "full":
            self.members[call_id] = entity
        else:
            self.members.pop(call_id, None)
        for watcher, w in list(self.watchers.items()):
            w["version"] += 2 if self.bad("MEET-002/versions") else 1
            self.tell(watcher, w, "partial", f'<users state="partial"><user entity="{entity}" state="{state}"/></users>')

    def tell(self, call_id, w, state, body):
        w["number"] += 1
        via = f"SIP/2.0/{w['conn'].kind} {self.fake.here(w['conn'])};branch=z9hG4bK{secrets.token_hex(6)}"
        text = (f'<?xml version="1.0"?>\n<conference-info xmlns="urn:ietf:params:xml:ns:conference-info" '
                f'entity="{self.uri}" state="{state}" version="{w["version"]}">{body}</conference-info>')
        w["conn"].send(Msg(f"NOTIFY {w['target']} SIP/2.0",
                           [("Via", via), ("Max-Forwards", "70"), ("From", w["local"]), ("To", w["remote"]),
                            ("Call-ID", call_id), ("CSeq", f"{w['number']} NOTIFY"), ("Event", "conference"),
                            ("Subscription-State", "active"), ("Contact", f"<{self.uri}>"),
                            ("Content-Type", "application/conference-info+xml")], text.encode()).bytes())
