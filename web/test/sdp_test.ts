import assert from "node:assert/strict";
import { test } from "node:test";
import { hasVideo, refusesVideo } from "../src/lib/sdp.ts";

const audio = "v=0\r\na=group:BUNDLE 0 1\r\nm=audio 7078 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n";
const line = (port: number, more = ""): string => `${audio}m=video ${port} UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\n${more}`;

test("port 0 refuses pictures, but not where it means a shared port (RFC 3264 6, RFC 8843 6)", () => {
  const cases: [string, boolean, boolean][] = [
    [audio, false, false],
    [line(55441), true, false],
    [line(0), false, true],
    [line(0, "a=bundle-only\r\n"), true, false],
    [line(0, "a=rtcp-mux\r\nm=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\na=bundle-only\r\n"), false, true],
  ];
  for (const [sdp, has, refuses] of cases) {
    assert.deepEqual([hasVideo(sdp), refusesVideo(sdp)], [has, refuses], sdp);
  }
});
