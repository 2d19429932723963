// The phone of the NAT laboratory in a browser's page: as little SIP over WebSocket (RFC 7118) as a
// call takes, and the browser's own RTCPeerConnection. It is put into a page of Kith's origin, so that
// the session's cookie counts; what it needs of the network it asks the server for (/api/turn).
(() => {
  const random = () => Math.random().toString(36).slice(2, 12);
  const here = `${random()}.invalid`, instance = crypto.randomUUID(), callId = random();
  const phone = { state: "new", trouble: "", errors: [] };
  let socket, aor, peer, sounds, analyser, cseq = 1;
  let dialog = null; // of a call that was made here: what a BYE takes

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

  // `way`: the one relay to use, and nothing but it; else whatever there is.
  async function makePeer(way = "") {
    const { iceServers } = await (await fetch("/api/turn")).json();
    for (const s of iceServers) s.urls = [s.urls].flat().filter((url) => url.includes(way));
    peer = new RTCPeerConnection({ iceServers: iceServers.filter((s) => s.urls.length),
      iceTransportPolicy: way ? "relay" : "all" });
    peer.onicecandidateerror = (e) => phone.errors.push(`${e.url} ${e.errorCode} ${e.errorText}`);
    const media = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    });
    media.getTracks().forEach((t) => peer.addTrack(t, media));
    sounds = { media, element: document.createElement("audio"), context: new AudioContext() };
    const { element, context } = sounds;
    peer.ontrack = ({ streams }) => {
      element.muted = true;
      element.srcObject = streams[0]; // without an element nothing is decoded
      element.play();
      analyser = context.createAnalyser();
      analyser.fftSize = 8192;
      context.createMediaStreamSource(streams[0]).connect(analyser);
    };
  }

  function end() {
    if (peer) peer.close(); // its allocations end with it
    if (sounds) {
      sounds.media.getTracks().forEach((t) => t.stop());
      sounds.element.srcObject = null;
      sounds.context.close();
    }
    peer = sounds = analyser = dialog = null;
    phone.errors = [];
    phone.state = "registered";
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

  const reply = (m, status, to = m.get("to"), body = "") => send([`SIP/2.0 ${status}`,
    ...m.all("via").map((v) => `Via: ${v}`), ...m.all("record-route").map((v) => `Record-Route: ${v}`),
    `From: ${m.get("from")}`, `To: ${to}`, `Call-ID: ${m.get("call-id")}`, `CSeq: ${m.get("cseq")}`,
    `Contact: ${contact()}`], body);

  // One more offer in the call: libre makes one when it knows its path.
  async function answerAgain(m) {
    await peer.setRemoteDescription({ type: "offer", sdp: m.body });
    await peer.setLocalDescription(await peer.createAnswer());
    reply(m, "200 OK", m.get("to"), peer.localDescription.sdp);
  }

  async function answer(m) {
    const to = `${m.get("to")};tag=${random()}`;
    reply(m, "180 Ringing", to);
    await makePeer();
    await peer.setRemoteDescription({ type: "offer", sdp: m.body });
    reply(m, "200 OK", to, await describe(await peer.createAnswer()));
    phone.state = "up";
  }

  // ACK or BYE to the other side of the call that `ok` answered.
  function inDialog(ok, method, number) {
    const target = /<([^>]+)>/.exec(ok.get("contact"))[1];
    const routes = ok.all("record-route").join(",").split(/,(?=\s*<)/).reverse();
    send([`${method} ${target} SIP/2.0`, via(), "Max-Forwards: 70",
      ...routes.map((r) => `Route: ${r.trim()}`), `From: ${ok.get("from")}`, `To: ${ok.get("to")}`,
      `Call-ID: ${ok.get("call-id")}`, `CSeq: ${number} ${method}`]);
  }

  async function answered(m) {
    inDialog(m, "ACK", m.get("cseq").split(" ")[0]);
    if (phone.state !== "calling") return; // a copy of the 200
    dialog = m;
    phone.state = "up";
    await peer.setRemoteDescription({ type: "answer", sdp: m.body });
  }

  async function hear({ data }) {
    const m = parse(data), status = Number(m.first.split(" ")[1]), kind = m.get("cseq").split(" ")[1];
    if (m.first.startsWith("INVITE ")) await (/;tag=/.test(m.get("to")) ? answerAgain : answer)(m);
    else if (m.first.startsWith("BYE ")) {
      reply(m, "200 OK");
      end();
    } else if (!m.first.startsWith("SIP/2.0")) return;
    else if (kind === "REGISTER") {
      phone.state = status === 200 ? "registered" : phone.state;
      phone.trouble = status === 200 ? "" : m.first;
    } else if (kind === "INVITE" && status >= 300) phone.trouble = m.first;
    else if (kind === "INVITE" && status >= 200) await answered(m);
  }

  const sendRegister = () => send([`REGISTER sip:${aor.split("@")[1]} SIP/2.0`, via(),
    "Max-Forwards: 70", `From: <sip:${aor}>;tag=${random()}`, `To: <sip:${aor}>`,
    `Call-ID: ${callId}`, `CSeq: ${cseq++} REGISTER`,
    `Contact: ${contact()};+sip.instance="<urn:uuid:${instance}>"`, "Supported: path", "Expires: 300"]);

  // Once more before each call: the binding is fresh then.
  phone.register = (who) => {
    aor = who;
    phone.state = "registering";
    if (socket) {
      sendRegister();
      return;
    }
    socket = new WebSocket(`wss://${location.host}/ws`, "sip");
    socket.onmessage = (e) => hear(e).catch((why) => { phone.trouble = String(why); });
    socket.onclose = (e) => { phone.trouble = phone.trouble || `the WebSocket closed (${e.code})`; };
    socket.onopen = sendRegister;
  };

  phone.call = async (to, way) => {
    phone.state = "calling";
    await makePeer(way);
    const offer = await describe(await peer.createOffer());
    send([`INVITE sip:${to} SIP/2.0`, via(), "Max-Forwards: 70", `From: <sip:${aor}>;tag=${random()}`,
      `To: <sip:${to}>`, `Call-ID: ${random()}`, `CSeq: ${cseq++} INVITE`, `Contact: ${contact()}`],
    offer);
  };

  phone.hangUp = () => {
    inDialog(dialog, "BYE", Number(dialog.get("cseq").split(" ")[0]) + 1);
    end();
  };

  // The loudest frequency of what comes in, in hertz; 0: silence.
  phone.tone = () => {
    if (!analyser) return 0;
    const bins = new Float32Array(analyser.frequencyBinCount);
    analyser.getFloatFrequencyData(bins);
    const best = bins.reduce((at, v, i) => (v > bins[at] ? i : at), 1);
    return bins[best] < -60 ? 0 : Math.round(best * analyser.context.sampleRate / analyser.fftSize);
  };

  phone.received = async () => {
    const all = [...(await peer.getStats()).values()];
    return all.reduce((n, r) => n + (r.type === "inbound-rtp" ? r.packetsReceived : 0), 0);
  };

  phone.look = () => JSON.stringify({ state: phone.state, trouble: phone.trouble, tone: phone.tone(),
    ice: peer ? peer.iceConnectionState : "", dtls: peer ? peer.connectionState : "",
    own: peer && peer.localDescription ? peer.localDescription.sdp.match(/a=candidate.*/g) : [],
    errors: phone.errors });
  window.labPhone = phone;
})();
