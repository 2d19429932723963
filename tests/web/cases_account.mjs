// What belongs to a person rather than to a call: the devices that may sign in, and being told of calls.
import { need, Person, until } from "./rig.mjs";

const DAVE = ["dave", "Dave Okafor"];

export const cases = {
  /** One device removes another in the page; the operator revokes the last one. Both are out at once. */
  async devices_are_removed(w) {
    const kept = await Person.signedIn(w.browser, w.server, ...DAVE);
    const lost = await Person.signedIn(w.browser, w.server, ...DAVE, { phone: true });
    try {
      await kept.button("Settings").click();
      await kept.see("Your devices");
      const rows = kept.page.locator(".devices li");
      const other = rows.filter({ hasText: "Passkey" }).filter({ hasNotText: "this device" });
      await other.getByRole("button").click();
      await other.getByRole("button", { name: "Really remove?" }).click();
      await other.waitFor({ state: "detached" });
      await lost.see("You have been signed out");
      await kept.ready();
      const { device } = await kept.page.evaluate(async () => (await fetch("/api/session")).json());
      need((await w.server.run("device", "list", kept.address)).includes(String(device)), "kith device list does not have it");
      await w.server.run("device", "revoke", String(device));
      await kept.see("You have been signed out");
    } finally {
      await kept.context.close();
      await lost.context.close();
    }
  },

  /** A hidden page tells of a call through the system, and takes it back when the caller gives up. */
  async hidden_page_tells_of_a_call(w) {
    const { page, context } = w.alice;
    await context.grantPermissions(["notifications", "microphone", "camera"], { origin: w.server.base });
    await page.evaluate(() => Object.defineProperty(document, "hidden", { get: () => true, configurable: true }));
    await w.bob.call(w.alice);
    await until(() => page.evaluate(() => window.spied.notes.some((n) => n.title === "Bob Miller is calling" && !n.note.closed)),
      "nothing tells of the call");
    await w.bob.button("Hang up").click();
    await until(() => page.evaluate(() => window.spied.notes.every((n) => n.note.closed)), "it still says that Bob calls");
  },
};
