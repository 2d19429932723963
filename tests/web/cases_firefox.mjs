// Another maker's browser: Firefox and Chromium call each other.
import fs from "node:fs";
import { FIREFOX, need, Person, startFirefox } from "./rig.mjs";

export const missing = fs.existsSync(FIREFOX) ? "" : `${FIREFOX} is not installed`;

async function both(w, erin) {
  await Promise.all([erin.up(), w.alice.up()]);
  await Promise.all([erin.sees(), w.alice.sees()]);
  await Promise.all([erin.hears(), w.alice.hears()]);
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
      await w.alice.button("Hang up").click();
      await erin.see("Alice Brandt hung up");
      await w.alice.call(erin, true);
      await erin.answer(true);
      await both(w, erin);
      await erin.button("Hang up").click();
      await w.alice.see("Erin Sato hung up");
      need(erin.errors.length === 0, erin.errors.join("; "));
    } finally {
      await firefox.close();
      await chromium.context.close();
    }
  },
};
