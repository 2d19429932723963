// Calls that outlive a reload of their page: what must be known to take them up again waits in this tab's
// own storage for the seconds that a reload takes.
import type { Call } from "../lib/call.ts";

export interface Kept {
  call: Call;
  callId: string;
  local: string; // our tag
  remote: string; // the peer's
  target: string; // the peer's contact
  at: number;
}

const KEY = "kith:resume";
const FRESH_MS = 25_000; // the peer gives up after 30 s

export class Resume {
  keep(calls: Kept[]): void {
    try {
      if (calls.length > 0) {
        sessionStorage.setItem(KEY, JSON.stringify(calls));
      } else {
        sessionStorage.removeItem(KEY);
      }
    } catch {
      // Then the call ends with the page.
    }
  }

  take(): Kept[] {
    const text = sessionStorage.getItem(KEY);
    sessionStorage.removeItem(KEY);
    try {
      const kept = JSON.parse(text ?? "[]") as Kept[];
      return kept.filter((k) => Date.now() - k.at < FRESH_MS && typeof k.callId === "string");
    } catch {
      return [];
    }
  }

  static waiting(): boolean {
    return sessionStorage.getItem(KEY) !== null;
  }
}
