import assert from "node:assert/strict";
import { test } from "node:test";
import { clock, foremost, newCall, step, type Call, type CallEvent, type CallState } from "../src/lib/call.ts";

const bob = { address: "bob@example.org", name: "Bob" };
const after = (call: Call, ...events: CallEvent[]): Call => events.reduce(step, call);
const end: CallEvent = { type: "end", at: 9, words: "Call ended" };

test("a call that is made: dialing, ringing, joining, up, ended", () => {
  let call = newCall("1", bob, true, true, 1);
  const seen: CallState[] = [call.state];
  for (const event of [{ type: "progress" }, { type: "accepted" }, { type: "media", at: 5 }, end] as CallEvent[]) {
    call = step(call, event);
    seen.push(call.state);
  }
  assert.deepEqual(seen, ["dialing", "ringing", "joining", "up", "ended"]);
  assert.equal(call.upSince, 5);
  assert.equal(call.ended, 9);
  assert.equal(call.endWords, "Call ended");
});

test("a call that comes: answered, then up", () => {
  const call = after(newCall("1", bob, false, false, 1), { type: "answer" }, { type: "accepted" }, { type: "media", at: 2 });
  assert.equal(call.state, "up");
});

test("a lost path comes back without a new beginning", () => {
  const up = after(newCall("1", bob, true, false, 1), { type: "accepted" }, { type: "media", at: 5 });
  const lost = step(up, { type: "lost" });
  assert.equal(lost.state, "reconnecting");
  assert.equal(step(lost, { type: "media", at: 8 }).upSince, 5);
  assert.equal(step(lost, { type: "back" }).state, "up");
});

test("what does not belong to a state changes nothing", () => {
  const incoming = newCall("1", bob, false, false, 1);
  assert.equal(step(incoming, { type: "progress" }), incoming);
  assert.equal(step(incoming, { type: "lost" }), incoming);
  assert.equal(step(incoming, { type: "media", at: 2 }), incoming);
  const ended = step(incoming, end);
  for (const event of [{ type: "answer" }, { type: "media", at: 3 }, { type: "set", set: { muted: true } }, end] as CallEvent[]) {
    assert.equal(step(ended, event), ended);
  }
});

test("the end takes pictures away", () => {
  const call = after(newCall("1", bob, true, true, 1), { type: "set", set: { camera: true, sharing: true, peerVideo: true } }, end);
  assert.deepEqual([call.camera, call.sharing, call.peerVideo], [false, false, false]);
});

test("the foremost call: who talks before who waits before who rings", () => {
  const rings = newCall("r", bob, false, false, 1);
  const held = after(newCall("h", bob, true, false, 1), { type: "accepted" }, { type: "media", at: 2 }, { type: "set", set: { held: true } });
  const talks = after(newCall("t", bob, true, false, 1), { type: "accepted" }, { type: "media", at: 2 });
  assert.equal(foremost([rings, held, talks])?.id, "t");
  assert.equal(foremost([rings, held])?.id, "h");
  assert.equal(foremost([rings])?.id, "r");
  assert.equal(foremost([step(talks, end)]), null);
});

test("the clock", () => {
  assert.deepEqual([0, 5, 65, 600, 3599, 3600, 36_061].map(clock), ["0:00", "0:05", "1:05", "10:00", "59:59", "1:00:00", "10:01:01"]);
});
