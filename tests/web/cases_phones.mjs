// The page and real phones, both ways: each must hear the other's tone and see the other's picture (VP8; theirs stand
// still). baresip is desk, linphone is lina; olga's baresip has no video at all.
import { need } from "./rig.mjs";
import { TONE } from "./scene.mjs";

const known = new Map();

function phone(w, make, name, tone, video = true) {
  if (!known.has(name)) {
    known.set(name, w.phones.do(make, name, { tone, video }).then(() => ({
      name, tone, video, address: `${name}@${w.server.domain}`,
    })));
  }
  return known.get(name);
}

const desk = (w) => phone(w, "baresip", "desk", 440);
const lina = (w) => phone(w, "linphone", "lina", 990);
const olga = (w) => phone(w, "baresip", "olga", 550, false);

async function talk(w, other) {
  await w.alice.up();
  await w.alice.hearsTone(other.tone);
  await w.phones.do("heard", other.name, { tone: TONE });
  if (other.video) {
    await w.alice.sees(true);
    await w.phones.do("sees", other.name);
  }
}

async function calls(w, other) {
  await w.alice.call(other, true);
  await talk(w, other);
  await w.alice.button("Hang up").click();
  await w.phones.do("closed", other.name);
}

/** On hold by the phone, and back. */
async function isHeld(w, other) {
  await w.phones.do("command", other.name, { args: ["hold"] });
  await w.alice.see(`${other.name} put you on hold`);
  await w.phones.do("command", other.name, { args: ["resume"] });
  await w.alice.up();
  await w.alice.hearsTone(other.tone);
}

async function isCalled(w, other) {
  await w.phones.do("dial", other.name, { args: [w.alice.address] });
  await w.alice.see(`${other.name} is calling`);
  await w.alice.answer(true);
  await talk(w, other);
  await w.phones.do("hang_up", other.name);
  await w.alice.see(`${other.name} hung up`);
}

export const cases = {
  async calls_baresip(w) {
    const other = await desk(w);
    await w.alice.call(other, true);
    await talk(w, other);
    await isHeld(w, other);
    await w.alice.button("Hang up").click();
    await w.phones.do("closed", other.name);
  },

  is_called_by_baresip: async (w) => isCalled(w, await desk(w)),
  calls_linphone: async (w) => calls(w, await lina(w)),
  is_called_by_linphone: async (w) => isCalled(w, await lina(w)),

  /** paul's phone has its encryption switched off; his page would never know why nobody calls. */
  async calls_a_phone_without_encryption(w) {
    const other = await phone(w, "bare", "paul", 660, false);
    await w.alice.call(other);
    await w.alice.see("paul's phone refused the call: it does not encrypt, or");
    await w.alice.button("Close").click();
    await w.phones.do("dial", "paul", { args: [w.alice.address] });
    await w.phones.do("closed", "paul", { args: [15, 1, "488"] });
    need(await w.alice.page.locator(".incoming").count() === 0, "a call without encryption rings");
  },

  /** A video call to a phone without video is a call with sound: the page says so, and its camera goes off.
   *  Its keypad reaches the phone (RFC 4733). */
  async calls_a_phone_without_video(w) {
    const other = await olga(w);
    await w.alice.call(other, true);
    await talk(w, other);
    await w.alice.see("olga's phone shows no video; the call goes on with sound.");
    await w.alice.page.locator("video.own-video").waitFor({ state: "detached" });
    await w.alice.button("Camera on").click();
    await w.alice.button("Camera on").waitFor();
    await w.alice.hearsTone(other.tone);
    await w.alice.button("Keypad").click();
    for (const key of "4#") {
      await w.alice.button(`Key ${key}`).click();
      await w.phones.do("event", "olga", { args: ["CALL_DTMF_START", 15, 1, key] });
    }
    await w.alice.button("Hang up").click();
    await w.phones.do("closed", "olga");
  },

  /** nina's phone has pictures, of a format that alice's browser (so held) lacks. */
  async calls_a_phone_without_common_format(w) {
    const other = await phone(w, "baresip", "nina", 770, "vp9");
    await w.alice.page.evaluate(() => {
      const make = RTCPeerConnection.prototype.createOffer;
      const { codecs } = RTCRtpReceiver.getCapabilities("video");
      const alone = codecs.filter((c) => c.mimeType === "video/VP8");
      RTCPeerConnection.prototype.createOffer = function (...args) {
        this.getTransceivers().filter((t) => t.receiver.track.kind === "video").forEach((t) => t.setCodecPreferences(alone));
        return make.apply(this, args);
      };
    });
    await w.alice.call(other, true);
    await talk(w, { ...other, video: false });
    await w.alice.see("nina's phone shows no video; the call goes on with sound.");
    await w.alice.page.locator("video.own-video").waitFor({ state: "detached" });
    await w.alice.button("Hang up").click();
    await w.phones.do("closed", "nina");
  },
};
