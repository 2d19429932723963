// The phone of the NAT laboratory in a browser's page: as little SIP over WebSocket (RFC 7118) as a
// call takes, and the browser's own RTCPeerConnection. It is put into a page of Kith's origin, so that
// the session's cookie counts; what it needs of the network it asks the server for (/api/turn).
(() => {
  const random = () => Math.random().toString(36).slice(2, 12);
  const here = `${random()}.invalid`, instance = crypto.randomUUID();
  const phone = { state: "new", trouble: "", errors: [] };
  let socket, aor, peer, analyser, cseq = 1;

  const via = () => `Via: SIP/2.0/WSS ${here};branch=z9hG4bK${random()}`;
  const contact = () => `<sip:${aor.split("@")[0]}@${here};transport=ws>`;
  const send = (lines, body = "") => socket.send(
    [...lines, ...(body ? ["Content-Type: application/sdp"] : []), `Content-Length: ${body.length}`,
      "", body].join("\r\n"));

  function parse(text) {
    const [head, ...rest] = text.split("\r\n\r\n"), lines = head.split("\r\n");
    const all = (name) => lines.slice(1).filter((l) => l.toLowerCase().startsWith(name + ":"))
      .map((l) => l.slice(name.length + 1).trim());
    return { first: lines[0], all, get: (n) => all(n)[0] || "", body: rest.join("\r\n\r\n") };
  }

  async function makePeer() {
    const { iceServers } = await (await fetch("/api/turn")).json();
    peer = new RTCPeerConnection({ iceServers });
    peer.onicecandidateerror = (e) => phone.errors.push(`${e.url} ${e.errorCode} ${e.errorText}`);
    const media = await navigator.mediaDevices.getUserMedia({ audio: true });
    media.getTracks().forEach((t) => peer.addTrack(t, media));
    peer.ontrack = ({ streams }) => {
      const sound = document.createElement("audio"), context = new AudioContext();
      sound.muted = true;
      sound.srcObject = streams[0]; // without an element nothing is decoded
      sound.play();
      analyser = context.createAnalyser();
      analyser.fftSize = 8192;
      context.createMediaStreamSource(streams[0]).connect(analyser);
    };
  }

  // Everything is gathered before it is sent: nobody needs to know trickle ICE. Where UDP is blocked
  // the end of gathering takes its time; a relayed candidate and a second is enough.
  const gathered = () => new Promise((done) => {
    const look = () => peer.iceGatheringState === "complete" && done();
    peer.addEventListener("icegatheringstatechange", look);
    peer.addEventListener("icecandidate", ({ candidate }) => {
      if (candidate && candidate.type === "relay") setTimeout(done, 1000);
    });
    setTimeout(done, 20000);
    look();
  });

  async function describe(what) {
    await peer.setLocalDescription(what);
    await gathered();
    return peer.localDescription.sdp;
  }

  async function answer(m) {
    const to = `${m.get("to")};tag=${random()}`;
    const reply = (status, body) => send([`SIP/2.0 ${status}`, ...m.all("via").map((v) => `Via: ${v}`),
      ...m.all("record-route").map((v) => `Record-Route: ${v}`), `From: ${m.get("from")}`, `To: ${to}`,
      `Call-ID: ${m.get("call-id")}`, `CSeq: ${m.get("cseq")}`, `Contact: ${contact()}`], body);
    reply("180 Ringing");
    await makePeer();
    await peer.setRemoteDescription({ type: "offer", sdp: m.body });
    reply("200 OK", await describe(await peer.createAnswer()));
    phone.state = "up";
  }

  async function answered(m) {
    const target = /<([^>]+)>/.exec(m.get("contact"))[1];
    const routes = m.all("record-route").join(",").split(/,(?=\s*<)/).reverse();
    send([`ACK ${target} SIP/2.0`, via(), "Max-Forwards: 70", ...routes.map((r) => `Route: ${r.trim()}`),
      `From: ${m.get("from")}`, `To: ${m.get("to")}`, `Call-ID: ${m.get("call-id")}`,
      `CSeq: ${m.get("cseq").split(" ")[0]} ACK`]);
    if (phone.state === "up") return; // a copy of the 200
    phone.state = "up";
    await peer.setRemoteDescription({ type: "answer", sdp: m.body });
  }

  async function hear({ data }) {
    const m = parse(data), status = Number(m.first.split(" ")[1]), kind = m.get("cseq").split(" ")[1];
    if (m.first.startsWith("INVITE ") && !/;tag=/.test(m.get("to"))) await answer(m);
    else if (!m.first.startsWith("SIP/2.0")) return;
    else if (kind === "REGISTER") {
      phone.state = status === 200 ? "registered" : phone.state;
      phone.trouble = status === 200 ? "" : m.first;
    } else if (kind === "INVITE" && status >= 300) phone.trouble = m.first;
    else if (kind === "INVITE" && status >= 200) await answered(m);
  }

  phone.register = (who) => {
    aor = who;
    socket = new WebSocket(`wss://${location.host}/ws`, "sip");
    socket.onmessage = (e) => hear(e).catch((why) => { phone.trouble = String(why); });
    socket.onclose = (e) => { phone.trouble = phone.trouble || `the WebSocket closed (${e.code})`; };
    socket.onopen = () => send([`REGISTER sip:${aor.split("@")[1]} SIP/2.0`, via(), "Max-Forwards: 70",
      `From: <sip:${aor}>;tag=${random()}`, `To: <sip:${aor}>`, `Call-ID: ${random()}`,
      `CSeq: ${cseq++} REGISTER`, `Contact: ${contact()};+sip.instance="<urn:uuid:${instance}>"`,
      "Supported: path", "Expires: 300"]);
  };

  phone.call = async (to) => {
    phone.state = "calling";
    await makePeer();
    const offer = await describe(await peer.createOffer());
    send([`INVITE sip:${to} SIP/2.0`, via(), "Max-Forwards: 70", `From: <sip:${aor}>;tag=${random()}`,
      `To: <sip:${to}>`, `Call-ID: ${random()}`, `CSeq: ${cseq++} INVITE`, `Contact: ${contact()}`],
    offer);
  };

  // The loudest frequency of what comes in, in hertz; 0: silence.
  phone.tone = () => {
    if (!analyser) return 0;
    const bins = new Float32Array(analyser.frequencyBinCount);
    analyser.getFloatFrequencyData(bins);
    const best = bins.reduce((at, v, i) => (v > bins[at] ? i : at), 1);
    return bins[best] < -60 ? 0 : Math.round(best * analyser.context.sampleRate / analyser.fftSize);
  };

  phone.peer = () => peer;
  phone.look = () => JSON.stringify({ state: phone.state, trouble: phone.trouble, tone: phone.tone(),
    ice: peer ? peer.iceConnectionState : "", dtls: peer ? peer.connectionState : "",
    own: peer && peer.localDescription ? peer.localDescription.sdp.match(/a=candidate.*/g) : [],
    errors: phone.errors });
  window.labPhone = phone;
})();
