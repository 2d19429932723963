// The pictures of a call in a tab that does not hold it. Such a tab asks the one that does by an offer with three places
// for video, always the same: what the peer shows, what the person shows, and the screen that is shared from here.
// What is shown there changes without another offer. It never leaves the machine: no server is asked for a way.
import type { Leg } from "./leg.ts";

const SCREEN = 2; // of the three; 0 is the peer, 1 the person
const GATHER_MS = 1500;

async function described(pc: RTCPeerConnection): Promise<string> {
  await pc.setLocalDescription();
  await new Promise<void>((done) => {
    const look = (): void => {
      if (pc.iceGatheringState === "complete") {
        done();
      }
    };
    pc.addEventListener("icegatheringstatechange", look);
    window.setTimeout(done, GATHER_MS);
    look();
  });
  return pc.localDescription!.sdp;
}

function whenGone(pc: RTCPeerConnection, gone: () => void): void {
  pc.addEventListener("connectionstatechange", () => {
    if (pc.connectionState === "failed") {
      gone();
    }
  });
}

/** In the tab that looks. */
export class Viewer {
  readonly remote = new MediaStream();
  readonly own: MediaStreamTrack;
  private readonly pc = new RTCPeerConnection();
  private screen: MediaStreamTrack | null = null;

  constructor(readonly call: string, ask: (offer: string) => void, gone: () => void) {
    for (let i = 0; i <= SCREEN; i++) {
      this.pc.addTransceiver("video", { direction: i === SCREEN ? "sendonly" : "recvonly" });
    }
    const [peer, own] = this.pc.getReceivers();
    this.remote.addTrack(peer!.track);
    this.own = own!.track;
    whenGone(this.pc, gone);
    void described(this.pc).then(ask, gone);
  }

  answered(sdp: string): void {
    void this.pc.setRemoteDescription({ type: "answer", sdp }).catch(() => undefined);
  }

  async share(screen: MediaStreamTrack): Promise<void> {
    this.screen?.stop();
    this.screen = screen;
    await this.pc.getTransceivers()[SCREEN]!.sender.replaceTrack(screen);
  }

  unshare(): void {
    this.screen?.stop();
    this.screen = null;
  }

  close(): void {
    this.unshare();
    this.pc.close();
  }
}

/** In the tab that holds the call: one for each that looks. */
export class Mirror {
  private readonly pc = new RTCPeerConnection();

  constructor(readonly call: string, gone: () => void) {
    whenGone(this.pc, gone);
  }

  async answer(sdp: string, leg: Leg): Promise<string> {
    await this.pc.setRemoteDescription({ type: "offer", sdp });
    this.pc.getTransceivers().forEach((t, i) => {
      t.direction = i === SCREEN ? "recvonly" : "sendonly";
    });
    this.show(leg);
    return described(this.pc);
  }

  show(leg: Leg): void {
    const [peer, own] = this.pc.getSenders();
    const put = (sender: RTCRtpSender | undefined, track: MediaStreamTrack | null): void => {
      if (sender && sender.track !== track) {
        void sender.replaceTrack(track).catch(() => undefined);
      }
    };
    put(peer, leg.remote.getVideoTracks().find((t) => t.readyState === "live") ?? null);
    put(own, leg.preview);
  }

  /** A copy: who stops it stops no more than that. */
  screen(): MediaStreamTrack | null {
    return this.pc.getTransceivers()[SCREEN]?.receiver.track.clone() ?? null;
  }

  close(): void {
    this.pc.close();
  }
}
