// One function a case. Each gets the world: signed-in alice (desk), bob (phone size), carol (desk, dark), all idle.
import fs from "node:fs";
import { AXE, foreignPage, LIMIT_MS, need, Person, until } from "./rig.mjs";

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

async function safetyCode(person) {
  await person.page.locator(".lock-button").click();
  const code = await person.page.locator(".code").textContent();
  await person.page.locator(".lock-button").click();
  return code;
}

/** axe finds nothing; the rules of WCAG 2.2 AA and best practice. */
async function accessible(person, where) {
  // The page's own policy forbids inline scripts; CDP's evaluation is outside of it.
  await person.page.evaluate(fs.readFileSync(AXE, "utf8"));
  const found = await person.page.evaluate(async () => {
    const { violations } = await window.axe.run(document, { resultTypes: ["violations"] });
    return violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html.slice(0, 120)).slice(0, 2).join(" | ")}`);
  });
  need(found.length === 0, `${where}: ${found.join("; ")}`);
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
    await w.alice.call(w.bob, true);
    await w.bob.see("Alice Brandt is calling");
    await w.shot(w.bob, "incoming-phone");
    await accessible(w.bob, "incoming call");
    await w.bob.answer(true);
    await Promise.all([w.alice.up(), w.bob.up()]);
    const [a, b] = await Promise.all([w.alice.sees(), w.bob.sees()]);
    need(a.width >= 320 && b.width >= 320, `the pictures are ${a.width} and ${b.width} wide`);
    await Promise.all([w.alice.hears(), w.bob.hears()]);
    const codes = [await safetyCode(w.alice), await safetyCode(w.bob)];
    need(codes[0] === codes[1] && /^\d{4} \d{4} \d{4}$/.test(codes[0]), `safety numbers differ: ${codes}`);
    await w.alice.page.locator(".row", { hasText: "Bob Miller" }).getByText("in a call with you").waitFor();
    await w.shot(w.alice, "call-desk");
    await w.shot(w.bob, "call-phone");
    await accessible(w.alice, "call");
    await hangUp(w.alice, w.bob);
    await w.alice.see("Call ended");
  },

  async hold_and_mute(w) {
    await audioCall(w.alice, w.bob);
    await w.bob.hears();
    await w.alice.button("Mute").click();
    await w.alice.see("You are muted");
    await w.bob.hearsSilence();
    await w.alice.button("Unmute").click();
    await w.bob.hears();
    await w.alice.button("Hold").click();
    await w.bob.see("Alice Brandt put you on hold");
    await w.alice.see("On hold");
    await w.alice.button("Resume").click();
    await w.bob.page.locator("time.duration").waitFor();
    await Promise.all([w.alice.hears(), w.bob.hears()]);
    await hangUp(w.bob, w.alice);
  },

  async camera_and_screen(w) {
    await audioCall(w.alice, w.bob);
    await w.alice.button("Camera on").click();
    await w.bob.sees();
    await w.alice.button("Share screen").click();
    await w.alice.see("You are sharing your screen");
    await w.bob.sees();
    await w.alice.button("Stop sharing").click();
    await w.bob.sees();
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
    await accessible(w.alice, "messages");
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
      await w.carol.button("Hang up").click();
      await page.getByText("hung up").waitFor();
      await visitor.close();
    } finally {
      shop.close();
    }
  },

  async by_keyboard_alone(w) {
    const { page } = w.alice;
    await page.getByLabel("Name, number or address").focus();
    await page.keyboard.type("Bob");
    await page.keyboard.press("Enter");
    await w.bob.see("Alice Brandt is calling");
    await w.bob.answer();
    await w.alice.up();
    const reached = new Set();
    for (let i = 0; i < 30; i++) {
      await page.keyboard.press("Tab");
      reached.add(await page.evaluate(() => document.activeElement?.getAttribute("aria-label") ?? ""));
    }
    for (const name of ["Mute", "Camera on", "Hold", "Keypad", "Transfer", "Hang up"]) {
      need(reached.has(name), `the keyboard does not reach ${name}`);
    }
    await page.getByRole("button", { name: "Hang up" }).focus();
    await page.keyboard.press("Enter");
    await w.bob.see("Alice Brandt hung up");
  },

  async every_screen_is_accessible(w) {
    for (const person of [w.alice, w.bob, w.carol]) {
      await person.button("People").click();
      await accessible(person, `${person.user}: people`);
      await person.button("Recent").click();
      await accessible(person, `${person.user}: recent`);
      await person.button("Settings").click();
      await person.see("Your devices");
      await accessible(person, `${person.user}: settings`);
    }
    await w.shot(w.carol, "settings-dark");
    await w.bob.button("People").click();
    await w.bob.page.locator(".avatar .dot").first().waitFor();
    await w.shot(w.bob, "people-phone");
  },
};

export const accessibleDoor = (person) => person.see("You are invited as").then(() => accessible(person, "invitation"));
