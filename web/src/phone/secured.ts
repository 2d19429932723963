// What encrypts a call, read from the connection itself, and a number that both ends can compare.
import type { Secured } from "../lib/call.ts";

/** The fingerprints of a session description (RFC 8122 5), in one spelling. */
export function fingerprints(sdp: string): string[] {
  return [...sdp.matchAll(/^a=fingerprint:(\S+) +(\S+)/gm)]
    .map((m) => `${m[1]!.toLowerCase()} ${m[2]!.toUpperCase()}`)
    .filter((f, i, all) => all.indexOf(f) === i);
}

/** Twelve digits from both ends' fingerprints, the same at both ends. */
export async function safetyCode(local: string, remote: string): Promise<string> {
  const all = [...fingerprints(local), ...fingerprints(remote)].sort().join("\n");
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(all)));
  let groups = "";
  for (let i = 0; i < 3; i++) {
    const n = ((hash[4 * i]! << 24) | (hash[4 * i + 1]! << 16) | (hash[4 * i + 2]! << 8) | hash[4 * i + 3]!) >>> 0;
    groups += `${i ? " " : ""}${String(n % 10_000).padStart(4, "0")}`;
  }
  return groups;
}

/** "SRTP_AEAD_AES_256_GCM" -> "AES-256-GCM": browsers spell the suites differently. */
export function cipherName(suite: string): string {
  const bits = /256/.test(suite) ? "256" : "128";
  return /AES/i.test(suite) ? `AES-${bits}${/GCM/i.test(suite) ? "-GCM" : ""}` : suite;
}

export async function readSecured(pc: RTCPeerConnection): Promise<Secured | null> {
  const local = pc.currentLocalDescription?.sdp;
  const remote = pc.currentRemoteDescription?.sdp;
  if (!local || !remote) {
    return null;
  }
  let cipher = "";
  for (const report of (await pc.getStats()).values() as Iterable<{ type: string; dtlsState?: string; srtpCipher?: string }>) {
    if (report.type === "transport" && report.dtlsState === "connected") {
      cipher = report.srtpCipher ?? "SRTP";
    }
  }
  return cipher ? { cipher: cipherName(cipher), code: await safetyCode(local, remote) } : null;
}
