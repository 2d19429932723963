// One JsSIP session and its media, bound to one call of the page. JsSIP does the dialog; this file does
// what it leaves out: tracks that come and go, offers that must wait or collide, ICE restarts, keys.
import type { RTCSession } from "jssip/lib/RTCSession";
import type { Secured } from "../lib/call.ts";
import { refusesVideo } from "../lib/sdp.ts";
import { readSecured } from "./secured.ts";

/* RFC 3261 14.1: after 491 wait a while that differs at the two ends, then try again. */
const GLARE_MS = { caller: [2100, 4000], callee: [0, 2000] } as const;
const OFFER_TRIES = 5;
const READY_POLL_MS = 150;
const READY_POLLS = 40;

interface Inner {
  _dialog: { id: { call_id: string; local_tag: string; remote_tag: string }; remote_target: unknown } | null;
  _setLocalMediaStatus(): void;
  _sendReinvite(options: {
    eventHandlers: { succeeded(): void; failed(response?: { status_code: number }): void };
    rtcOfferConstraints?: RTCOfferOptions;
  }): void;
}

export interface LegEvents {
  connected(): void;
  lost(failed: boolean): void;
  video(on: boolean): void;
}

export class Leg {
  readonly remote = new MediaStream();
  local: MediaStream | null;
  camera: MediaStreamTrack | null = null; // what the camera gives, even while the screen is sent
  screen: MediaStreamTrack | null = null;
  private offering: Promise<boolean> = Promise.resolve(true);

  constructor(readonly session: RTCSession, local: MediaStream | null, private readonly events: LegEvents) {
    this.local = local;
    this.camera = local?.getVideoTracks()[0] ?? null;
    if (session.connection) {
      this.watch(session.connection);
    } else {
      session.on("peerconnection", ({ peerconnection }) => this.watch(peerconnection));
    }
  }

  get pc(): RTCPeerConnection | null {
    return (this.session.connection as RTCPeerConnection | undefined) ?? null;
  }

  /** What the person sees of themself. */
  get preview(): MediaStreamTrack | null {
    return this.screen ?? this.camera;
  }

  dialogId(): { callId: string; local: string; remote: string } | null {
    const id = (this.session as unknown as Inner)._dialog?.id;
    return id ? { callId: id.call_id, local: id.local_tag, remote: id.remote_tag } : null;
  }

  remoteTarget(): string {
    return String((this.session as unknown as Inner)._dialog?.remote_target ?? "");
  }

  private watch(pc: RTCPeerConnection): void {
    letPhonesBegin(pc);
    pc.addEventListener("track", ({ track, transceiver }) => {
      this.remote.addTrack(track);
      const tell = (): void => {
        if (track.kind === "video") {
          this.events.video(!track.muted && track.readyState === "live" && transceiver.direction !== "inactive");
        }
      };
      track.addEventListener("mute", tell);
      track.addEventListener("unmute", tell);
      track.addEventListener("ended", tell);
      tell();
    });
    pc.addEventListener("connectionstatechange", () => {
      if (pc.connectionState === "connected") {
        this.events.connected();
      } else if (pc.connectionState === "disconnected" || pc.connectionState === "failed") {
        this.events.lost(pc.connectionState === "failed");
      }
    });
  }

  /** Loudness of the peer, 0..1. */
  level(): number {
    const receiver = this.pc?.getReceivers().find((r) => r.track.kind === "audio");
    return receiver?.getSynchronizationSources()[0]?.audioLevel ?? 0;
  }

  secured(): Promise<Secured | null> {
    return this.pc ? readSecured(this.pc) : Promise.resolve(null);
  }

  async setMic(track: MediaStreamTrack): Promise<void> {
    const sender = this.pc?.getSenders().find((s) => s.track?.kind === "audio");
    const old = sender?.track ?? null;
    track.enabled = old?.enabled ?? true;
    await sender?.replaceTrack(track);
    old?.stop();
    this.local = new MediaStream([track]);
  }

  /** No picture goes here: one of the ends has refused its line (RFC 3264 6: port 0), or knows no format of the other's. */
  refusesVideo(): boolean {
    return [this.pc?.remoteDescription, this.pc?.localDescription].some((d) => refusesVideo(d?.sdp ?? ""));
  }

  /** Sends this picture, or none; the other end is told by an offer where the direction changes. */
  async setVideo(track: MediaStreamTrack | null): Promise<boolean> {
    const pc = this.pc;
    if (!pc) {
      return false;
    }
    const line = pc.getTransceivers().find((t) => t.currentDirection !== "stopped" && t.receiver.track.kind === "video");
    if (!line) {
      if (track) {
        pc.addTrack(track, this.local ?? new MediaStream());
        return this.offer();
      }
      return true;
    }
    await line.sender.replaceTrack(track);
    const direction = track ? "sendrecv" : "recvonly";
    if (line.direction === direction && line.currentDirection === direction) {
      return true;
    }
    line.direction = direction;
    return this.offer();
  }

  /** An offer in the dialog, one after the other, again after a collision; false when it was refused. */
  offer(options: RTCOfferOptions = {}): Promise<boolean> {
    this.offering = this.offering.then(() => this.offerNow(options), () => this.offerNow(options));
    return this.offering;
  }

  private async offerNow(options: RTCOfferOptions): Promise<boolean> {
    for (let attempt = 0; attempt < OFFER_TRIES; attempt++) {
      if (!(await this.untilReady())) {
        return false;
      }
      const status = await this.offerOnce(options);
      if (status === 200) {
        return true;
      }
      if (this.pc?.signalingState === "have-local-offer") {
        await this.pc.setLocalDescription({ type: "rollback" }).catch(() => undefined);
      }
      if (status !== 491 && status !== 500) {
        return false;
      }
      const [least, most] = this.session.direction === "outgoing" ? GLARE_MS.caller : GLARE_MS.callee;
      await new Promise((done) => setTimeout(done, least + Math.random() * (most - least)));
    }
    return false;
  }

  private offerOnce(options: RTCOfferOptions): Promise<number> {
    const inner = this.session as unknown as Inner;
    return new Promise((done) => {
      inner._setLocalMediaStatus();
      inner._sendReinvite({
        eventHandlers: { succeeded: () => done(200), failed: (r) => done(r?.status_code ?? 0) },
        rtcOfferConstraints: options,
      });
    });
  }

  async untilReady(): Promise<boolean> {
    for (let i = 0; i < READY_POLLS && !this.session.isEnded(); i++) {
      const inner = this.session as RTCSession & { isReadyToReOffer(): boolean };
      if (this.session.isEstablished() && inner.isReadyToReOffer()) {
        return true;
      }
      await new Promise((done) => setTimeout(done, READY_POLL_MS));
    }
    return false;
  }

  stopPictures(): void {
    this.camera?.stop();
    this.screen?.stop();
    this.camera = this.screen = null;
  }

  close(): void {
    this.local?.getTracks().forEach((track) => track.stop());
    this.stopPictures();
  }
}

/*
 * RFC 5763 5: the answerer may be active or passive. A browser's ClientHello fills several datagrams (its keys
 * withstand quantum computers), and phones as DTLS servers stumble over that (linphone 5.1). Phones, told by an
 * offer without BUNDLE, are therefore let begin the handshake; between browsers it begins with the answer, as usual.
 */
function letPhonesBegin(pc: RTCPeerConnection): void {
  const answer = pc.createAnswer.bind(pc) as () => Promise<RTCSessionDescriptionInit>;
  pc.createAnswer = (async () => {
    const made = await answer();
    return pc.remoteDescription?.sdp.includes("a=group:BUNDLE")
      ? made : { type: made.type, sdp: (made.sdp ?? "").replace(/^a=setup:active/gm, "a=setup:passive") };
  }) as typeof pc.createAnswer;
}
