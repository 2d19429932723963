#!/usr/bin/env node
// The page in a real browser: node tests/web/run.mjs [--kith BINARY] [-k PATTERN] [--list] [--shots] [--keep]
//   --kith    the server to try it with; without it the page's stand-in (web/dev/serve.mjs)
//   --shots   writes the pictures of docs/img anew
//   --keep    leaves the server's and the phones' files and logs where they are, and says where
// One line a case: PASS name, FAIL name: reason, or SKIP name: reason. Needs web/node_modules (npm ci in web/) and
// Chromium. With Kith and as root all of it runs in a network namespace of its own (house.py); without one the
// cases with real phones and those that cut the network are left out.
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { accessibleDoor, cases as inOneBrowser } from "./cases.mjs";
import { cases as ofAccounts, noTrust } from "./cases_account.mjs";
import { cases as ofChoices } from "./cases_choices.mjs";
import { cases as inFirefox, missing } from "./cases_firefox.mjs";
import { cases as withNetwork } from "./cases_network.mjs";
import { cases as withPhones } from "./cases_phones.mjs";
import { HOUSE, Person, Phones, ROOT, startBrowser, startServer } from "./rig.mjs";

const PEOPLE = { alice: "Alice Brandt", bob: "Bob Miller", carol: "Carol Nguyen", dave: "Dave Okafor", erin: "Erin Sato" };
const CASE_MS = 240_000; // of a machine that others use too

function option(name) {
  const at = process.argv.indexOf(name);
  return at < 0 ? "" : (process.argv[at + 1] ?? "");
}

const needsHouse = { ...withNetwork, ...withPhones, ...inFirefox };
const cases = { ...inOneBrowser, ...ofAccounts, ...ofChoices, ...needsHouse };
const pattern = option("-k");
const wanted = Object.keys(cases).filter((name) => name.includes(pattern));
if (process.argv.includes("--list")) {
  console.log(wanted.join("\n"));
  process.exit(0);
}

const binary = option("--kith");
if (binary && !HOUSE) {
  const { status } = spawnSync("python3", [path.join(ROOT, "tests/web/house.py"), process.execPath, ...process.argv.slice(1)],
    { stdio: "inherit", env: { ...process.env, KITH_WEB_HOUSE: "1" } });
  if (status !== 77) {
    process.exit(status ?? 1);
  }
}
const server = await startServer(binary ? "kith" : "stand-in", binary, PEOPLE);
const browser = await startBrowser(server);
const shots = path.join(ROOT, process.argv.includes("--shots") ? "docs/img" : "build/web-shots");
fs.mkdirSync(shots, { recursive: true });
const shot = (person, name) => person.page.screenshot({ path: path.join(shots, `web-${name}.png`), animations: "disabled" });
const world = { server, browser, shot, phones: HOUSE ? new Phones(binary, server) : null };
let failed = 0;

let began = Date.now();

function verdict(name, error) {
  failed += error ? 1 : 0;
  const seconds = ((Date.now() - began) / 1000).toFixed(1);
  began = Date.now();
  console.log(error ? `FAIL ${name}: ${String(error.message ?? error).split("\n").slice(0, 4).join(" ")}` : `PASS ${name} (${seconds} s)`);
}

async function within(promise) {
  let timer;
  const late = new Promise((_, fail) => {
    timer = setTimeout(() => fail(new Error("took too long")), CASE_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

const people = () => [world.alice, world.bob, world.carol].filter(Boolean);

/** alice at a desk, bob with a phone, carol in the dark; each comes in by an invitation. */
async function gather(door) {
  const join = (user, options) => Person.signedIn(browser, server, user, PEOPLE[user], options);
  world.alice = await join("alice", { door });
  world.bob = await join("bob", { phone: true });
  world.carol = await join("carol", { dark: true });
}

/** After a case that failed, with whatever it left: everybody leaves, by which a case that still runs ends, and comes in
 *  anew; the server and the phones are as they were. */
async function tidy(running) {
  await Promise.all(people().map((p) => p.context.close()));
  await Promise.allSettled([running]);
  await server.start?.();
  await world.phones?.do("rest");
  await within(gather());
}

try {
  await within(gather(async (p) => { await accessibleDoor(p); await shot(p, "invited"); }));
  verdict("invitation_and_passkey");
  for (const name of wanted) {
    let error = null;
    const lacks = name in needsHouse && !HOUSE ? "needs Kith and a network namespace" : name in inFirefox ? missing
      : name.startsWith("trust_") ? noTrust : "";
    if (lacks) {
      console.log(`SKIP ${name}: ${lacks}`);
      continue;
    }
    let running;
    try {
      await within(Promise.all(people().map((p) => p.idle())));
      running = cases[name](world);
      await within(running);
      for (const person of people()) {
        if (person.errors.length > 0) {
          error = new Error(`${person.user}'s page: ${person.errors.splice(0).join("; ")}`);
        }
      }
    } catch (e) {
      error = e;
      for (const { user, page } of people()) {
        await page.screenshot({ path: path.join(ROOT, "build/web-shots", `failed-${name}-${user}.png`) }).catch(() => undefined);
      }
    }
    verdict(name, error);
    if (error) {
      await tidy(running);
    }
  }
} catch (error) {
  verdict("people_come_in", error);
} finally {
  await world.phones?.close();
  await browser.close();
  await server.close();
}
process.exit(failed ? 1 : 0);
