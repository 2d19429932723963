import assert from "node:assert/strict";
import { test } from "node:test";
import { addressOf, hueOf, initials, parseAddress } from "../src/lib/address.ts";

const uri = (typed: string): string => {
  const parsed = parseAddress(typed, "example.org");
  return parsed.ok ? parsed.value.uri : `! ${parsed.error}`;
};

test("a name gets our domain", () => {
  assert.equal(uri(" bob "), "sip:bob@example.org");
  assert.equal(uri("bob.miller"), "sip:bob.miller@example.org");
});

test("an address stands as it is, its host in small letters", () => {
  assert.equal(uri("Bob@Other.ORG"), "sip:Bob@other.org");
  assert.equal(uri("sip:bob@other.org;transport=tcp?subject=x"), "sip:bob@other.org");
  assert.equal(uri("sips:bob@other.org"), "sip:bob@other.org");
  assert.equal(uri("Bob <sip:bob@other.org>"), "sip:bob@other.org");
  assert.equal(uri("bob@[2001:db8::1]"), "sip:bob@[2001:db8::1]");
  assert.equal(uri("bob@other.org:5061"), "sip:bob@other.org:5061");
});

test("a number loses what only eyes need (RFC 3966 3)", () => {
  assert.equal(uri("+49 (30) 123-456"), "sip:+4930123456@example.org");
  assert.equal(uri("tel:+1.212.555.0101"), "sip:+12125550101@example.org");
  assert.equal(uri("200"), "sip:200@example.org");
});

test("what is no address says so", () => {
  for (const bad of ["", "   ", "bob miller", "bob@", "@example.org", "bob@-x.org", "mailto:bob@example.org", "tel:bob",
    "bob@exa mple.org", "bob\r\nVia: x", `${"x".repeat(300)}`, "<>", "bob@other.org>evil"]) {
    assert.match(uri(bad), /^! /, JSON.stringify(bad));
  }
});

test("a URI gives back its address", () => {
  assert.equal(addressOf("<sip:bob@Example.org;transport=ws>"), "bob@example.org");
  assert.equal(addressOf("sip:bob@example.org?x=y"), "bob@example.org");
});

test("initials and colours", () => {
  assert.equal(initials("Bob Miller"), "BM");
  assert.equal(initials("alice"), "A");
  assert.equal(initials("bob.miller@example.org"), "BM");
  assert.equal(initials("Ökonomin Élan"), "ÖÉ");
  assert.equal(initials(""), "?");
  assert.equal(hueOf("bob@example.org", 8), hueOf("bob@example.org", 8));
  assert.ok(hueOf("x", 8) < 8);
});
