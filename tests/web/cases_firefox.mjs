// Another maker's browser: Firefox and Chromium call each other.
import fs from "node:fs";
import { FIREFOX, need, Person, startFirefox } from "./rig.mjs";

export const missing = fs.existsSync(FIREFOX) ? "" : `${FIREFOX} is not installed`;

async function both(w, erin) {
  await Promise.all([erin.up(), w.alice.up()]);
  await Promise.all([erin.sees(), w.alice.sees()]);
  await Promise.all([erin.hears(), w.alice.hears()]);
}

/** A message, and what became of it. */
async function writes(from, to) {
  const text = `From ${from.name}, in her browser`;
  await from.page.locator(".row-main", { hasText: to.name }).click();
  await from.page.getByLabel(`Message to ${to.name}`).fill(text);
  await from.page.keyboard.press("Enter");
  await from.page.locator(".message.delivered", { hasText: text }).waitFor();
  await to.page.locator(".message.theirs", { hasText: text }).waitFor();
}

export const cases = {
  async firefox_and_chromium(w) {
    const chromium = await Person.signedIn(w.browser, w.server, "erin", "Erin Sato");
    const firefox = await startFirefox();
    try {
      const erin = await chromium.in(firefox);
      await chromium.page.goto("about:blank");
      await erin.call(w.alice, true);
      await w.alice.answer(true);
      await both(w, erin);
      await erin.button("Hold").click();
      await w.alice.see("Erin Sato put you on hold");
      await erin.button("Resume").click();
      await w.alice.hears();
      await erin.page.evaluate(() => window.spied.sockets.at(-1).close());
      await erin.page.locator(".line-offline").waitFor();
      await erin.ready();
      await erin.hears();
      await w.alice.button("Hang up").click();
      await erin.see("Alice Brandt hung up");
      await w.alice.call(erin, true);
      await erin.answer(true);
      await both(w, erin);
      await erin.button("Hang up").click();
      await w.alice.see("Erin Sato hung up");
      await Promise.all([writes(erin, w.alice), writes(w.alice, erin)]);
      need(erin.errors.length === 0, erin.errors.join("; "));
    } finally {
      await firefox.close();
      await chromium.context.close();
    }
  },
};
