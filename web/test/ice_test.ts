import assert from "node:assert/strict";
import { test } from "node:test";
import { usable } from "../src/lib/ice.ts";

test("addresses on the ports of SIP are left out, and servers of which nothing stays", () => {
  const login = { username: "u", credential: "c" };
  assert.deepEqual(
    usable({ urls: ["turns:example.org:5061?transport=tcp", "turns:example.org:443?transport=tcp"], ...login }),
    [{ urls: ["turns:example.org:443?transport=tcp"], ...login }]);
  assert.deepEqual(usable({ urls: "turns:example.org:5061" }), []);
  assert.deepEqual(usable({ urls: "stun:[2001:db8::5061]:3478" }), [{ urls: ["stun:[2001:db8::5061]:3478"] }]);
});
