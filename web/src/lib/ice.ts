// Which of the server's STUN and TURN addresses a browser can use. Pure.

/**
 * The server lists all that it has, for phones too. The ports of SIP are among those that browsers open nothing to,
 * and Firefox refuses all the servers for one of them.
 */
export function usable(server: RTCIceServer): RTCIceServer[] {
  const urls = [server.urls].flat().filter((url) => !/:506[01](\?|$)/.test(url));
  return urls.length > 0 ? [{ ...server, urls }] : [];
}
