// The phone of the tab that leads: one JsSIP user agent over one WebSocket, its calls and messages. Everything
// that the page shows is in `view`, a plain value that goes to the other tabs as well; what people press comes
// as a command, from this tab or another. Media stay here.
import { UA } from "jssip";
import type { RTCSessionEvent } from "jssip/lib/UA";
import type { RTCSession, EndEvent } from "jssip/lib/RTCSession";
import type { Socket } from "jssip/lib/Socket";
import type { IncomingRequest, IncomingResponse } from "jssip/lib/SIPMessage";
import { addressOf, userOf } from "../lib/address.ts";
import type { PastCall, TextMessage } from "../lib/book.ts";
import { isLive, newCall, step, type Call, type CallEvent, type Party } from "../lib/call.ts";
import { usable } from "../lib/ice.ts";
import { endWords, mediaWords, messageWords, reasonText, warningText } from "../lib/reason.ts";
import { hasVideo } from "../lib/sdp.ts";
import { words } from "../words.ts";
import { Leg } from "./leg.ts";
import { chosen, openCamera, openMic, openScreen, Tones } from "./media.ts";
import { Mirror } from "./mirror.ts";
import { Resume, type Kept } from "./resume.ts";
import { LiveSocket } from "./socket.ts";

export interface PhoneView {
  line: "connecting" | "ready" | "offline" | "refused";
  lineWords: string;
  calls: Call[];
}

export type Command =
  | { do: "dial"; uri: string; address: string; video: boolean }
  | { do: "answer"; id: string; video: boolean }
  | { do: "hangup" | "hold" | "mute" | "camera" | "dismiss"; id: string }
  | { do: "share"; id: string; from?: string } // from: the other tab in which the screen was chosen
  | { do: "tone"; id: string; tone: string }
  | { do: "transfer"; id: string; uri: string; address: string }
  | { do: "join"; id: string; other: string }
  | { do: "message"; uri: string; address: string; text: string }
  | { do: "devices" };

export interface PhoneConfig {
  aor: string;
  name: string;
  url: string; // wss://host/ws
  register: boolean;
  instance: string;
  iceServers: () => Promise<RTCIceServer[]>;
}

export interface PhoneEvents {
  changed(): void;
  past(call: PastCall): void;
  message(message: TextMessage): void;
  incoming(call: Call): void;
  nameOf(address: string): string;
}

const MOST_CALLS = 4;
const GATHER_MS = 1500; // after the first candidate: what has not come by then is not worth a wait
const LOST_LIMIT_MS = 30_000;
const RESTART_EVERY_MS = 5_000;
const ENDED_SHOWN_MS = 6_000;
const LONGEST_MESSAGE = 4000;

export class Phone {
  view: PhoneView = { line: "connecting", lineWords: words.connecting, calls: [] };
  private readonly ua: UA;
  private readonly socket: LiveSocket;
  private readonly legs = new Map<string, Leg>();
  private readonly sounds = new Map<string, HTMLAudioElement>();
  private readonly lostAt = new Map<string, number>();
  private readonly mirrors = new Map<string, Mirror>(); // by the tab that looks
  private readonly tones = new Tones();
  private readonly resume = new Resume();
  private readonly starting = new Map<string, { cancelled: boolean }>();
  private ready: (() => void)[] = [];
  private tick = 0;
  private lastTick = 0;
  private stopped = false;

  constructor(private readonly config: PhoneConfig, private readonly events: PhoneEvents) {
    this.socket = new LiveSocket(config.url);
    this.ua = new UA({
      sockets: this.socket as unknown as Socket, uri: `sip:${config.aor}`, display_name: config.name, register: config.register,
      instance_id: config.instance, session_timers: false, register_expires: 300, user_agent: "Kith web",
      connection_recovery_min_interval: 1, connection_recovery_max_interval: 8, no_answer_timeout: 90,
    });
    this.ua.on("connected", () => {
      this.line(config.register ? "connecting" : "ready", config.register ? words.connecting : words.ready);
    });
    this.ua.on("disconnected", () => this.line("offline", words.offline));
    this.ua.on("registered", () => this.line("ready", words.ready));
    this.ua.on("registrationFailed", (e) => {
      const response = e.response as IncomingResponse | null;
      if (response) {
        this.line("refused", words.registrationRefused(
          warningText(response.getHeader("Warning")) || response.reason_phrase || String(response.status_code)));
      }
    });
    this.ua.on("newRTCSession", (e: RTCSessionEvent) => {
      if (String(e.originator) === "remote") {
        this.rings(e.session, e.request as IncomingRequest);
      }
    });
    this.ua.on("newMessage", (e: { originator: string; request: unknown }) => {
      if (e.originator === "remote") {
        this.heard(e.request as IncomingRequest);
      }
    });
  }

  start(): void {
    this.ua.start();
    this.lastTick = Date.now();
    this.tick = window.setInterval(() => this.second(), 1000);
    for (const name of ["online", "pageshow"]) {
      window.addEventListener(name, this.wake);
    }
    document.addEventListener("resume", this.wake); // the browser had frozen the page
    for (const kept of this.resume.take()) {
      this.whenReady(() => void this.takeUp(kept));
    }
  }

  /** Another tab is the phone, or nobody is signed in any more. */
  stop(): void {
    this.stopped = true;
    this.socket.retire();
    window.clearInterval(this.tick);
    window.removeEventListener("online", this.wake);
    window.removeEventListener("pageshow", this.wake);
    document.removeEventListener("resume", this.wake);
    for (const call of this.view.calls.filter(isLive)) {
      this.finish(call.id, words.ended);
    }
    this.tones.play("");
    this.ua.stop();
  }

  /** The page goes away, perhaps to come again at once: what goes on now can be taken up then. */
  leave(): void {
    const kept: Kept[] = [];
    for (const call of this.view.calls) {
      const leg = this.legs.get(call.id);
      const id = leg?.dialogId();
      if (leg && id && call.upSince > 0 && isLive(call)) {
        kept.push({ call, ...id, target: leg.remoteTarget(), at: Date.now() });
      }
    }
    this.resume.keep(kept);
  }

  leg(id: string): Leg | null {
    return this.legs.get(id) ?? null;
  }

  /** Another tab wants to see that call: the answer to its offer, or "". */
  async mirror(tab: string, id: string, offer: string): Promise<string> {
    const leg = this.legs.get(id);
    if (!leg) {
      return "";
    }
    this.mirrors.get(tab)?.close();
    const mirror: Mirror = new Mirror(id, () => this.unmirror(tab, mirror));
    this.mirrors.set(tab, mirror);
    return mirror.answer(offer, leg);
  }

  private unmirror(tab: string, mirror: Mirror): void {
    mirror.close();
    if (this.mirrors.get(tab) === mirror) {
      this.mirrors.delete(tab);
    }
  }

  /** Performs it as soon as there is a connection. */
  soon(command: Command): void {
    this.whenReady(() => this.perform(command));
  }

  perform(command: Command): void {
    switch (command.do) {
      case "dial": return void this.dial(command.uri, command.address, command.video);
      case "answer": return void this.answer(command.id, command.video);
      case "hangup": return this.hangUp(command.id);
      case "hold": return void this.hold(command.id);
      case "mute": return this.mute(command.id);
      case "camera": return void this.camera(command.id);
      case "share": return void this.share(command.id, command.from ?? "");
      case "tone": return this.tone(command.id, command.tone);
      case "transfer": return this.transfer(command.id, command.uri, command.address, null);
      case "join": return this.join(command.id, command.other);
      case "dismiss": return this.drop(command.id);
      case "message": return this.write(command.uri, command.address, command.text);
      case "devices": return void this.useDevices();
    }
  }

  // ---- what is shown ----

  private line(line: PhoneView["line"], lineWords: string): void {
    this.show({ ...this.view, line, lineWords });
    if (line === "ready") {
      const waiting = this.ready;
      this.ready = [];
      waiting.forEach((f) => f());
    }
  }

  private whenReady(what: () => void): void {
    if (this.view.line === "ready") {
      what();
    } else {
      this.ready.push(what);
    }
  }

  private show(view: PhoneView): void {
    this.view = view;
    const rings = view.calls.some((c) => c.state === "incoming");
    const ringback = view.calls.some((c) => c.state === "ringing");
    this.tones.play(rings ? "ring" : ringback ? "ringback" : "");
    for (const [tab, mirror] of this.mirrors) {
      const leg = this.legs.get(mirror.call);
      if (leg) {
        mirror.show(leg);
      } else {
        this.unmirror(tab, mirror);
      }
    }
    if (!this.stopped) {
      this.events.changed();
    }
  }

  private call(id: string): Call | undefined {
    return this.view.calls.find((c) => c.id === id);
  }

  private step(id: string, event: CallEvent): void {
    const calls = this.view.calls.map((c) => (c.id === id ? step(c, event) : c));
    this.show({ ...this.view, calls });
  }

  private set(id: string, set: Extract<CallEvent, { type: "set" }>["set"]): void {
    this.step(id, { type: "set", set });
  }

  private drop(id: string): void {
    this.show({ ...this.view, calls: this.view.calls.filter((c) => c.id !== id || isLive(c)) });
  }

  private party(request: IncomingRequest): Party {
    const address = addressOf(`${request.from.uri.user}@${request.from.uri.host}`);
    const known = this.events.nameOf(address);
    return { address, name: known || request.from.display_name || userOf(address) };
  }

  private add(call: Call): void {
    this.show({ ...this.view, calls: [...this.view.calls.filter(isLive), call] });
  }

  // ---- calls begin ----

  private async dial(uri: string, address: string, video: boolean): Promise<void> {
    if (this.view.calls.filter(isLive).length >= MOST_CALLS) {
      return;
    }
    const call = newCall(crypto.randomUUID(), { address, name: this.events.nameOf(address) || userOf(address) }, true, video, Date.now());
    this.add(call);
    this.holdOthers(call.id);
    await this.invite(call.id, uri, video, []);
  }

  private async invite(id: string, uri: string, video: boolean, extraHeaders: string[]): Promise<void> {
    const start = { cancelled: false };
    this.starting.set(id, start);
    const media = await this.openMedia(id, video);
    const iceServers = await this.config.iceServers().catch(() => []);
    this.starting.delete(id);
    if (!media || start.cancelled) {
      media?.getTracks().forEach((t) => t.stop());
      return;
    }
    const session = this.ua.call(uri, {
      mediaStream: media, pcConfig: pcConfig(iceServers), extraHeaders,
      rtcOfferConstraints: {}, mediaConstraints: { audio: true, video },
    });
    this.bind(id, session, media);
  }

  /** Microphone, and camera if wanted; a camera that fails leaves an audio call. */
  private async openMedia(id: string, video: boolean): Promise<MediaStream | null> {
    let stream: MediaStream;
    try {
      stream = await this.mic(id);
    } catch (error) {
      this.finish(id, mediaWords(error, "mic"));
      return null;
    }
    if (video) {
      try {
        stream.addTrack(await this.picture(id));
        this.set(id, { camera: true });
      } catch (error) {
        this.set(id, { note: mediaWords(error, "camera") });
      }
    }
    return stream;
  }

  private rings(session: RTCSession, request: IncomingRequest): void {
    if (this.legs.size > 0 && [...this.legs.values()].some((l) => l.session === session)) {
      return; // taken over already: an INVITE with Replaces
    }
    if (this.view.calls.filter(isLive).length >= MOST_CALLS) {
      session.terminate({ status_code: 486 });
      return;
    }
    const sdp = request.body ?? "";
    const video = hasVideo(sdp);
    const call = newCall(crypto.randomUUID(), this.party(request), false, video, Date.now());
    this.add(call);
    this.bind(call.id, session, null);
    this.events.incoming(call);
  }

  private async answer(id: string, video: boolean): Promise<void> {
    const call = this.call(id);
    const leg = this.legs.get(id);
    if (!call || !leg || call.state !== "incoming") {
      return;
    }
    this.step(id, { type: "answer" });
    this.holdOthers(id);
    const media = await this.openMedia(id, video && call.wantsVideo);
    if (!media) {
      leg.session.terminate({ status_code: 480 });
      return;
    }
    const iceServers = await this.config.iceServers().catch(() => []);
    if (leg.session.isEnded()) {
      media.getTracks().forEach((t) => t.stop());
      return;
    }
    leg.local = media;
    leg.camera = media.getVideoTracks()[0] ?? null;
    leg.session.answer({ mediaStream: media, pcConfig: pcConfig(iceServers) });
  }

  /** Ties a session to a call: from now on its events are the call's. */
  private bind(id: string, session: RTCSession, media: MediaStream | null): Leg {
    const leg: Leg = new Leg(session, media, {
      connected: () => mine() && this.connected(id, leg),
      lost: (failed) => mine() && this.lost(id, failed),
      video: (on) => mine() && this.set(id, { peerVideo: on }),
    });
    const mine = (): boolean => this.legs.get(id) === leg;
    this.legs.set(id, leg);
    let gather = 0;
    session.on("icecandidate", ({ ready }) => {
      window.clearTimeout(gather);
      gather = window.setTimeout(ready, GATHER_MS);
    });
    session.on("progress", () => mine() && this.step(id, { type: "progress" }));
    session.on("accepted", () => mine() && this.step(id, { type: "accepted" }));
    session.on("ended", (e) => mine() && this.over(id, e));
    session.on("failed", (e) => mine() && this.over(id, e));
    session.on("hold", (e) => mine() && this.set(id, String(e.originator) === "remote" ? { heldByPeer: true } : { held: true }));
    session.on("unhold", (e) => mine() && this.set(id, String(e.originator) === "remote" ? { heldByPeer: false } : { held: false }));
    session.on("refer", (e) => mine() && this.passedOn(id, e.request, e.accept as Accept));
    session.on("replaces", (e) => mine() && this.replaced(id, e.request, e.accept as AcceptReplaces));
    return leg;
  }

  private connected(id: string, leg: Leg): void {
    this.lostAt.delete(id);
    let sound = this.sounds.get(id);
    if (!sound) {
      sound = new Audio();
      sound.autoplay = true;
      this.sounds.set(id, sound);
    }
    sound.srcObject = leg.remote;
    void sound.play().catch(() => undefined);
    this.useSpeaker(sound);
    this.step(id, { type: "media", at: Date.now() });
    this.unseen(id, leg);
    void leg.secured().then((secured) => this.legs.get(id) === leg && this.set(id, { secured }));
  }

  /** A picture that nobody can see: the camera goes off, the call goes on, and the person is told. */
  private unseen(id: string, leg: Leg): void {
    const call = this.call(id);
    if (!call || !leg.preview || !leg.refusesVideo()) {
      return;
    }
    leg.stopPictures();
    this.set(id, { camera: false, sharing: false, note: words.videoRefused(call.peer.name) });
  }

  // ---- calls end ----

  private hangUp(id: string): void {
    const start = this.starting.get(id);
    if (start) {
      start.cancelled = true;
    }
    const call = this.call(id);
    if (!call || !isLive(call)) {
      return;
    }
    this.end(id, call.upSince || !call.outgoing ? words.ended : words.endCancelled, call.state === "incoming" ? 603 : 0);
  }

  /** Ours to end: first here, so that what JsSIP says of it afterwards is nobody's any more. */
  private end(id: string, why: string, status = 0): void {
    const session = this.legs.get(id)?.session;
    this.finish(id, why);
    if (session && !session.isEnded()) {
      session.terminate(status ? { status_code: status } : undefined);
    }
  }

  private over(id: string, e: EndEvent): void {
    const call = this.call(id);
    if (!call) {
      return;
    }
    const message = e.message as (IncomingResponse & IncomingRequest) | null;
    const header = (name: string): string | undefined => message?.getHeader?.(name) ?? undefined;
    this.finish(id, endWords(call.peer.name, {
      cause: String(e.cause), status: message?.status_code ?? 0, warning: warningText(header("Warning")),
      reason: reasonText(header("Reason")) || message?.reason_phrase || "",
      byPeer: String(e.originator) === "remote", outgoing: call.outgoing, wasUp: call.upSince > 0,
    }));
  }

  private finish(id: string, why: string): void {
    const call = this.call(id);
    const leg = this.legs.get(id);
    this.legs.delete(id);
    this.lostAt.delete(id);
    leg?.close();
    const sound = this.sounds.get(id);
    if (sound) {
      sound.srcObject = null;
      this.sounds.delete(id);
    }
    if (!call || !isLive(call)) {
      return;
    }
    const now = Date.now();
    this.step(id, { type: "end", at: now, words: why });
    this.events.past({
      id, peer: call.peer, outgoing: call.outgoing, video: call.wantsVideo, at: call.started,
      seconds: call.upSince ? Math.round((now - call.upSince) / 1000) : 0, words: why,
    });
    window.setTimeout(() => this.drop(id), ENDED_SHOWN_MS);
  }

  // ---- in a call ----

  private mute(id: string): void {
    const call = this.call(id);
    const session = this.legs.get(id)?.session;
    if (!call || !session || !session.connection) {
      return;
    }
    if (call.muted) {
      session.unmute({ audio: true });
    } else {
      session.mute({ audio: true });
    }
    this.set(id, { muted: !call.muted });
  }

  private async hold(id: string): Promise<void> {
    const call = this.call(id);
    const leg = this.legs.get(id);
    if (!call || !leg || !(await leg.untilReady())) {
      return;
    }
    if (call.held) {
      this.holdOthers(id);
      leg.session.unhold();
    } else {
      leg.session.hold();
    }
  }

  private holdOthers(id: string): void {
    for (const call of this.view.calls) {
      if (call.id !== id && call.state === "up" && !call.held) {
        void this.hold(call.id);
      }
    }
  }

  private async camera(id: string): Promise<void> {
    const leg = this.legs.get(id);
    if (!leg) {
      return;
    }
    if (leg.camera) {
      leg.camera.stop();
      leg.camera = null;
      this.set(id, { camera: false });
      if (!leg.screen) {
        await leg.setVideo(null);
      }
      return;
    }
    try {
      leg.camera = await this.picture(id);
    } catch (error) {
      this.set(id, { note: mediaWords(error, "camera") });
      return;
    }
    this.set(id, { camera: true, note: "" });
    if (!leg.screen) {
      await leg.setVideo(leg.camera);
      this.unseen(id, leg);
    }
  }

  private async share(id: string, from: string): Promise<void> {
    const leg = this.legs.get(id);
    if (!leg) {
      return;
    }
    const end = async (): Promise<void> => {
      leg.screen?.stop();
      leg.screen = null;
      this.set(id, { sharing: false });
      await leg.setVideo(leg.camera);
    };
    if (leg.screen) {
      return end();
    }
    try {
      leg.screen = this.mirrors.get(from)?.screen() ?? (await openScreen());
    } catch (error) {
      this.set(id, { note: mediaWords(error, "share") });
      return;
    }
    leg.screen.addEventListener("ended", () => void end());
    this.set(id, { sharing: true, note: "" });
    await leg.setVideo(leg.screen);
    this.unseen(id, leg);
  }

  /* RFC 4733: the tone goes with the sound, as phones and menus expect it. */
  private tone(id: string, tone: string): void {
    const session = this.legs.get(id)?.session;
    if (session?.isEstablished() && /^[0-9*#A-D]$/.test(tone)) {
      session.sendDTMF(tone, { transportType: "RFC2833" as never, duration: 120 });
    }
  }

  private async useDevices(): Promise<void> {
    for (const sound of this.sounds.values()) {
      this.useSpeaker(sound);
    }
    for (const [id, leg] of this.legs) {
      try {
        if (leg.local) {
          await leg.setMic((await this.mic(id)).getAudioTracks()[0]!);
        }
        if (leg.camera) {
          leg.camera.stop();
          leg.camera = await this.picture(id);
          if (!leg.screen) {
            await leg.setVideo(leg.camera);
          }
          this.set(id, { camera: true }); // draws the new picture
        }
      } catch (error) {
        this.set(id, { note: mediaWords(error, "mic") });
      }
    }
  }

  private async mic(id: string): Promise<MediaStream> {
    const stream = await openMic();
    const track = stream.getAudioTracks()[0];
    track?.addEventListener("ended", () => void this.micGone(id, track));
    return stream;
  }

  private async picture(id: string): Promise<MediaStreamTrack> {
    const track = await openCamera();
    track.addEventListener("ended", () => void this.cameraGone(id, track));
    return track;
  }

  /** Pulled out in the middle of a call, which goes on with another one. */
  private async micGone(id: string, track: MediaStreamTrack): Promise<void> {
    const leg = this.legs.get(id);
    if (leg?.local?.getAudioTracks()[0] !== track) {
      return;
    }
    try {
      await leg.setMic((await this.mic(id)).getAudioTracks()[0]!);
      this.set(id, { note: words.micGone });
    } catch (error) {
      this.set(id, { note: mediaWords(error, "mic") });
    }
  }

  private async cameraGone(id: string, track: MediaStreamTrack): Promise<void> {
    const leg = this.legs.get(id);
    if (leg?.camera !== track) {
      return;
    }
    await this.camera(id); // off
    this.set(id, { note: words.cameraGone });
  }

  private useSpeaker(sound: HTMLAudioElement): void {
    const id = chosen().speaker;
    if (id && "setSinkId" in sound) {
      void sound.setSinkId(id).catch(() => undefined);
    }
  }

  // ---- transfer (RFC 3515, RFC 3891) ----

  private transfer(id: string, uri: string, address: string, other: Leg | null): void {
    const session = this.legs.get(id)?.session;
    if (!session?.isEstablished()) {
      return;
    }
    const who = this.events.nameOf(address) || userOf(address);
    this.set(id, { note: words.transferring(who) });
    const failed = (why: string): void => this.set(id, { note: words.transferFailed(why) });
    session.refer(uri, {
      ...(other ? { replaces: other.session } : {}),
      eventHandlers: {
        requestFailed: (e: { response: IncomingResponse | null }) => failed(messageWords(who, e.response?.status_code ?? 0, "")),
        failed: (e: { status_line: { status_code: number } }) => failed(messageWords(who, e.status_line.status_code, "")),
        accepted: () => this.end(id, words.transferDone(who)),
      },
    });
  }

  /** Two calls of ours become one between the two others. */
  private join(id: string, other: string): void {
    const with_ = this.call(other);
    const leg = this.legs.get(other);
    if (with_ && leg) {
      this.transfer(id, leg.remoteTarget() || `sip:${with_.peer.address}`, with_.peer.address, leg);
    }
  }

  /** The peer asks us to talk to somebody else instead. */
  private passedOn(id: string, request: IncomingRequest, accept: Accept): void {
    const call = this.call(id);
    const to = addressOf(String((request as unknown as { refer_to: { uri: unknown } }).refer_to.uri));
    if (!call || this.view.calls.filter(isLive).length >= MOST_CALLS) {
      return;
    }
    const name = this.events.nameOf(to) || userOf(to);
    const next = newCall(crypto.randomUUID(), { address: to, name }, true, call.camera, Date.now());
    this.add({ ...next, note: words.transferAsked(call.peer.name, name) });
    void this.openMedia(next.id, call.camera).then(async (media) => {
      if (media) {
        const iceServers = await this.config.iceServers().catch(() => []);
        const begin = (session: RTCSession): void => {
          this.bind(next.id, session, media);
          session.on("confirmed", () => this.set(next.id, { note: "" }));
        };
        accept(begin, {
          mediaStream: media, pcConfig: pcConfig(iceServers), mediaConstraints: { audio: true, video: call.camera },
        });
      }
    });
  }

  /** Somebody who knows the dialog takes the call over: the peer after a reload, or a third after a transfer. */
  private replaced(id: string, request: IncomingRequest, accept: AcceptReplaces): void {
    const call = this.call(id);
    const old = this.legs.get(id);
    if (!call || !old) {
      return;
    }
    const video = old.camera !== null;
    accept((session) => {
      this.bind(id, session, null);
      this.sounds.delete(id);
      this.set(id, { peer: this.party(request), peerVideo: false, held: false, heldByPeer: false, secured: null });
      session.on("accepted", () => window.setTimeout(() => old.close(), 0));
      void this.again(id, session, video);
    });
  }

  private async again(id: string, session: RTCSession, video: boolean): Promise<void> {
    const media = await this.openMedia(id, video);
    const iceServers = await this.config.iceServers().catch(() => []);
    const leg = this.legs.get(id);
    if (!media || !leg || leg.session !== session || session.isEnded()) {
      media?.getTracks().forEach((t) => t.stop());
      return;
    }
    leg.local = media;
    leg.camera = media.getVideoTracks()[0] ?? null;
    session.answer({ mediaStream: media, pcConfig: pcConfig(iceServers) });
    if (this.call(id)?.muted) {
      session.mute({ audio: true });
    }
  }

  /** After a reload: a new INVITE in place of the dialog that the page lost (RFC 3891 3). */
  private async takeUp(kept: Kept): Promise<void> {
    const call: Call = {
      ...newCall(kept.call.id, kept.call.peer, true, kept.call.camera, kept.call.started),
      note: words.resuming, upSince: kept.call.upSince, muted: false,
    };
    this.add(call);
    /* RFC 5627 3: a GRUU reaches exactly the device that holds the dialog; a plain contact is not for others. */
    const target = /;gr(=|;|$)/.test(kept.target) ? kept.target : `sip:${kept.call.peer.address}`;
    await this.invite(call.id, target, kept.call.camera, [
      `Replaces: ${kept.callId};to-tag=${kept.remote};from-tag=${kept.local}`, "Require: replaces",
    ]);
    const session = this.legs.get(call.id)?.session;
    session?.on("accepted", () => {
      this.set(call.id, { note: "" });
      if (kept.call.muted) {
        this.mute(call.id);
      }
    });
    session?.on("failed", () => this.explain(call.id, words.endGoneAfterReload));
  }

  private explain(id: string, endWordsNow: string): void {
    const calls = this.view.calls.map((c) => (c.id === id ? { ...c, endWords: endWordsNow } : c));
    this.show({ ...this.view, calls });
  }

  // ---- the connection ----

  private readonly wake = (): void => {
    if (this.socket.isConnected()) {
      void this.socket.check();
    } else {
      this.socket.connect();
    }
  };

  private second(): void {
    const now = Date.now();
    if (now - this.lastTick > 20_000) {
      this.wake(); // the machine slept
    }
    this.lastTick = now;
    for (const [id, since] of this.lostAt) {
      if (now - since > LOST_LIMIT_MS) {
        this.end(id, words.endNetwork);
      }
    }
  }

  /** The media path is gone. The caller restarts ICE at once, the callee if that does not help: offers must not collide. */
  private lost(id: string, failed: boolean): void {
    if (this.lostAt.has(id)) {
      return;
    }
    this.lostAt.set(id, Date.now());
    this.step(id, { type: "lost" });
    this.wake(); // perhaps the whole network is gone
    const leg = this.legs.get(id);
    const restart = (): void => {
      if (!this.lostAt.has(id) || this.legs.get(id) !== leg || !leg) {
        return;
      }
      // JsSIP ends the call when an offer cannot be sent: first see whether the connection still leads anywhere.
      void this.socket.check().then((there) => {
        if (there && this.lostAt.has(id) && this.ua.isConnected()) {
          void leg.offer({ iceRestart: true });
        }
        window.setTimeout(restart, RESTART_EVERY_MS);
      });
    };
    const first = leg?.session.direction === "outgoing" ? 1000 : 4000;
    window.setTimeout(restart, failed ? first / 2 : first);
  }

  // ---- messages (RFC 3428) ----

  private write(uri: string, address: string, text: string): void {
    const message: TextMessage = {
      id: crypto.randomUUID(), peer: address, outgoing: true, text, at: Date.now(), state: "sending", words: "", seen: true,
    };
    this.events.message(message);
    if (new TextEncoder().encode(text).length > LONGEST_MESSAGE) {
      this.events.message({ ...message, state: "failed", words: words.messageTooLong });
      return;
    }
    const who = this.events.nameOf(address) || userOf(address);
    this.ua.sendMessage(uri, text, {
      contentType: "text/plain;charset=UTF-8",
      eventHandlers: {
        /* RFC 3428 7: 200 means that a device has it, 202 that somebody promised to pass it on. */
        succeeded: ({ response }) =>
          this.events.message({ ...message, state: response.status_code === 202 ? "accepted" : "delivered" }),
        failed: ({ response }) =>
          this.events.message({
            ...message, state: "failed",
            words: messageWords(who, response?.status_code ?? 0, warningText(response?.getHeader("Warning"))),
          }),
      },
    });
  }

  private heard(request: IncomingRequest): void {
    const type = (request.getHeader("Content-Type") ?? "text/plain").toLowerCase();
    if (type.startsWith("text/plain") && request.body) {
      this.events.message({
        id: `${request.getHeader("Call-ID")} ${request.getHeader("CSeq")}`, peer: this.party(request).address, outgoing: false, text: request.body,
        at: Date.now(), state: "received", words: "", seen: false,
      });
    }
  }
}

type Accept = (init: (session: RTCSession) => void, options: object) => void;
type AcceptReplaces = (init: (session: RTCSession) => void) => void;

/** No bundle policy but the browser's own: with max-bundle it refuses phones that know no BUNDLE (RFC 9143). */
function pcConfig(iceServers: RTCIceServer[]): RTCConfiguration {
  return { iceServers: iceServers.flatMap(usable) };
}
