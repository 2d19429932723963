/** What a session description says of its pictures. */

/**
 * Does it have a line for pictures that is in use? Port 0 refuses one (RFC 3264 6), but not with a=bundle-only, which
 * says that it shares the first line's port: browsers offer so (RFC 8843 6), and linphone answers so.
 */
export function hasVideo(sdp: string): boolean {
  return sdp.split(/^(?=m=)/m).some((part) => part.startsWith("m=video ") && (!/^m=video 0[ /]/.test(part) || /^a=bundle-only\s*$/m.test(part)));
}

/** Is a line for pictures there, and refused? */
export function refusesVideo(sdp: string): boolean {
  return /^m=video /m.test(sdp) && !hasVideo(sdp);
}
