// What networks do: they fail and heal, machines sleep, and some let nothing through but the relay. Packets are dropped
// by nftables in the tests' own namespace (house.py), so nobody else is cut off.
import { spawnSync } from "node:child_process";
import { need, until } from "./rig.mjs";

function nft(rules) {
  const done = spawnSync("nft", ["-f", "-"], { input: rules, encoding: "utf8" });
  need(done.status === 0, `nft: ${done.error ?? done.stderr}`);
}

const HEALED = "table inet cut\ndelete table inet cut\n";

/** From now on these rules hold, and none of the ones before. */
function cut(...rules) {
  nft(`${HEALED}table inet cut { chain input { type filter hook input priority 0;\n${rules.join("\n")}\n}\n}\n`);
}

const heal = () => nft(HEALED);
const NO_SIGNALLING = "tcp dport 443 reject with tcp reset";
const SILENT_SIGNALLING = "tcp dport 443 drop\ntcp sport 443 drop";

/** Of the connection that the call has: the UDP ports it has found, and the name of its ICE session. */
function ice(person) {
  return person.page.evaluate(async () => {
    const pc = window.spied.pcs.at(-1);
    const ports = [...(await pc.getStats()).values()].filter((s) => s.type === "local-candidate" && s.protocol === "udp").map((s) => s.port);
    const pair = [...(await pc.getStats()).values()].find((s) => s.type === "candidate-pair" && s.nominated && s.state === "succeeded");
    const local = pair && (await pc.getStats()).get(pair.localCandidateId);
    return { ports, count: window.spied.pcs.length, kind: local?.candidateType, ufrag: /a=ice-ufrag:(\S+)/.exec(pc.localDescription.sdp)[1] };
  });
}

/** The line is so; on a small screen the call covers what tells it. */
const line = (person, state) => person.page.locator(`.line-${state}`).waitFor({ state: "attached" });

export const cases = {
  /** Every packet vanishes and nobody is told. Old ports stay dead afterwards: only an ICE restart can bring the media
   *  back, over a WebSocket that the page has to give up and make anew by itself. */
  async network_cut_and_healed(w) {
    await w.alice.call(w.bob);
    await w.bob.answer();
    await Promise.all([w.alice.up(), w.bob.up()]);
    await Promise.all([w.alice.hears(), w.bob.hears()]);
    const before = [await ice(w.alice), await ice(w.bob)];
    const dead = `udp dport { ${[...new Set(before.flatMap((b) => b.ports))].join(", ")} } drop`;
    try {
      cut(dead, "meta l4proto udp drop", SILENT_SIGNALLING);
      await Promise.all([w.alice, w.bob].map(async (p) => {
        await p.see("Connection lost, reconnecting…");
        await Promise.all([line(p, "offline"), p.accessible("reconnecting")]);
      }));
      cut(dead);
      await Promise.all([w.alice, w.bob].map(async (p) => {
        await line(p, "ready");
        await p.up();
        await p.hears();
      }));
      const after = [await ice(w.alice), await ice(w.bob)];
      need(after.every((a, i) => a.count === before[i].count), "it is another call");
      need(after.every((a, i) => a.ufrag !== before[i].ufrag), "ICE was not restarted");
      await w.alice.button("Hang up").click();
      await w.bob.see("Alice Brandt hung up");
    } finally {
      heal();
    }
  },

  /** A page that was frozen, or on a machine that slept, looks after its connection as soon as it runs again. Its regular
   *  keep-alive, which would find out too, is never sent here. */
  async sleep_and_awake(w) {
    const page = await w.alice.open();
    await page.addInitScript(() => {
      const real = window.setInterval;
      window.setInterval = (f, ms, ...more) => (ms > 20_000 ? 0 : real(f, ms, ...more));
    });
    await w.alice.page.goto("about:blank");
    await page.goto(`${w.server.base}/`);
    await w.alice.ready(page);
    const frozen = () => document.dispatchEvent(new Event("resume")); // as browsers say that it was
    const slept = () => {
      const real = Date.now;
      Date.now = () => real() + 60_000;
    };
    for (const wakes of [frozen, slept]) {
      try {
        cut(NO_SIGNALLING);
        await page.evaluate(wakes);
        await page.locator(".line-offline").waitFor();
      } finally {
        heal();
      }
      await w.alice.ready(page);
    }
    await w.bob.page.reload(); // the cut was his, too: he may not have noticed yet, and this is not about him
    await w.bob.ready();
    await w.bob.call(w.alice);
    await w.alice.see("Bob Miller is calling", page);
    await w.alice.button("Decline", page).click();
    await w.bob.see("Alice Brandt declined");
  },

  /** The server dies in the middle of a call and comes back: the call goes on all the while, the pages sign in again by
   *  themselves and the call can be held and ended as before. */
  async server_fails_and_returns(w) {
    await w.alice.call(w.bob);
    await w.bob.answer();
    await Promise.all([w.alice.up(), w.bob.up()]);
    await w.server.fails();
    try {
      await Promise.all([w.alice, w.bob].map((p) => line(p, "offline")));
      await w.alice.page.getByRole("status").filter({ hasText: "No connection. Calls go on as long as they can" }).waitFor();
      await Promise.all([w.alice.hears(), w.bob.hears()]);
    } finally {
      await w.server.start();
    }
    await Promise.all([w.alice, w.bob].map((p) => line(p, "ready")));
    await w.alice.button("Hold").click();
    await w.bob.see("Alice Brandt put you on hold");
    await w.alice.button("Resume").click();
    await Promise.all([w.alice.hears(), w.bob.hears()]);
    await w.alice.button("Hang up").click();
    await w.bob.see("Alice Brandt hung up");
  },

  async call_by_relay(w) {
    const turn = async () => JSON.parse(await w.server.run("status", "--json")).turn;
    const before = await turn();
    await w.alice.page.evaluate(() => { window.spied.config = { iceTransportPolicy: "relay" }; });
    await w.alice.call(w.bob);
    await w.bob.answer();
    await Promise.all([w.alice.up(), w.bob.up()]);
    await Promise.all([w.alice.hears(), w.bob.hears()]);
    need((await ice(w.alice)).kind === "relay", "the media do not go by the relay");
    const bytes = (t) => Math.min(t.bytes_up - before.bytes_up, t.bytes_down - before.bytes_down);
    await until(async () => bytes(await turn()) > 5000, "Kith's relay counts nothing");
    await w.alice.button("Hang up").click();
    await w.bob.see("Alice Brandt hung up");
  },
};
