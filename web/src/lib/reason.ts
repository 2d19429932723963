// From what SIP says to what a person can act on. Pure.
import { words } from "../words.ts";

export interface Ending {
  cause: string; // JsSIP's word for it
  status: number; // of the final response, 0 if there was none
  warning: string; // text of the Warning header, or ""
  reason: string; // text of the Reason header or the response's phrase, or ""
  byPeer: boolean;
  outgoing: boolean;
  wasUp: boolean;
}

/** The quoted text of a Warning header: 399 host "text" (RFC 3261 20.43). */
export function warningText(header: string | undefined): string {
  const found = header ? /^\s*\d{3}\s+\S+\s+"((?:[^"\\]|\\.)*)"/.exec(header) : null;
  return found ? found[1]!.replace(/\\(.)/g, "$1") : "";
}

/** The text parameter of a Reason header (RFC 3326 2). */
export function reasonText(header: string | undefined): string {
  const found = header ? /;\s*text\s*=\s*"((?:[^"\\]|\\.)*)"/i.exec(header) : null;
  return found ? found[1]!.replace(/\\(.)/g, "$1") : "";
}

function ofStatus(who: string, end: Ending): string | null {
  const unkeyed = /encrypt|unkeyed|srtp|keyed|secure/i.test(`${end.warning} ${end.reason}`);
  switch (end.status) {
    case 486:
    case 600:
      return words.endBusy(who);
    case 603:
    case 607:
      return words.endDeclined(who);
    case 408:
      return words.endNoAnswer(who);
    case 404:
    case 604:
    case 484:
      return words.endNotFound(who);
    case 410:
    case 480:
    case 430:
      return words.endOffline(who);
    case 415:
    case 488:
    case 606:
      return unkeyed ? words.endNotEncrypted(who) : words.endNoCommonMedia(who);
    case 482:
    case 483:
      return words.endLoop;
    case 400:
    case 414:
    case 416:
      return words.endBadAddress;
    case 401:
    case 403:
    case 407:
      return end.warning ? words.endSays(end.warning) : words.endForbidden;
    case 429:
      return words.endTooMany;
    case 487:
      return end.outgoing ? words.endCancelled : words.endMissed;
  }
  if (end.status === 503 && !end.warning) {
    return words.endTooMany; // overload refuses without a word: it has no time
  }
  if (end.status >= 500 && end.status < 600) {
    return end.warning ? words.endSays(end.warning) : words.endServer;
  }
  return null;
}

/** One sentence for the end of a call. */
export function endWords(who: string, end: Ending): string {
  if (end.wasUp && /^(Terminated|Canceled)$/.test(end.cause)) {
    return end.byPeer ? words.endedByPeer(who) : words.ended;
  }
  if (!end.outgoing && /completed elsewhere/i.test(end.reason)) {
    return words.endElsewhere;
  }
  const known = ofStatus(who, end);
  if (known) {
    return known;
  }
  switch (end.cause) {
    case "Canceled":
      return end.outgoing ? words.endCancelled : words.endMissed;
    case "No Answer":
    case "Expires":
      return end.outgoing ? words.endNoAnswer(who) : words.endMissed;
    case "Rejected":
      return end.outgoing ? words.endDeclined(who) : words.ended;
    case "Connection Error":
      return words.endNetwork;
    case "Request Timeout":
      return words.endTimeout;
    case "RTP Timeout":
    case "WebRTC Error":
      return words.endMedia;
    case "Incompatible SDP":
    case "Missing SDP":
      return words.endNoCommonMedia(who);
    case "User Denied Media Access":
      return words.micDenied;
    case "Terminated":
    case "BYE":
      return end.byPeer ? words.endedByPeer(who) : words.ended;
  }
  return words.endOther(end.warning || end.reason || end.cause || String(end.status));
}

/** Why getUserMedia or getDisplayMedia did not work. */
export function mediaWords(error: unknown, what: "mic" | "camera" | "share"): string {
  if (what === "share") {
    return words.shareDenied;
  }
  const name = error instanceof Error || error instanceof DOMException ? error.name : "";
  if (name === "NotFoundError" || name === "OverconstrainedError") {
    return what === "mic" ? words.micMissing : words.cameraMissing;
  }
  if (name === "NotReadableError" || name === "AbortError") {
    return what === "mic" ? words.micBusy : words.cameraBusy;
  }
  return what === "mic" ? words.micDenied : words.cameraDenied;
}

/** Why a text message was not delivered. */
export function messageWords(who: string, status: number, warning: string): string {
  if (status === 0) {
    return words.endNetwork;
  }
  return ofStatus(who, {
    cause: "", status, warning, reason: "", byPeer: true, outgoing: true, wasUp: false,
  }) ?? (warning ? words.endSays(warning) : words.endOther(String(status)));
}
