// One function a case. Each gets the world: signed-in alice (desk), bob (phone size), carol (desk, dark), all idle.
import { accessible, foreignPage, LIMIT_MS, need, Person, until } from "./rig.mjs";

async function videoCall(w) {
  await w.alice.call(w.bob, true);
  await w.bob.answer(true);
  await Promise.all([w.alice.up(), w.bob.up()]);
}

async function audioCall(from, to) {
  await from.call(to);
  await to.answer();
  await Promise.all([from.up(), to.up()]);
}

async function hangUp(from, to) {
  await from.button("Hang up").click();
  await to.see(`${from.name} hung up`);
}

/** What kind of picture one's calls send ("monitor", "window", "browser": a screen; "": a camera), and how large. */
const sends = (person) => person.page.evaluate(() => window.spied.pcs.filter((p) => p.connectionState === "connected")
  .flatMap((p) => p.getSenders()).filter((s) => s.track?.kind === "video").map((s) => s.track.getSettings())
  .map((s) => ({ surface: s.displaySurface ?? "", shape: s.width / s.height })));

/** What arrives is the screen of the other, by its shape, or again the camera's picture. */
async function seesOf(person, other, screen) {
  await until(async () => {
    const now = await sends(other);
    return now.length === 1 && (now[0].surface !== "") === screen;
  }, `${other.user} does not send the ${screen ? "screen" : "camera"}`);
  await until(async () => {
    const [{ shape }] = await sends(other);
    const { width, height } = await person.sees();
    return Math.abs(width / height - shape) < 0.1;
  }, `${person.user} does not see the ${screen ? "screen" : "camera"}`);
}

/** A screen reader is told so: the words stand in a live region. */
const told = (person, words) => person.page.getByRole("status").filter({ hasText: words }).first().waitFor();

/** The safety number by what DTLS itself has used at this end: the certificates of the connection that carries the call. */
const provenCode = (person) => person.page.evaluate(async () => {
  const pc = window.spied.pcs.findLast((p) => p.connectionState === "connected");
  const all = await pc.getStats();
  const transport = [...all.values()].find((s) => s.type === "transport" && s.dtlsState === "connected");
  const prints = [transport.localCertificateId, transport.remoteCertificateId].map((id) => all.get(id))
    .map((c) => `${c.fingerprintAlgorithm.toLowerCase()} ${c.fingerprint.toUpperCase()}`);
  const hash = new DataView(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(prints.sort().join("\n"))));
  return [0, 4, 8].map((at) => String(hash.getUint32(at) % 10_000).padStart(4, "0")).join(" ");
});

/** What one's list of people says of somebody. */
const row = (person, other, words) => person.page.locator(".row", { hasText: other.name }).getByText(words, { exact: true }).waitFor();

/** From now on one's list is of before the other came. */
async function listAway(person, other) {
  const list = await person.page.evaluate(() => fetch("/api/people").then((r) => r.json()));
  list.people.find((p) => p.name === other.name).reachable = false;
  await person.page.route("**/api/people", (route) => route.fulfill({ json: list }));
  await person.page.evaluate(() => document.dispatchEvent(new Event("visibilitychange"))); // it asks anew
  await row(person, other, "not reachable");
}

async function safetyCode(person) {
  await person.page.locator(".lock-button").click();
  const code = await person.page.locator(".code").textContent();
  await person.page.locator(".lock-button").click();
  return code;
}

export const cases = {
  async sign_in_again_with_one_tap(w) {
    const { carol } = w;
    await carol.button("Settings").click();
    await carol.see("Your devices");
    await carol.button("Sign out").click();
    await carol.button("Sign in with your passkey").click();
    await carol.ready();
  },

  async video_call(w) {
    await listAway(w.bob, w.alice);
    await w.alice.call(w.bob, true);
    await w.bob.see("Alice Brandt is calling");
    await row(w.bob, w.alice, "reachable");
    await w.shot(w.bob, "incoming-phone");
    await w.bob.accessible("incoming call");
    await w.bob.answer(true);
    await Promise.all([w.alice.up(), w.bob.up()]);
    const [a, b] = await Promise.all([w.alice.sees(), w.bob.sees()]);
    need(a.width >= 320 && b.width >= 320, `the pictures are ${a.width} and ${b.width} wide`);
    await Promise.all([w.alice.hears(), w.bob.hears()]);
    const codes = [await safetyCode(w.alice), await safetyCode(w.bob)];
    const proven = [await provenCode(w.alice), await provenCode(w.bob)];
    need(proven.every((code) => code === codes[0]), `the safety number is ${codes[0]}, the connection's certificates say ${proven}`);
    need(codes[0] === codes[1] && /^\d{4} \d{4} \d{4}$/.test(codes[0]), `safety numbers differ: ${codes}`);
    await w.alice.page.locator(".row", { hasText: "Bob Miller" }).getByText("in a call with you").waitFor();
    await w.shot(w.alice, "call-desk");
    await w.shot(w.bob, "call-phone");
    await w.alice.accessible("call");
    await hangUp(w.alice, w.bob);
    await w.alice.see("Call ended");
  },

  async hold_and_mute(w) {
    await audioCall(w.alice, w.bob);
    await w.bob.hears();
    await w.alice.button("Mute").click();
    await told(w.alice, "You are muted");
    await w.bob.hearsSilence();
    await w.alice.button("Unmute").click();
    await w.bob.hears();
    await w.alice.button("Hold").click();
    await told(w.bob, "Alice Brandt put you on hold");
    await told(w.alice, "On hold");
    await w.bob.hearsSilence();
    await w.alice.button("Resume").click();
    await w.bob.page.locator("time.duration").waitFor();
    await Promise.all([w.alice.hears(), w.bob.hears()]);
    await hangUp(w.bob, w.alice);
  },

  async camera_and_screen(w) {
    await audioCall(w.alice, w.bob);
    await w.alice.button("Camera on").click();
    await seesOf(w.bob, w.alice, false);
    await w.alice.button("Share screen").click();
    await told(w.alice, "You are sharing your screen");
    await seesOf(w.bob, w.alice, true);
    await w.alice.button("Stop sharing").click();
    await seesOf(w.bob, w.alice, false);
    await w.alice.button("Camera off").click();
    await w.bob.page.locator("video.peer-video").waitFor({ state: "detached" });
    await w.bob.hears();
    await hangUp(w.alice, w.bob);
  },

  async keypad(w) {
    await audioCall(w.alice, w.bob);
    await w.alice.button("Keypad").click();
    for (const k of "42#") {
      await w.alice.button(`Key ${k}`).click();
    }
    await until(() => w.alice.page.evaluate(() => document.querySelector(".keypad output").textContent === "42#"), "the digits are not shown");
    await hangUp(w.alice, w.bob);
  },

  async refused_calls_say_why(w) {
    await w.alice.call(w.bob);
    await w.bob.button("Decline").click();
    await w.alice.see("Bob Miller declined");
    await w.alice.button("Close").click();
    await w.alice.call({ address: `dave@${w.server.domain}` });
    await w.alice.see("Dave Okafor cannot be reached right now");
    await w.alice.button("Close").click();
    await w.alice.call({ address: `nobody@${w.server.domain}` });
    await w.alice.see("nobody is not known here");
    await w.alice.call({ address: "mailto:bob@example.org" });
    await w.alice.see("not mailto: ones");
    await w.alice.call(w.bob);
    await w.bob.see("Alice Brandt is calling");
    await w.alice.button("Hang up").click();
    await w.bob.page.locator(".incoming").waitFor({ state: "detached" });
    await w.bob.button("Recent").click();
    await w.bob.see("Missed call");
  },

  async messages(w) {
    await w.alice.page.locator(".row-main", { hasText: "Bob Miller" }).click();
    const text = "Shall we talk at ten?";
    await w.alice.page.getByLabel("Message to Bob Miller").fill(text);
    await w.alice.page.keyboard.press("Enter");
    await w.alice.page.locator(".message.delivered", { hasText: text }).waitFor();
    await w.bob.page.locator(".row", { hasText: "Alice Brandt" }).locator(".badge").waitFor();
    await w.bob.page.locator(".row-main", { hasText: "Alice Brandt" }).click();
    await w.bob.see(text);
    await w.bob.page.getByLabel("Message to Alice Brandt").fill("Yes, ten suits me.\nI will call you.");
    await w.bob.button("Send").click();
    await w.alice.see("Yes, ten suits me.");
    await w.alice.page.locator(".avatar .dot").first().waitFor();
    await w.shot(w.alice, "messages-desk");
    await w.alice.accessible("messages");
    await w.alice.page.locator(".row-main", { hasText: "Dave Okafor" }).click();
    await w.alice.page.getByLabel("Message to Dave Okafor").fill("Are you there?");
    await w.alice.page.keyboard.press("Enter");
    await w.alice.see("Not delivered: Dave Okafor cannot be reached right now");
  },

  async transfer(w) {
    await audioCall(w.alice, w.bob);
    await w.alice.button("Transfer").click();
    await w.alice.page.getByLabel("Transfer to").fill(w.carol.address);
    await w.alice.page.keyboard.press("Enter");
    await w.carol.see("Bob Miller is calling");
    await w.carol.answer();
    await w.alice.see("Transferred to Carol Nguyen");
    await Promise.all([w.carol.up(), w.bob.up()]);
    await Promise.all([w.carol.hears(), w.bob.hears()]);
    await hangUp(w.carol, w.bob);
  },

  async second_call_and_join(w) {
    await audioCall(w.alice, w.bob);
    await w.carol.call(w.alice);
    await w.alice.see("Carol Nguyen is calling");
    await w.alice.answer();
    await w.bob.see("Alice Brandt put you on hold");
    await w.carol.up();
    await w.alice.page.locator(".waiting-calls").getByRole("button", { name: "Transfer" }).click();
    await w.alice.see("Transferred to Carol Nguyen");
    await w.bob.see("Encrypted between you and Carol Nguyen");
    await w.carol.see("Encrypted between you and Bob Miller");
    await Promise.all([w.carol.hears(), w.bob.hears()]);
    await hangUp(w.bob, w.carol);
  },

  async reload_in_mid_call(w) {
    await videoCall(w);
    await w.alice.sees();
    await w.alice.page.reload();
    await w.alice.up();
    await w.alice.sees();
    await Promise.all([w.alice.hears(), w.bob.hears(), w.bob.sees()]);
    await hangUp(w.alice, w.bob);
  },

  async connection_cut_and_healed(w) {
    await audioCall(w.alice, w.bob);
    await w.alice.page.evaluate(() => window.spied.sockets.at(-1).close());
    await w.alice.page.locator(".line-offline").waitFor();
    await w.alice.ready();
    await w.alice.hears();
    await w.alice.button("Hold").click();
    await w.bob.see("Alice Brandt put you on hold");
    await w.alice.button("Resume").click();
    await w.bob.hears();
    await hangUp(w.alice, w.bob);
  },

  async five_tabs_one_phone(w) {
    const tabs = [w.alice.page];
    for (let i = 0; i < 4; i++) {
      const tab = await w.alice.open();
      await tab.goto(w.server.base + "/");
      await w.alice.ready(tab);
      tabs.push(tab);
    }
    const sockets = await Promise.all(tabs.map((t) => t.evaluate(() => window.spied.sockets.filter((s) => s.readyState === 1).length)));
    need(sockets.reduce((a, b) => a + b) === 1, `${sockets} connections in five tabs`);
    for (const t of [tabs[1], tabs[2], tabs[4]]) { // as a browser says of tabs that nobody looks at
      await t.evaluate(() => Object.defineProperty(document, "hidden", { get: () => true }));
    }
    await w.bob.call(w.alice, true);
    await Promise.all(tabs.map((t) => t.getByText("Bob Miller is calling").first().waitFor()));
    await w.alice.button("Answer with video", tabs[3]).click();
    await w.bob.up();
    await w.bob.hears();
    w.alice.page = tabs[3];
    await Promise.all([w.bob.sees(), w.alice.sees()]);
    await w.alice.button("Share screen").click();
    await w.alice.see("You are sharing your screen");
    await w.bob.sees();
    await w.alice.button("Stop sharing").click();
    await w.alice.button("Share screen").waitFor();
    w.alice.page = tabs[0];
    await Promise.all(tabs.map((t) => t.locator(".incoming").waitFor({ state: "detached" })));
    await w.alice.see("The sound of this call is in another tab", tabs[2]);
    await accessible(tabs[2], "a tab that looks");
    await w.alice.button("Hang up", tabs[4]).click();
    await w.bob.see("Alice Brandt hung up");
    await tabs[0].close();
    await until(async () => {
      const open = await Promise.all(tabs.slice(1).map((t) => t.evaluate(() => window.spied.sockets.filter((s) => s.readyState === 1).length)));
      return open.reduce((a, b) => a + b) === 1;
    }, "no other tab took the phone over");
    w.alice.page = tabs[1];
    await w.alice.call(w.bob);
    await w.bob.see("Alice Brandt is calling");
    await w.bob.button("Decline").click();
  },

  async click_to_call(w) {
    const shop = await foreignPage(w.server, w.carol.address);
    try {
      await w.server.allowClickToCall(w.carol.address, shop.url);
      const visitor = await w.browser.newContext({ viewport: { width: 1000, height: 700 } });
      visitor.setDefaultTimeout(LIMIT_MS);
      const page = await visitor.newPage();
      await page.goto(shop.url);
      await page.getByRole("button", { name: "Talk to sales" }).click();
      await w.carol.page.locator(".incoming").waitFor();
      need(/guest-/.test(await w.carol.page.locator("#incoming-what").textContent()), "the visitor is not shown as a guest");
      await w.carol.answer();
      await w.carol.up();
      await w.carol.hears();
      await page.getByText("Encrypted between you and").waitFor();
      await w.shot({ page }, "click-to-call");
      await accessible(page, "the visitor's panel");
      await w.carol.button("Hang up").click();
      await page.getByText("hung up").waitFor();
      await w.carol.button("Recent").click();
      await w.carol.see("Ann Visitor");
      await w.carol.accessible("a guest among the calls");
      await visitor.close();
    } finally {
      shop.close();
    }
  },

  /** A whole call at both ends without a mouse. */
  async by_keyboard_alone(w) {
    const { alice, bob, carol } = w;
    await alice.press("Name, number or address", "B");
    await alice.page.keyboard.type("ob");
    await alice.page.keyboard.press("Enter");
    await bob.see("Alice Brandt is calling");
    await bob.press("Answer");
    await Promise.all([alice.up(), bob.up()]);
    await alice.press("Mute", "Space");
    await alice.see("You are muted");
    await alice.press("Unmute", "Space");
    await alice.press("Camera on");
    await bob.sees();
    await alice.press("Camera off");
    await alice.press("Keypad");
    await alice.press("Key 5");
    await alice.page.keyboard.press("7");
    await until(() => alice.page.evaluate(() => document.querySelector(".keypad output").textContent === "57"), "the keys are not taken");
    await alice.accessible("keypad");
    await alice.page.keyboard.press("Escape");
    await alice.page.locator(".keypad").waitFor({ state: "detached" });
    await alice.press("Hold");
    await bob.see("Alice Brandt put you on hold");
    await alice.accessible("on hold");
    await alice.press("Resume");
    await bob.page.locator("time.duration").waitFor();
    await alice.press("Encrypted between you and Bob Miller");
    await alice.see("Safety number");
    await alice.page.keyboard.press("Enter");
    await alice.press("Transfer");
    await alice.accessible("transfer");
    await alice.page.keyboard.type(carol.address);
    await alice.page.keyboard.press("Enter");
    await carol.see("Bob Miller is calling");
    await carol.press("Answer");
    await Promise.all([carol.up(), bob.up()]);
    await bob.press("Hang up");
    await carol.see("Bob Miller hung up");
  },

  async every_screen_is_accessible(w) {
    for (const person of [w.alice, w.bob, w.carol]) {
      await person.button("People").click();
      await person.accessible("people");
      await person.button("Recent").click();
      await person.accessible("recent");
      await person.button("Settings").click();
      await person.see("Your devices");
      await person.accessible("settings");
    }
    await w.shot(w.carol, "settings-dark");
    await w.bob.button("People").click();
    await w.bob.page.locator(".avatar .dot").first().waitFor();
    await w.shot(w.bob, "people-phone");
  },
};

export const accessibleDoor = (person) => person.see("You are invited as").then(() => person.accessible("invitation"));
