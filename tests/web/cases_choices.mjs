// What people choose and what stays with them: microphones and cameras, also when one is missing, not allowed or pulled
// out in the middle of a call; their own contacts, calls and messages in this browser.
import { need, until } from "./rig.mjs";

/** The devices that the calls of this page send from, by the browser's label. */
const sending = (person, kind) => person.page.evaluate((k) => window.spied.pcs.filter((p) => p.connectionState === "connected")
  .flatMap((p) => p.getSenders()).map((s) => s.track).filter((t) => t?.kind === k && t.readyState === "live").map((t) => t.label), kind);

const sends = (person, kind, label) => until(async () => {
  const all = await sending(person, kind);
  return all.length === 1 && all[0] === label;
}, `${person.user} does not send from ${label}`);

/** As a browser tells of a device that somebody has pulled out. */
const pullOut = (person, kind) => person.page.evaluate((k) => {
  const track = window.spied.pcs.findLast((p) => p.connectionState === "connected").getSenders().find((s) => s.track?.kind === k).track;
  track.stop();
  track.dispatchEvent(new Event("ended"));
}, kind);

/** From now on the browser answers so when the page asks for this kind. */
const refuse = (person, kind, name) => person.page.evaluate(([k, n]) => {
  const devices = navigator.mediaDevices;
  const real = Object.getPrototypeOf(devices).getUserMedia;
  devices.getUserMedia = (wanted) => (wanted[k] ? Promise.reject(new DOMException("", n)) : real.call(devices, wanted));
}, [kind, name]);

const speaker = (person) => person.page.evaluate(() => window.spied.sinks.at(-1));

export const cases = {
  async devices_are_chosen_in_mid_call(w) {
    const { alice, bob } = w;
    await alice.call(bob, true);
    await bob.answer(true);
    await Promise.all([alice.up(), bob.up()]);
    await bob.sees();
    await alice.button("Mute").click();
    await alice.button("Microphone and camera").click();
    await alice.accessible("devices in a call");
    const choice = (label) => alice.page.locator(".field", { hasText: label }).locator("select");
    const track = () => alice.page.evaluate(() => window.spied.pcs.findLast((p) => p.connectionState === "connected").getSenders()
      .find((s) => s.track?.kind === "video").track.id);
    const offered = (label, least) => until(async () => {
      const all = await choice(label).locator("option").allTextContents();
      return all.length >= least && all;
    }, `${label}: not ${least} to choose from`);
    const mics = await offered("Microphone", 3);
    const cameras = await offered("Camera", 2); // the browser makes up one only
    const speakers = await offered("Speaker", 2);
    const picture = await track();
    await choice("Camera").selectOption(cameras.at(-1));
    await until(async () => (await track()) !== picture, "the camera was not opened anew");
    await sends(alice, "video", cameras.at(-1));
    await bob.sees();
    await choice("Microphone").selectOption(mics.at(-1));
    await sends(alice, "audio", mics.at(-1));
    await bob.hearsSilence(); // muted before is muted now
    await alice.button("Unmute").click();
    await bob.hears();
    await choice("Speaker").selectOption(speakers.at(-1));
    await until(() => speaker(alice), "no speaker was chosen");
    await alice.page.reload();
    await alice.up();
    await sends(alice, "audio", mics.at(-1)); // it is remembered
    await alice.page.evaluate(() => localStorage.setItem("kith:devices", JSON.stringify({ mic: "away", camera: "away" })));
    await alice.page.reload();
    await alice.up(); // with what there is
    await bob.sees();
    await bob.hears();
    await alice.button("Settings").click(); // beside the call
    for (const label of ["Microphone", "Camera", "Speaker"]) {
      await choice(label).selectOption("");
    }
    await alice.button("Hang up").click();
    await bob.see("Alice Brandt hung up");
  },

  async a_device_is_pulled_out(w) {
    const { alice, bob } = w;
    await alice.call(bob, true);
    await bob.answer(true);
    await Promise.all([alice.up(), bob.up()]);
    await pullOut(alice, "audio");
    await alice.see("The microphone is gone. The call goes on with another one.");
    await bob.hears();
    await pullOut(alice, "video");
    await alice.see("The camera is gone. The call goes on without its picture.");
    await bob.page.locator("video.peer-video").waitFor({ state: "detached" });
    await alice.button("Camera on").click();
    await bob.sees();
    await refuse(alice, "audio", "NotFoundError");
    await pullOut(alice, "audio");
    await alice.see("No microphone was found. Plug one in, or choose another in the settings.");
    await alice.hears();
    await alice.button("Hang up").click();
    await bob.see("Alice Brandt hung up");
  },

  async what_is_missing_is_said(w) {
    const { alice, bob } = w;
    for (const [error, words] of [["NotAllowedError", "The browser may not use the microphone."], ["NotFoundError", "No microphone was found."],
      ["NotReadableError", "Another program holds the microphone."]]) {
      await refuse(alice, "audio", error);
      await alice.call(bob);
      await alice.see(words);
      await alice.button("Close").click();
    }
    await bob.call(alice);
    await alice.answer();
    await bob.see("Alice Brandt cannot be reached right now");
    await bob.button("Close").click();
    await alice.page.reload();
    await alice.ready();
    await refuse(alice, "video", "NotAllowedError");
    await alice.call(bob, true);
    await bob.answer();
    await Promise.all([alice.up(), bob.up()]);
    await alice.see("The browser may not use the camera.");
    await bob.hears();
    await alice.button("Hang up").click();
    await bob.see("Alice Brandt hung up");
  },

  /** Contacts of one's own, calls and messages outlive a reload, and go when their owner says so. */
  async what_is_kept(w) {
    const { alice } = w;
    const friend = "zoe@elsewhere.example";
    await alice.page.getByLabel("Name, number or address").fill(friend);
    await alice.page.keyboard.press("Enter");
    await alice.button("Close").click();
    await alice.button("Recent").click();
    await alice.page.locator(".row-main", { hasText: "zoe" }).first().click();
    await alice.button("Add to contacts").click();
    await alice.page.getByLabel(/^Message to /).fill("Are you there?");
    await alice.page.keyboard.press("Enter");
    await alice.see("Not delivered: The server says: ");
    await alice.page.reload();
    await alice.ready();
    const row = alice.page.locator(".row", { hasText: "zoe" });
    await row.first().waitFor();
    need((await row.first().textContent()).includes(friend), "her own contact is not shown with the address");
    await row.locator(".row-main").first().click();
    await alice.see("Are you there?");
    await alice.button("Recent").click();
    await row.first().waitFor();
    await alice.button("Forget all calls").click();
    await row.waitFor({ state: "detached" });
    await alice.button("People").click();
    await row.locator(".row-main").first().click();
    await alice.button("Remove from contacts").click();
    await alice.button("Add to contacts").waitFor();
  },
};
