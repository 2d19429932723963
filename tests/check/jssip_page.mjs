// A page with JsSIP in Chromium that registers and answers every call: the counterpart of
// `kith check browser` in e2e.
//   node jssip_page.mjs wss://HOST:PORT/ user@domain password
// Prints "versions ..." and "registered", and ends with its standard input. JsSIP, the bundler and the
// driver of the browser are those of web/ (npm ci there); nothing is fetched.
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

const WEB = path.join(path.dirname(fileURLToPath(import.meta.url)), "..", "..", "web");
const require = createRequire(path.join(WEB, "package.json"));
const { build } = require("esbuild");
const { chromium } = require("playwright-core");
const [url, aor, password] = process.argv.slice(2);

const bundle = await build({
  stdin: { contents: 'import JsSIP from "jssip"; globalThis.JsSIP = JsSIP;', resolveDir: WEB },
  bundle: true, write: false, format: "iife", logLevel: "error",
});

async function phone({ url, aor, password }) {
  const { JsSIP } = globalThis;
  const sound = await navigator.mediaDevices.getUserMedia({ audio: true });
  const both = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
  const ua = new JsSIP.UA({
    sockets: [new JsSIP.WebSocketInterface(url)], uri: `sip:${aor}`, password, register: true, register_expires: 600,
    session_timers: true, connection_recovery_min_interval: 1, connection_recovery_max_interval: 2,
  });
  const options = { mediaStream: sound, pcConfig: { iceServers: [] } };
  ua.on("registered", () => console.log("registered"));
  // It knows MD5 only and gives up beside other algorithms; a person would try again.
  ua.on("registrationFailed", (e) => {
    console.log(`not registered: ${e.cause}`);
    setTimeout(() => ua.register(), 300);
  });
  ua.on("newRTCSession", ({ originator, session, request }) => {
    if (originator !== "remote") return;
    session.on("failed", (e) => console.log(`call failed: ${e.cause}`));
    session.on("refer", (e) => e.accept(() => {}, options));
    session.answer({ ...options, mediaStream: /m=video [1-9]/.test(request.body || "") ? both : sound });
  });
  ua.on("newMessage", ({ originator, message }) => originator === "remote" && message.accept());
  ua.start();
}

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium", headless: true,
  args: ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
    "--ignore-certificate-errors", "--disable-gpu", "--disable-dev-shm-usage"],
});
process.stdin.on("end", () => browser.close().then(() => process.exit(0)));
process.stdin.resume();
const context = await browser.newContext({ ignoreHTTPSErrors: true, permissions: ["microphone", "camera", "local-network-access"] });
const page = await context.newPage();
page.on("console", (m) => console.log(m.text()));
page.on("pageerror", (e) => console.log(`error: ${e.message}`));
// A page by https is what browsers give a microphone to; it comes from here and not from a network.
await page.route("https://page.test/", (r) => r.fulfill({ contentType: "text/html", body: "<!doctype html>" }));
await page.goto("https://page.test/");
await page.addScriptTag({ content: bundle.outputFiles[0].text });
console.log(`versions Chromium ${browser.version()}, JsSIP ${require("jssip/package.json").version}`);
await page.evaluate(phone, { url, aor, password });
