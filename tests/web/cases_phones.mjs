// The page and real phones, both ways: each must hear the other's tone. baresip is desk, linphone is lina.
import { until } from "./rig.mjs";
import { TONE } from "./scene.mjs";

const DESK = 440;
const LINA = 990;
const known = new Set();

async function phone(w, make, name, tone) {
  if (!known.has(name)) {
    await w.phones.do(make, name, { tone });
    known.add(name);
  }
  return { name, address: `${name}@${w.server.domain}` };
}

/** Both hear each other; then the page's person hangs up and the phone is told, or the other way. */
async function talk(w, person, name, tone) {
  await person.up();
  await person.hearsTone(tone);
  await w.phones.do("heard", name, { tone: TONE });
}

export const cases = {
  async calls_baresip(w) {
    const desk = await phone(w, "baresip", "desk", DESK);
    await w.alice.call(desk);
    await talk(w, w.alice, "desk", DESK);
    await w.alice.button("Hang up").click();
    await w.phones.do("closed", "desk");
  },

  async is_called_by_baresip(w) {
    await phone(w, "baresip", "desk", DESK);
    await w.phones.do("dial", "desk", { args: [w.alice.address] });
    await w.alice.see("desk is calling");
    await w.alice.answer();
    await talk(w, w.alice, "desk", DESK);
    await w.phones.do("hang_up", "desk");
    await w.alice.see("desk hung up");
  },

  async calls_linphone(w) {
    const lina = await phone(w, "linphone", "lina", LINA);
    await w.alice.call(lina);
    await talk(w, w.alice, "lina", LINA);
    await w.alice.button("Hang up").click();
    await w.phones.do("closed", "lina");
  },

  async is_called_by_linphone(w) {
    await phone(w, "linphone", "lina", LINA);
    await w.phones.do("dial", "lina", { args: [w.alice.address] });
    await w.alice.see("lina is calling");
    await w.alice.answer();
    await talk(w, w.alice, "lina", LINA);
    await w.phones.do("hang_up", "lina");
    await w.alice.see("lina hung up");
  },
};
