// What people type, and the SIP URI it means. Pure: no browser needed.
import { words } from "../words.ts";

export interface Dialled {
  uri: string; // sip:user@host, what goes into the request
  address: string; // user@host, what people see and what things are stored under
}

export type Parsed = { ok: true; value: Dialled } | { ok: false; error: string };

/* RFC 3261 25.1: the user part may hold these and escapes; everything else is escaped. */
const USER = /^(?:[A-Za-z0-9\-_.!~*'()&=+$,;?/]|%[0-9A-Fa-f]{2})+$/;
const HOST = /^(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*\.?$|^\[[0-9A-Fa-f:.]+\]$/;
/* RFC 3966 3: visual separators mean nothing. */
const NUMBER = /^\+?[0-9](?:[0-9]|[ ().\-/](?=[ ().\-/]*[0-9]))*$/;
const LONGEST = 250;

function fail(error: string): Parsed {
  return { ok: false, error };
}

function number(text: string): string {
  return text.replace(/[ ().\-/]/g, "");
}

/** Name, number or address; what has no domain is of ours. */
export function parseAddress(typed: string, domain: string): Parsed {
  let text = typed.trim();
  if (text === "") {
    return fail(words.dialEmpty);
  }
  const angle = /<([^>]*)>\s*$/.exec(text);
  if (angle) {
    text = angle[1]!.trim();
  }
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):(?!\d+$)(.*)$/.exec(text);
  let tel = false;
  if (scheme) {
    const name = scheme[1]!.toLowerCase();
    if (name !== "sip" && name !== "sips" && name !== "tel") {
      return fail(words.dialScheme(name));
    }
    tel = name === "tel";
    text = scheme[2]!;
  }
  if (text.length > LONGEST) {
    return fail(words.dialNotAddress(`${text.slice(0, 30)}…`));
  }
  if (NUMBER.test(text)) {
    const user = number(text);
    return { ok: true, value: { uri: `sip:${user}@${domain}`, address: `${user}@${domain}` } };
  }
  const at = text.lastIndexOf("@");
  const user = at < 0 ? text : text.slice(0, at);
  // Parameters and headers of a pasted URI are not ours to send on.
  const host = at < 0 ? domain : text.slice(at + 1).replace(/[;?].*$/, "");
  const bare = host.replace(/:\d{1,5}$/, "");
  if (tel || !USER.test(user) || !HOST.test(bare)) {
    return fail(words.dialNotAddress(typed.trim()));
  }
  const address = `${user}@${host.toLowerCase()}`;
  return { ok: true, value: { uri: `sip:${address}`, address } };
}

/** "user@host" of a SIP URI or a bare address, without parameters. */
export function addressOf(uri: string): string {
  const bare = uri.trim().replace(/^<|>$/g, "").replace(/^sips?:/i, "").replace(/[;?].*$/, "");
  const at = bare.lastIndexOf("@");
  return at < 0 ? bare.toLowerCase() : bare.slice(0, at) + bare.slice(at).toLowerCase();
}

export function userOf(address: string): string {
  const at = address.lastIndexOf("@");
  return at < 0 ? address : address.slice(0, at);
}

export function domainOf(address: string): string {
  const at = address.lastIndexOf("@");
  return at < 0 ? "" : address.slice(at + 1);
}

/** "Bob Miller" -> "BM", for the round picture. */
export function initials(name: string): string {
  const parts = name.replace(/@.*/, "").split(/[\s._-]+/).filter((p) => /[\p{L}\p{N}]/u.test(p));
  const first = [...(parts[0] ?? "?")][0] ?? "?";
  const last = parts.length > 1 ? [...parts[parts.length - 1]!][0]! : "";
  return (first + last).toUpperCase();
}

/** A steady small number from a text: the colour of somebody's picture. */
export function hueOf(text: string, count: number): number {
  let h = 0;
  for (const c of text) {
    h = (h * 31 + c.codePointAt(0)!) >>> 0;
  }
  return h % count;
}
