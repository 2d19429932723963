// The words are complete: each is used, and no sentence for people stands anywhere else.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { deviceName, invitationOf } from "../src/passkey.ts";
import { cipherName, fingerprints, safetyCode } from "../src/phone/secured.ts";
import { words } from "../src/words.ts";

const SOURCES = path.resolve("src");

function sources(folder: string): string[] {
  return fs.readdirSync(folder, { withFileTypes: true }).flatMap((e) => {
    const file = path.join(folder, e.name);
    return e.isDirectory() ? sources(file) : /\.tsx?$/.test(e.name) && e.name !== "words.ts" ? [file] : [];
  });
}

test("every sentence is used somewhere", () => {
  const all = sources(SOURCES).map((f) => fs.readFileSync(f, "utf8")).join("\n");
  assert.ok(all.length > 10_000);
  const unused = Object.keys(words).filter((key) => !new RegExp(`words\\.${key}\\b`).test(all));
  assert.deepEqual(unused, []);
});

test("no sentence stands in the components", () => {
  for (const file of sources(SOURCES).filter((f) => f.endsWith(".tsx"))) {
    const plain = fs.readFileSync(file, "utf8").replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "");
    for (const [, text] of plain.matchAll(/(?:label|title|placeholder|aria-label)="([^"]*)"|>\s*([A-Z][a-z]+ [a-z][^<{]*)</g)) {
      assert.equal(text, undefined, `${file}: ${text}`);
    }
  }
});

test("no sentence stands in any source's strings, but the names that machines read", () => {
  const machines = new Set(["Kith web"]); // User-Agent
  const found = sources(SOURCES).flatMap((file) => {
    const plain = fs.readFileSync(file, "utf8").replace(/\/\*[\s\S]*?\*\/|(^|\s)\/\/.*$/gm, "");
    return [...plain.matchAll(/["'`]([A-Z][a-z']*,? [a-z][^"'`]*)["'`]/g)].map((m) => m[1]!).filter((text) => !machines.has(text));
  });
  assert.deepEqual(found, []);
});

test("sentences are not empty and hold what they are given", () => {
  for (const [key, value] of Object.entries(words)) {
    const text = typeof value === "function" ? (value as (...a: unknown[]) => string)("Zoe", "Yan") : value;
    assert.ok(typeof text === "object" || text.length > 0, key);
    if (typeof value === "function" && value.length > 0) {
      assert.match(text as string, /Zoe/, key);
    }
  }
});

test("an invitation link", () => {
  assert.equal(invitationOf("#invite=abcDEF123_-"), "abcDEF123_-");
  for (const bad of ["", "#invite=", "#invite=a b", "#to=bob", "#invite=<script>"]) {
    assert.equal(invitationOf(bad), "");
  }
});

test("names for devices", () => {
  assert.equal(deviceName("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"), "Chrome on Linux");
  assert.equal(deviceName("Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605 Version/19 Mobile/15E148 Safari/604"), "Safari on iPhone");
  assert.equal(deviceName("Mozilla/5.0 (Windows NT 10.0; rv:140.0) Gecko/20100101 Firefox/140.0"), "Firefox on Windows");
  assert.equal(deviceName("x"), "Browser");
});

test("both ends compute the same safety number, and another between them changes it", async () => {
  const a = "v=0\r\na=fingerprint:sha-256 AA:BB:01\r\nm=audio\r\na=fingerprint:SHA-256 aa:bb:01\r\n";
  const b = "v=0\r\na=fingerprint:sha-256 CC:DD:02\r\n";
  assert.deepEqual(fingerprints(a), ["sha-256 AA:BB:01"]);
  assert.equal(await safetyCode(a, b), await safetyCode(b, a));
  assert.match(await safetyCode(a, b), /^\d{4} \d{4} \d{4}$/);
  assert.notEqual(await safetyCode(a, b), await safetyCode(a, b.replace("02", "03")));
});

test("ciphers by the name people use", () => {
  assert.equal(cipherName("SRTP_AES128_CM_HMAC_SHA1_80"), "AES-128");
  assert.equal(cipherName("AEAD_AES_256_GCM"), "AES-256-GCM");
  assert.equal(cipherName("SRTP"), "SRTP");
});
