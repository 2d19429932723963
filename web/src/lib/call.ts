// One call as a value, and what may happen to it. Pure: the phone feeds events in, the page draws the
// value. The states:
//
//   dialing ──progress──▶ ringing ──accepted──▶ joining ──media──▶ up ◀──▶ reconnecting
//      └─────────accepted──────────────────────────▲                │
//   incoming ──answer──▶ joining                                     │
//   every state but ended ──end──▶ ended ◀───────────────────────────┘
import type { Ending } from "./reason.ts";

export type CallState = "incoming" | "dialing" | "ringing" | "joining" | "up" | "reconnecting" | "ended";

export interface Party {
  address: string;
  name: string;
}

export interface Secured {
  cipher: string;
  code: string; // the same number at both ends when nobody is between them
}

export interface Call {
  id: string;
  peer: Party;
  outgoing: boolean;
  state: CallState;
  wantsVideo: boolean; // what was dialled or offered
  muted: boolean;
  camera: boolean;
  sharing: boolean;
  held: boolean;
  heldByPeer: boolean;
  peerVideo: boolean;
  started: number; // ms since 1970: the first event
  upSince: number; // 0: never was
  ended: number; // 0: still is
  endWords: string;
  note: string; // something to tell the person now: a transfer, a camera that is missing
  secured: Secured | null;
  level: number; // 0..1 loudness of the peer
}

export type CallEvent =
  | { type: "progress" }
  | { type: "answer" }
  | { type: "accepted" }
  | { type: "media"; at: number }
  | { type: "lost" }
  | { type: "back" }
  | { type: "end"; at: number; words: string }
  | { type: "set"; set: Partial<Pick<Call, "muted" | "camera" | "sharing" | "held" | "heldByPeer" | "peerVideo" | "note" | "secured" | "level" | "peer">> };

export function newCall(id: string, peer: Party, outgoing: boolean, wantsVideo: boolean, at: number): Call {
  return {
    id, peer, outgoing, wantsVideo, state: outgoing ? "dialing" : "incoming",
    muted: false, camera: false, sharing: false, held: false, heldByPeer: false, peerVideo: false,
    started: at, upSince: 0, ended: 0, endWords: "", note: "", secured: null, level: 0,
  };
}

const NEXT: Record<Exclude<CallEvent["type"], "set" | "end">, Partial<Record<CallState, CallState>>> = {
  progress: { dialing: "ringing" },
  answer: { incoming: "joining" },
  accepted: { dialing: "joining", ringing: "joining", incoming: "joining" },
  media: { joining: "up", reconnecting: "up" },
  lost: { up: "reconnecting" },
  back: { reconnecting: "up" },
};

/** The call after the event; the same object when the event means nothing in this state. */
export function step(call: Call, event: CallEvent): Call {
  if (call.state === "ended") {
    return call;
  }
  if (event.type === "end") {
    return {
      ...call, state: "ended", ended: event.at, endWords: event.words, level: 0,
      camera: false, sharing: false, peerVideo: false,
    };
  }
  if (event.type === "set") {
    return { ...call, ...event.set };
  }
  const next = NEXT[event.type][call.state];
  if (!next) {
    return call;
  }
  const upSince = event.type === "media" && call.upSince === 0 ? event.at : call.upSince;
  return { ...call, state: next, upSince };
}

export function isLive(call: Call): boolean {
  return call.state !== "ended";
}

/** Somebody is at the other end. */
export function isTalk(call: Call): boolean {
  return call.state === "joining" || call.state === "up" || call.state === "reconnecting";
}

/** The call that the page shows large: what rings is shown beside it. */
export function foremost(calls: readonly Call[]): Call | null {
  const live = calls.filter(isLive);
  return (
    live.find((c) => c.state !== "incoming" && !c.held) ??
    live.find((c) => c.state !== "incoming") ??
    live.find((c) => c.state === "incoming") ??
    null
  );
}

/** 75 -> "1:15". */
export function clock(seconds: number): string {
  const s = Math.max(0, Math.floor(seconds));
  const rest = `${String(Math.floor(s / 60) % 60).padStart(s >= 3600 ? 2 : 1, "0")}:${String(s % 60).padStart(2, "0")}`;
  return s >= 3600 ? `${Math.floor(s / 3600)}:${rest}` : rest;
}

export type { Ending };
