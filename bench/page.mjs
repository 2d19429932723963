#!/usr/bin/env node
// What the page costs in a real browser: node bench/page.mjs --kith BINARY [--rounds N]. One line of JSON: medians with their
// lowest and highest. Everything is on this machine, so the times are those of server and browser, not of a network.
import { Person, startBrowser, startServer, until } from "../tests/web/rig.mjs";

function option(name, usual) {
  const at = process.argv.indexOf(name);
  return at < 0 ? usual : process.argv[at + 1];
}
const rounds = Number(option("--rounds", "9"));

function summary(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return { value: sorted[Math.floor(sorted.length / 2)], spread: [sorted[0], sorted[sorted.length - 1]] };
}

/** A first visit, with nothing in the cache: bytes on the wire, headers included, and the first paint with content. */
async function visit(browser, server) {
  const context = await browser.newContext();
  const page = await context.newPage();
  const cdp = await context.newCDPSession(page);
  let bytes = 0;
  cdp.on("Network.loadingFinished", (e) => { bytes += e.encodedDataLength; });
  await cdp.send("Network.enable");
  await page.goto(server.base + "/", { waitUntil: "networkidle" });
  const painted = await until(() => page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime), "no paint");
  await context.close();
  return { bytes, painted };
}

/** From the press of "Video call" to the other's first picture; the other answers as soon as it can. */
async function callSetUp(alice, bob) {
  await alice.idle();
  await bob.idle();
  const answers = bob.page.getByRole("button", { name: "Answer with video", exact: true }).click();
  await alice.page.evaluate(() => {
    window.setUp = new Promise((done) => {
      let begun = 0;
      document.addEventListener("click", () => { begun = performance.now(); }, { capture: true, once: true });
      new MutationObserver((_, observer) => {
        const video = document.querySelector("video.peer-video");
        if (begun && video) {
          observer.disconnect();
          video.requestVideoFrameCallback((now) => done(now - begun));
        }
      }).observe(document.body, { childList: true, subtree: true, attributes: true });
    });
  });
  await alice.page.getByLabel("Name, number or address").fill(bob.address);
  await alice.page.evaluate(() => document.activeElement.blur());
  const press = alice.button("Video call").first();
  await press.waitFor();
  await press.evaluate((b) => b.click());
  const took = await alice.page.evaluate(() => window.setUp);
  await answers;
  return took;
}

const server = await startServer("kith", option("--kith", "build/release/kith"), { alice: "Alice", bob: "Bob" });
const browser = await startBrowser(server);
try {
  const visits = [], calls = [];
  for (let i = 0; i < rounds; i++) {
    visits.push(await visit(browser, server));
  }
  const alice = await Person.signedIn(browser, server, "alice", "Alice");
  const bob = await Person.signedIn(browser, server, "bob", "Bob");
  for (let i = 0; i < rounds; i++) {
    calls.push(await callSetUp(alice, bob));
  }
  console.log(JSON.stringify({
    browser: browser.version(), bytes: summary(visits.map((v) => v.bytes)), paint_ms: summary(visits.map((v) => v.painted)), call_ms: summary(calls),
  }));
} finally {
  await browser.close();
  await server.close();
}
