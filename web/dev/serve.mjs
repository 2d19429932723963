// A stand-in for Kith, to work on the page without building the server: node dev/serve.mjs [PORT]
// It serves web/dist and the JSON endpoints, lets anybody in by invitation, and passes SIP between the
// WebSockets of those who are signed in. It checks nothing: never let it listen beyond this machine.
import { createHash, randomBytes } from "node:crypto";
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { fileURLToPath } from "node:url";

const DIST = path.join(path.dirname(fileURLToPath(import.meta.url)), "../dist");
const DOMAIN = "example.org";
const PEOPLE = { alice: "Alice Brandt", bob: "Bob Miller", carol: "Carol Nguyen", dave: "Dave Okafor", sales: "Sales" };
const TYPES = { ".js": "text/javascript", ".css": "text/css", ".html": "text/html; charset=utf-8", ".svg": "image/svg+xml", ".webmanifest": "application/manifest+json" };
const CSP = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob: mediastream:; "
  + "font-src 'self'; connect-src 'self'; manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const b64u = (bytes) => Buffer.from(bytes).toString("base64url");
const connections = new Map(); // id -> { socket, contact }
const guests = new Map(); // token -> aor
let nextId = 1;

const nameOf = (aor) => PEOPLE[aor.split("@")[0]] ?? aor;
const sessionBody = (aor) => aor
  ? { signed_in: true, aor, name: nameOf(aor), session: 12, device: 11, until: "2030-01-01T00:00:00Z", ws: "/ws", domains: [DOMAIN] }
  : { signed_in: false, domains: [DOMAIN] };
const aorOf = (request) => decodeURIComponent(/(?:^|;\s*)kith=([^;]+)/.exec(request.headers.cookie ?? "")?.[1] ?? "");
const reachable = (aor) => [...connections.values()].some((c) => c.aor === aor && c.registered);

function api(request, body, aor) {
  const challenge = b64u(randomBytes(32));
  switch (`${request.method} ${request.url.split("?")[0]}`) {
    case "GET /api/session": return [200, sessionBody(aor)];
    case "POST /api/logout": return [204, null, ""];
    case "POST /api/invite/options": {
      const who = Buffer.from(body.token ?? "", "base64url").toString();
      if (!who.endsWith(`@${DOMAIN}`)) {
        return [404, { error: "no such invitation" }];
      }
      return [200, { aor: who, name: nameOf(who), publicKey: {
        challenge, rp: { id: "localhost", name: "Kith" }, user: { id: b64u(who), name: who, displayName: nameOf(who) },
        pubKeyCredParams: [{ type: "public-key", alg: -7 }], attestation: "none",
        authenticatorSelection: { residentKey: "required", userVerification: "required" } } }];
    }
    case "POST /api/invite/finish": {
      const who = Buffer.from(body.token, "base64url").toString();
      return [200, sessionBody(who), who];
    }
    case "POST /api/login/options": return [200, { publicKey: { challenge, rpId: "localhost", userVerification: "required", allowCredentials: [] } }];
    case "POST /api/login/finish": {
      const who = Buffer.from(body.credential.response.userHandle, "base64url").toString();
      return [200, sessionBody(who), who];
    }
    case "POST /api/guest": {
      const token = b64u(randomBytes(12));
      guests.set(token, `guest-${token.slice(0, 6).toLowerCase().replace(/[^a-z0-9]/g, "x")}@${DOMAIN}`);
      return [200, { aor: guests.get(token), name: body.name ?? "", to: body.to, ws: `/ws?guest=${token}`, until: "2030-01-01T00:00:00Z", iceServers: [] }];
    }
  }
  if (!aor) {
    return [401, { error: "nobody is signed in" }];
  }
  switch (`${request.method} ${request.url.split("?")[0]}`) {
    case "GET /api/people": return [200, { more: false, people: Object.keys(PEOPLE).map((u) => `${u}@${DOMAIN}`)
      .filter((a) => a !== aor).map((a, i) => ({ aor: a, name: nameOf(a), numbers: [String(200 + i)], reachable: reachable(a) })) }];
    case "GET /api/turn": return [200, { iceServers: [], until: "2030-01-01T00:00:00Z" }];
    case "GET /api/devices": return [200, { devices: [
      { id: 11, kind: "passkey", name: "Chrome on Linux", created: "2026-11-22T10:00:00Z", until: null, current: true, parent: null },
      { id: 13, kind: "certificate", name: "Desk phone", created: "2026-10-02T10:00:00Z", until: null, current: false, parent: null }] }];
  }
  return [404, { error: "there is no such thing" }];
}

const server = http.createServer((request, response) => {
  let text = "";
  request.on("data", (d) => { text += d; });
  request.on("end", () => {
    if (request.url.startsWith("/api/")) {
      const cors = { "Access-Control-Allow-Origin": request.headers.origin ?? "*", "Access-Control-Allow-Headers": "Content-Type" };
      if (request.method === "OPTIONS") {
        response.writeHead(204, cors).end();
        return;
      }
      const [status, value, who] = api(request, text ? JSON.parse(text) : {}, aorOf(request));
      const head = { "Content-Type": "application/json", ...cors };
      if (who !== undefined) {
        head["Set-Cookie"] = `kith=${encodeURIComponent(who)}; HttpOnly; SameSite=Strict; Path=/`;
      }
      response.writeHead(status, head).end(value ? JSON.stringify(value) : "");
      return;
    }
    const name = path.normalize(request.url === "/" ? "/index.html" : request.url.split("?")[0]);
    const file = path.join(DIST, name);
    if (!file.startsWith(DIST) || !fs.existsSync(file) || !fs.statSync(file).isFile()) {
      response.writeHead(404).end("there is no such page");
      return;
    }
    response.writeHead(200, { "Content-Type": TYPES[path.extname(file)] ?? "application/octet-stream", "Content-Security-Policy": CSP,
      "Access-Control-Allow-Origin": "*", "Cross-Origin-Opener-Policy": "same-origin" }).end(fs.readFileSync(file));
  });
});

// ---- WebSocket (RFC 6455), as little as browsers need ----

function frame(text) {
  const body = Buffer.from(text);
  const head = body.length < 126 ? Buffer.from([0x81, body.length]) : Buffer.from([0x81, 126, body.length >> 8, body.length & 255]);
  return Buffer.concat([head, body]);
}

function frames(state, data, onText) {
  state.rest = Buffer.concat([state.rest, data]);
  for (;;) {
    const b = state.rest;
    if (b.length < 6) {
      return;
    }
    let length = b[1] & 127;
    let head = 2;
    if (length === 126) {
      length = b.readUInt16BE(2);
      head = 4;
    } else if (length === 127) {
      length = Number(b.readBigUInt64BE(2));
      head = 10;
    }
    if (b.length < head + 4 + length) {
      return;
    }
    const mask = b.subarray(head, head + 4);
    const body = Buffer.from(b.subarray(head + 4, head + 4 + length));
    body.forEach((v, i) => { body[i] = v ^ mask[i & 3]; });
    const opcode = b[0] & 15;
    state.rest = b.subarray(head + 4 + length);
    if (opcode === 8) {
      state.socket.end();
      return;
    }
    if (opcode === 1 || opcode === 2) {
      onText(body.toString());
    }
  }
}

// ---- SIP: a proxy without memory; who is where stands in the connections ----

const header = (text, name) => new RegExp(`^${name}\\s*:\\s*(.*)$`, "im").exec(text)?.[1] ?? "";
const userOf = (uri) => /sips?:([^@;>]+)@/.exec(uri)?.[1] ?? "";

function answer(me, text, status, phrase, more = "") {
  const keep = text.split("\r\n").filter((l) => /^(via|from|call-id|cseq):/i.test(l)).join("\r\n");
  const to = header(text, "To");
  send(me, `SIP/2.0 ${status} ${phrase}\r\n${keep}\r\nTo: ${to}${/;tag=/.test(to) ? "" : `;tag=${b64u(randomBytes(6))}`}\r\n${more}Content-Length: 0\r\n\r\n`);
}

const send = (c, text) => c.socket.write(frame(text));

function sip(me, text) {
  if (text.trim() === "") {
    send(me, "\r\n");
    return;
  }
  if (text.startsWith("SIP/2.0")) {
    const via = /^Via:.*;dev=(\d+)\r\n/im.exec(text);
    const back = via ? connections.get(Number(/;from=(\d+)/.exec(via[0])?.[1])) : null;
    if (back) {
      send(back, text.replace(via[0], ""));
    }
    return;
  }
  const [method, uri] = text.split(" ");
  if (method === "REGISTER") {
    const contact = header(text, "Contact");
    me.aor = /sip:([^>;]+@[^>;]+)/.exec(header(text, "To"))[1];
    me.contact = userOf(contact);
    me.registered = !/expires=0\b/.test(contact);
    for (const c of connections.values()) {
      if (c !== me && c.registered && c.aor === me.aor && /\+sip\.instance="([^"]+)"/.exec(contact)?.[1] === c.instance) {
        c.registered = false;
      }
    }
    me.instance = /\+sip\.instance="([^"]+)"/.exec(contact)?.[1];
    answer(me, text, 200, "OK", me.registered ? `Contact: ${contact}\r\n` : "");
    return;
  }
  if (method === "INVITE" && !me.contact) {
    me.contact = userOf(header(text, "Contact"));
  }
  const user = userOf(uri);
  const all = [...connections.values()].filter((c) => c !== me || true);
  const there = all.find((c) => c.contact === user) ?? all.filter((c) => c.registered && c.aor?.split("@")[0] === user).pop();
  if (!there) {
    if (method !== "ACK") {
      answer(me, text, PEOPLE[user] ? 480 : 404, PEOPLE[user] ? "Temporarily Unavailable" : "Not Found");
    }
    return;
  }
  const branch = createHash("sha1").update(header(text, "Via") + uri).digest("hex").slice(0, 12);
  const via = `Via: SIP/2.0/WSS dev.invalid;branch=z9hG4bK${branch};from=${me.id};dev=${there.id}\r\n`;
  const target = there.contact && user !== there.contact && method !== "CANCEL" ? text.replace(uri, `sip:${there.contact}@dev.invalid;transport=ws`) : text;
  const ruri = method === "CANCEL" && there.contact ? target.replace(uri, `sip:${there.contact}@dev.invalid;transport=ws`) : target;
  const end = ruri.indexOf("\r\n") + 2;
  send(there, ruri.slice(0, end) + via + ruri.slice(end));
}

server.on("upgrade", (request, socket) => {
  const accept = createHash("sha1").update(`${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Protocol: sip\r\n\r\n`);
  const me = { id: nextId++, socket, rest: Buffer.alloc(0), aor: aorOf(request), contact: "", registered: false };
  connections.set(me.id, me);
  socket.on("data", (d) => frames(me, d, (text) => sip(me, text)));
  socket.on("close", () => connections.delete(me.id));
  socket.on("error", () => connections.delete(me.id));
});

const port = Number(process.argv[2] ?? 8480);
server.listen(port, "127.0.0.1", () => {
  console.log(`http://localhost:${server.address().port}/`);
  for (const user of Object.keys(PEOPLE)) {
    console.log(`  ${user}: http://localhost:${server.address().port}/#invite=${b64u(`${user}@${DOMAIN}`)}`);
  }
});
