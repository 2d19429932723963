// What belongs to a person rather than to a call: the devices that may sign in, and being told of calls.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { need, Person, plainlyOpened, until } from "./rig.mjs";

export const noTrust = fs.existsSync("/usr/bin/certutil") ? "" : "certutil is not installed";

const DAVE = ["dave", "Dave Okafor"];

export const cases = {
  /** Under the local CA a browser warns, until its owner has it trust the CA; and again when that is taken back. */
  async trust_is_installed_and_removed(w) {
    const home = fs.mkdtempSync(path.join(os.tmpdir(), "kith-web-home-"));
    try {
      need(/ERR_CERT_AUTHORITY_INVALID/.test(await plainlyOpened(w.server, home)), "no warning without trust");
      await w.server.runAt(home, "trust", "install", "--only", "browser", "--yes");
      const title = await plainlyOpened(w.server, home);
      need(title === "Kith", `with trust: ${title}`);
      await w.server.runAt(home, "trust", "remove", "--only", "browser", "--yes");
      need(/ERR_CERT_AUTHORITY_INVALID/.test(await plainlyOpened(w.server, home)), "still trusted");
    } finally {
      fs.rmSync(home, { recursive: true, force: true });
    }
  },

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
