import assert from "node:assert/strict";
import { test } from "node:test";
import { endWords, mediaWords, messageWords, reasonText, warningText, type Ending } from "../src/lib/reason.ts";

const ending = (some: Partial<Ending>): Ending => ({
  cause: "", status: 0, warning: "", reason: "", byPeer: true, outgoing: true, wasUp: false, ...some,
});
const said = (some: Partial<Ending>): string => endWords("Bob", ending(some));

test("a Warning's text (RFC 3261 20.43) and a Reason's (RFC 3326 2)", () => {
  assert.equal(warningText('399 kith.example.org "Switch on \\"SRTP\\" in the phone"'), 'Switch on "SRTP" in the phone');
  assert.equal(warningText("nonsense"), "");
  assert.equal(warningText(undefined), "");
  assert.equal(reasonText('SIP;cause=200;text="Call completed elsewhere"'), "Call completed elsewhere");
  assert.equal(reasonText("Q.850;cause=16"), "");
});

test("an unkeyed phone is named as what it is", () => {
  assert.equal(said({ status: 488, warning: "The media is not encrypted: switch on SRTP" }),
    "Bob's phone does not encrypt; the call was refused");
  assert.match(said({ status: 488 }), /no sound format in common/);
});

test("each final answer has its sentence", () => {
  assert.equal(said({ status: 486 }), "Bob is busy");
  assert.equal(said({ status: 600 }), "Bob is busy");
  assert.equal(said({ status: 603 }), "Bob declined");
  assert.equal(said({ status: 480 }), "Bob cannot be reached right now");
  assert.match(said({ status: 404 }), /not known here/);
  assert.equal(said({ status: 408 }), "Bob did not answer");
  assert.match(said({ status: 403 }), /does not allow/);
  assert.match(said({ status: 403, warning: "guests may call sales only" }), /guests may call sales only/);
  assert.match(said({ status: 503 }), /Too many/);
  assert.equal(said({ status: 503, warning: "other.example offers no TLS" }), "The server says: other.example offers no TLS");
  assert.match(said({ status: 500 }), /could not do it/);
  assert.match(said({ status: 482 }), /circles/);
  assert.match(said({ status: 699, reason: "Strange" }), /Strange/);
});

test("how calls end that were up, cancelled or answered elsewhere", () => {
  assert.equal(said({ wasUp: true, cause: "Terminated" }), "Bob hung up");
  assert.equal(said({ wasUp: true, cause: "Terminated", byPeer: false }), "Call ended");
  assert.equal(said({ outgoing: false, cause: "Canceled" }), "Missed call");
  assert.equal(said({ outgoing: false, cause: "Canceled", reason: "Call completed elsewhere" }), "Answered on another device");
  assert.match(said({ cause: "Connection Error" }), /connection was lost/);
  assert.match(said({ cause: "WebRTC Error" }), /Sound could not be connected/);
});

test("microphone and camera", () => {
  const error = (name: string): Error => Object.assign(new Error("x"), { name });
  assert.match(mediaWords(error("NotAllowedError"), "mic"), /may not use the microphone/);
  assert.match(mediaWords(error("NotFoundError"), "camera"), /No camera/);
  assert.match(mediaWords(error("NotReadableError"), "mic"), /Another program/);
  assert.match(mediaWords(error("NotAllowedError"), "share"), /not shared/);
});

test("messages", () => {
  assert.match(messageWords("Bob", 480, ""), /cannot be reached/);
  assert.match(messageWords("Bob", 0, ""), /connection was lost/);
  assert.match(messageWords("Bob", 413, "too long"), /too long/);
});
