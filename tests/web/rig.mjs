// What the browser tests stand on: a server (Kith, or the page's stand-in), Chromium with a made-up microphone and
// camera, and people who are signed in by invitation. Waits end by an event; the limits are generous. In a network
// namespace of their own (house.py) the server is example.org, real phones can call, and the network can be cut.
import { spawn } from "node:child_process";
import crypto from "node:crypto";
import fs from "node:fs";
import http from "node:http";
import https from "node:https";
import { createRequire } from "node:module";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import readline from "node:readline";
import tls from "node:tls";
import { fileURLToPath } from "node:url";
import { writeScene, writeTone } from "./scene.mjs";

const HERE = path.dirname(fileURLToPath(import.meta.url));
export const ROOT = path.join(HERE, "../..");
const require = createRequire(path.join(ROOT, "web/package.json"));
const { chromium, firefox } = require("playwright-core");
const AXE = require.resolve("axe-core/axe.min.js");
export const LIMIT_MS = 30_000;

export class Failure extends Error {}

export function need(what, why) {
  if (!what) {
    throw new Failure(why);
  }
}

function freePort() {
  return new Promise((done) => {
    const probe = net.createServer().listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => done(port));
    });
  });
}

function output(command, args, options = {}) {
  return new Promise((done, fail) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], ...options });
    let text = "";
    child.stdout.on("data", (d) => { text += d; });
    child.stderr.on("data", (d) => { text += d; });
    child.on("error", fail);
    child.on("close", (code) => (code === 0 ? done(text) : fail(new Failure(`${path.basename(command)} ${args[0]}: ${text.slice(-300)}`))));
  });
}

/** Until f() gives something true. */
export async function until(f, why, limit = LIMIT_MS) {
  const end = Date.now() + limit;
  for (;;) {
    const found = await f();
    if (found) {
      return found;
    }
    if (Date.now() > end) {
      throw new Failure(why);
    }
    await new Promise((done) => setTimeout(done, 100));
  }
}

// ---- servers ----

async function standIn() {
  const port = await freePort();
  const child = spawn(process.execPath, [path.join(ROOT, "web/dev/serve.mjs"), String(port)], { stdio: ["ignore", "pipe", "inherit"] });
  await new Promise((done) => child.stdout.once("data", done));
  const base = `http://localhost:${port}`;
  return {
    kind: "stand-in", base, domain: "example.org", port, args: [],
    invite: (user) => Promise.resolve(`${base}/#invite=${Buffer.from(`${user}@example.org`).toString("base64url")}`),
    allowClickToCall: () => Promise.resolve(),
    close: () => child.kill(),
  };
}

function leafHash(host, port) {
  return until(() => new Promise((done) => {
    const socket = tls.connect({ port, host, servername: "localhost", rejectUnauthorized: false, ALPNProtocols: ["http/1.1"] }, () => {
      const key = new crypto.X509Certificate(socket.getPeerCertificate().raw).publicKey.export({ type: "spki", format: "der" });
      socket.destroy();
      done(crypto.createHash("sha256").update(key).digest("base64"));
    });
    socket.on("error", () => done(null));
  }), "the server does not answer");
}

/** In a namespace of our own: its server's address and names (house.py, tests/e2e/net.py). */
export const HOUSE = process.env.KITH_WEB_HOUSE ? { host: "203.0.113.10", domain: "example.org", port: 443, phonePort: 5061 } : null;

async function kith(binary, people) {
  const data = fs.mkdtempSync(path.join(os.tmpdir(), "kith-web-"));
  const { host, domain, port, phonePort } = HOUSE ?? { host: "127.0.0.1", domain: "localhost", port: await freePort() };
  const base = HOUSE ? `https://${domain}` : `https://localhost:${port}`;
  const config = path.join(data, "kith.conf");
  const listen = [port, phonePort].filter(Boolean).map((p) => `${host}:${p}`).join(", ");
  fs.writeFileSync(config, `domain = ${domain}\n\n[listen]\ntls = ${listen}\n\n[turn]\nallow = 203.0.113.0/24\n`);
  const log = fs.openSync(path.join(data, "log"), "w");
  const serve = () => spawn(binary, ["serve", "--config", config, "--data", data], { stdio: ["ignore", log, log] });
  let child = serve();
  const end = (signal) => new Promise((done) => {
    if (!child.kill(signal)) {
      done(); // it is gone
    }
    child.once("close", done);
  });
  process.on("exit", () => child.kill());
  const run = (...args) => output(binary, [...args, "--data", data]);
  const runAt = (home, ...args) => output(binary, [...args, "--data", data], { env: { ...process.env, HOME: home } });
  const args = [`--ignore-certificate-errors-spki-list=${await leafHash(host, port)}`];
  for (const [user, name] of Object.entries(people)) {
    await run("user", "add", `${user}@${domain}`, "--display", name);
  }
  return {
    kind: "kith", base, domain, port, args, data, run, runAt,
    tls: { key: fs.readFileSync(path.join(data, "tls/server.key")), cert: fs.readFileSync(path.join(data, "tls/server.pem")) }, log: () => fs.readFileSync(path.join(data, "log"), "utf8"),
    async invite(user) {
      const text = await run("invite", `${user}@${domain}`);
      const found = /https:\/\/\S+#invite=(\S+)/.exec(text);
      need(found, `kith invite printed no link: ${text.slice(0, 200)}`);
      return `${base}/#invite=${found[1]}`;
    },
    allowClickToCall: (to, origin) => run("clicktocall", "add", to, "--origin", origin),
    /** Kith ends at once, without a word to anybody. */
    fails: () => end("SIGKILL"),
    /** Kith runs, whatever was before. */
    start: () => {
      if (child.exitCode !== null || child.signalCode !== null) {
        child = serve();
      }
      return leafHash(host, port);
    },
    async close() {
      await end("SIGTERM");
      if (process.argv.includes("--keep")) {
        console.log(`kept: ${data}`);
      } else {
        fs.rmSync(data, { recursive: true, force: true });
      }
    },
  };
}

export function startServer(kind, binary, people) {
  return kind === "kith" ? kith(binary, people) : standIn();
}

/** A page of somebody else, on an origin of its own, with the click-to-call snippet. */
export async function foreignPage(server, to) {
  const html = `<!doctype html><html lang="en"><title>Shop</title><style>body { font: 17px/1.6 sans-serif; color: #2b2622; background: #f6f1e7; margin: 3rem 4rem }
main { max-width: 34rem } h1 { font-size: 2.4rem; margin: 0 }</style><main><h1>Lamps by hand</h1>
<p>Each lamp is turned, wired and tried in our workshop. Questions about size, light or delivery? We like to talk.</p>
<script type="module" src="${server.base}/kith-call.js"></script><kith-call to="${to}" label="Talk to sales" name="Ann Visitor"></kith-call></main>`;
  const show = (_, response) => response.writeHead(200, { "Content-Type": "text/html" }).end(html);
  const site = server.tls ? https.createServer(server.tls, show) : http.createServer(show);
  await new Promise((done) => site.listen(0, "127.0.0.1", done));
  return {
    url: `${server.tls ? "https" : "http"}://localhost:${site.address().port}`,
    close: () => { site.close(); site.closeAllConnections(); },
  };
}

// ---- real phones ----

/** baresip and linphone, by tests/web/phones.py: each command is answered, one after the other. */
export class Phones {
  constructor(binary, server) {
    const folder = path.join(server.data, "phones");
    fs.mkdirSync(folder);
    this.child = spawn("python3", [path.join(HERE, "phones.py"), binary, server.data, server.domain, String(HOUSE.phonePort), folder],
      { stdio: ["pipe", "pipe", "inherit"] });
    this.answers = readline.createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
  }

  /** One command (see there) for the phone of that name; what it answered. */
  async do(what, name, more = {}) {
    this.child.stdin.write(`${JSON.stringify({ do: what, name, ...more })}\n`);
    const { value, done } = await this.answers.next();
    need(!done, "phones.py ended");
    const answer = JSON.parse(value);
    need(!answer.error, answer.error);
    return answer.ok;
  }

  close() {
    this.child.stdin.end();
    return new Promise((done) => this.child.on("close", done));
  }
}

/** axe finds nothing; the rules of WCAG 2.2 AA and best practice. */
export async function accessible(page, where) {
  // The page's own policy forbids inline scripts; CDP's evaluation is outside of it.
  await page.evaluate(fs.readFileSync(AXE, "utf8"));
  const found = await page.evaluate(async () => {
    const { violations } = await window.axe.run(document, { resultTypes: ["violations"] });
    return violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html.slice(0, 120)).slice(0, 2).join(" | ")}`);
  });
  need(found.length === 0, `${where}: ${found.join("; ")}`);
}

// ---- the browser ----

export function startBrowser(server) {
  const scene = path.join(ROOT, "build/web-scene.y4m");
  const sound = path.join(ROOT, "build/web-tone.wav");
  writeScene(scene);
  writeTone(sound);
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox", "--disable-gpu", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
      `--use-file-for-fake-video-capture=${scene}`, `--use-file-for-fake-audio-capture=${sound}`,
      "--autoplay-policy=no-user-gesture-required", "--disable-background-timer-throttling",
      "--disable-renderer-backgrounding", "--disable-backgrounding-occluded-windows", ...server.args,
    ],
  });
}

/** What a browser of somebody with this home directory says of the server's page: its title, or the error. No switch
 *  makes it trust anybody. */
export async function plainlyOpened(server, home) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"], env: { ...process.env, HOME: home },
  });
  try {
    const page = await browser.newPage();
    await page.goto(`${server.base}/`, { timeout: LIMIT_MS });
    return await page.title();
  } catch (error) {
    return error.message;
  } finally {
    await browser.close();
  }
}

export const FIREFOX = process.env.FIREFOX ?? "/usr/bin/firefox-esr";

/** Debian's Firefox, by WebDriver BiDi; its own made-up camera and microphone. */
export function startFirefox() {
  return firefox.launch({
    channel: "moz-firefox", executablePath: FIREFOX,
    firefoxUserPrefs: { "media.navigator.streams.fake": true, "media.navigator.permission.disabled": true, "media.autoplay.default": 0 },
  });
}

/** Runs in the page before anything else: lets the tests see the connections. */
function spy() {
  window.spied = { pcs: [], sockets: [], notes: [], sinks: [], config: {} };
  const Pc = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Pc {
    constructor(config) {
      super({ ...config, ...window.spied.config });
      window.spied.pcs.push(this);
    }
  };
  const Note = window.Notification;
  window.Notification = class extends Note {
    constructor(title, ...more) {
      super(title, ...more);
      window.spied.notes.push({ title, note: this });
    }

    close() {
      this.closed = true;
      super.close();
    }
  };
  const sink = HTMLMediaElement.prototype.setSinkId;
  if (sink) {
    HTMLMediaElement.prototype.setSinkId = function (id) {
      return sink.call(this, id).then(() => void window.spied.sinks.push(id));
    };
  }
  const Ws = window.WebSocket;
  window.WebSocket = class extends Ws {
    constructor(...args) {
      super(...args);
      window.spied.sockets.push(this);
    }
  };
}

const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 };
const DESK = { viewport: { width: 1280, height: 800 } };

export class Person {
  static async signedIn(browser, server, user, name, options = {}) {
    const person = new Person();
    person.user = user;
    person.name = name;
    person.errors = [];
    person.server = server;
    person.address = `${user}@${server.domain}`;
    person.context = await browser.newContext({ locale: "en-GB", ...(options.phone ? PHONE : DESK), colorScheme: options.dark ? "dark" : "light" });
    person.context.setDefaultTimeout(LIMIT_MS);
    await person.context.addInitScript(spy);
    person.page = await person.open();
    await person.authenticator();
    await person.page.goto(await server.invite(user));
    await options.door?.(person);
    await person.button("Make the passkey").click();
    await person.ready();
    return person;
  }

  /** The same person in another browser, which has no made-up authenticator: the session's cookie goes along. */
  async in(browser) {
    const there = Object.assign(new Person(), this, { errors: [] });
    there.context = await browser.newContext({ ...DESK, ignoreHTTPSErrors: true });
    there.context.setDefaultTimeout(LIMIT_MS);
    await there.context.addCookies(await this.context.cookies());
    await there.context.addInitScript(spy);
    there.page = await there.open();
    await there.page.goto(this.server.base + "/");
    await there.ready();
    return there;
  }

  async open() {
    const page = await this.context.newPage();
    page.on("pageerror", (e) => this.errors.push(e.message));
    page.on("request", (q) => {
      if (!new RegExp(`^(${this.server.base}/|blob:|data:|about:)`).test(q.url())) {
        this.errors.push(`a request to somebody else: ${q.url()}`);
      }
    });
    page.on("console", (m) => {
      if (m.type() === "error" && /Content Security Policy|Uncaught/.test(m.text())) {
        this.errors.push(m.text());
      }
    });
    return page;
  }

  async authenticator() {
    this.cdp = await this.context.newCDPSession(this.page);
    await this.cdp.send("WebAuthn.enable");
    await this.cdp.send("WebAuthn.addVirtualAuthenticator", { options: {
      protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true,
      automaticPresenceSimulation: true } });
  }

  ready(page = this.page) {
    return page.locator(".line-ready").waitFor();
  }

  button(name, page = this.page) {
    return page.getByRole("button", { name, exact: true });
  }

  see(text, page = this.page) {
    return page.getByText(text).first().waitFor();
  }

  accessible(where) {
    return accessible(this.page, `${this.user}: ${where}`);
  }

  /** By keyboard alone: Tab until the control of that name has the focus, then that key. */
  async press(name, key = "Enter") {
    const at = () => this.page.evaluate(() => document.activeElement?.getAttribute("aria-label") || document.activeElement?.textContent.trim() || "");
    for (let i = 0; (await at()) !== name; i++) {
      need(i < 60, `the keyboard does not reach ${name}`);
      await this.page.keyboard.press("Tab");
    }
    await this.page.keyboard.press(key);
  }

  /** Back to a page without a call, whatever a test left behind. */
  async idle() {
    await this.page.unrouteAll();
    if (!this.page.url().startsWith(this.server.base)) { // a case left it elsewhere: there is nothing to end there
      await this.page.goto(`${this.server.base}/`);
    }
    await this.page.evaluate(() => sessionStorage.removeItem("kith:resume"));
    for (const page of this.context.pages().slice(1)) {
      await page.close();
    }
    for (const name of ["Hang up", "Decline"]) {
      while (await this.button(name).count()) {
        await this.button(name).first().click().catch(() => undefined);
        await this.page.waitForTimeout(50);
      }
    }
    await this.page.goto(this.server.base + "/");
    await this.ready();
  }

  async call(other, video = false) {
    await this.page.getByLabel("Name, number or address").fill(other.address);
    await this.button(video ? "Video call" : "Call").first().click();
  }

  async answer(video = false) {
    await this.button(video ? "Answer with video" : "Answer").click();
  }

  async up() {
    await this.page.locator(".stage time.duration").waitFor();
    await this.see(/Encrypted between you and/);
  }

  /** Audio as it arrives: packets, loudness summed up, seconds of sound. */
  audio() {
    return this.page.evaluate(async () => {
      const sum = { packets: 0, energy: 0, seconds: 0 };
      for (const pc of window.spied.pcs.filter((p) => p.connectionState === "connected")) {
        for (const s of (await pc.getStats()).values()) {
          if (s.type === "inbound-rtp" && s.kind === "audio") {
            sum.packets += s.packetsReceived;
            sum.energy += s.totalAudioEnergy ?? 0;
            sum.seconds += s.totalSamplesDuration ?? 0;
          }
        }
      }
      return sum;
    });
  }

  /** Loudness per second of sound over the next second of sound. */
  async loudness() {
    const before = await this.audio();
    const after = await until(async () => {
      const now = await this.audio();
      return now.seconds > before.seconds + 1.2 ? now : null;
    }, `no sound comes to ${this.user}`);
    return (after.energy - before.energy) / (after.seconds - before.seconds);
  }

  /** Waits until the loudest frequency that arrives is this one, in hertz. */
  hearsTone(hertz) {
    return until(() => this.page.evaluate(async (wanted) => {
      const pc = window.spied.pcs.findLast((p) => p.connectionState === "connected");
      const track = pc?.getReceivers().find((r) => r.track.kind === "audio")?.track;
      if (!track) {
        return false;
      }
      const context = new AudioContext();
      const analyser = new AnalyserNode(context, { fftSize: 8192 });
      context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
      const bins = new Float32Array(analyser.frequencyBinCount);
      for (let i = 0; i < 20; i++) {
        await new Promise((done) => setTimeout(done, 100));
        analyser.getFloatFrequencyData(bins);
        const best = bins.reduce((at, v, k) => (v > bins[at] ? k : at), 1);
        if (bins[best] > -60 && Math.abs((best * context.sampleRate) / analyser.fftSize - wanted) < 20) {
          await context.close();
          return true;
        }
      }
      await context.close();
      return false;
    }, hertz), `${this.user} does not hear ${hertz} Hz`);
  }

  hears() {
    return until(async () => (await this.loudness()) > 1e-5, `${this.user} hears nothing`);
  }

  hearsSilence() {
    return until(async () => (await this.loudness()) < 1e-7, `${this.user} still hears something`);
  }

  /** The picture that arrives: its size, once two frames differ; of a still one, once two have come. */
  async sees(still = false) {
    await this.page.locator("video.peer-video").waitFor();
    return until(() => this.page.evaluate(async (enough) => {
      const video = document.querySelector("video.peer-video");
      if (!video || video.videoWidth === 0) {
        return null;
      }
      const canvas = document.createElement("canvas");
      canvas.width = 160;
      canvas.height = 120;
      const paint = canvas.getContext("2d", { willReadFrequently: true });
      const look = () => {
        paint.drawImage(video, 0, 0, 160, 120);
        return paint.getImageData(0, 0, 160, 120).data;
      };
      const first = look();
      await new Promise((done) => video.requestVideoFrameCallback(() => video.requestVideoFrameCallback(done)));
      const second = look();
      let moved = 0;
      for (let i = 0; i < first.length; i += 4) {
        moved += Math.abs(first[i] - second[i]) + Math.abs(first[i + 1] - second[i + 1]) > 24 ? 1 : 0;
      }
      return moved >= enough ? { width: video.videoWidth, height: video.videoHeight, moved } : null;
    }, still ? 0 : 20).catch(() => null), `${this.user} sees no moving picture`);
  }
}
