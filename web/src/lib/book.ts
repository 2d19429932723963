// What this browser remembers: own contacts, calls that were, messages. Lists with a maximum each, in
// localStorage under one name per account. The functions are pure; Book binds them to a storage.
import type { Party } from "./call.ts";

export interface PastCall {
  id: string;
  peer: Party;
  outgoing: boolean;
  video: boolean;
  at: number;
  seconds: number; // 0: never was up
  words: string; // how it ended
}

export interface TextMessage {
  id: string;
  peer: string; // address
  outgoing: boolean;
  text: string;
  at: number;
  state: "sending" | "delivered" | "accepted" | "failed" | "received";
  words: string; // why it failed
  seen: boolean;
}

export interface Shelf {
  contacts: Party[];
  calls: PastCall[]; // newest first
  messages: TextMessage[]; // oldest first
}

export const MOST = { contacts: 500, calls: 200, messages: 1000 };

export function emptyShelf(): Shelf {
  return { contacts: [], calls: [], messages: [] };
}

export function addCall(shelf: Shelf, call: PastCall): Shelf {
  const calls = [call, ...shelf.calls.filter((c) => c.id !== call.id)].slice(0, MOST.calls);
  return { ...shelf, calls };
}

export function putMessage(shelf: Shelf, message: TextMessage): Shelf {
  const known = shelf.messages.some((m) => m.id === message.id);
  const messages = known
    ? shelf.messages.map((m) => (m.id === message.id ? message : m))
    : [...shelf.messages, message].slice(-MOST.messages);
  return { ...shelf, messages };
}

export function seenAll(shelf: Shelf, peer: string): Shelf {
  if (!shelf.messages.some((m) => m.peer === peer && !m.seen)) {
    return shelf;
  }
  return { ...shelf, messages: shelf.messages.map((m) => (m.peer === peer ? { ...m, seen: true } : m)) };
}

export function unseen(shelf: Shelf, peer: string): number {
  return shelf.messages.filter((m) => m.peer === peer && !m.seen).length;
}

export function addContact(shelf: Shelf, who: Party): Shelf {
  const contacts = [...shelf.contacts.filter((c) => c.address !== who.address), who]
    .sort((a, b) => a.name.localeCompare(b.name) || a.address.localeCompare(b.address))
    .slice(0, MOST.contacts);
  return { ...shelf, contacts };
}

export function removeContact(shelf: Shelf, address: string): Shelf {
  return { ...shelf, contacts: shelf.contacts.filter((c) => c.address !== address) };
}

function party(x: unknown): x is Party {
  const p = x as Party;
  return typeof p === "object" && p !== null && typeof p.address === "string" && typeof p.name === "string";
}

/** What storage gave, as far as it makes sense: a damaged entry must not take the page down. */
export function readShelf(text: string | null): Shelf {
  const shelf = emptyShelf();
  let found: Partial<Shelf>;
  try {
    found = JSON.parse(text ?? "{}") as Partial<Shelf>;
  } catch {
    return shelf;
  }
  if (typeof found !== "object" || found === null) {
    return shelf;
  }
  const list = <T>(x: T[] | undefined): T[] => (Array.isArray(x) ? x : []);
  shelf.contacts = list(found.contacts).filter(party).slice(0, MOST.contacts);
  shelf.calls = list(found.calls)
    .filter((c) => c && party(c.peer) && typeof c.at === "number" && typeof c.id === "string")
    .slice(0, MOST.calls);
  shelf.messages = list(found.messages)
    .filter((m) => m && typeof m.text === "string" && typeof m.peer === "string" && typeof m.id === "string")
    // A page that was closed while it sent cannot know any more.
    .map((m) => (m.state === "sending" ? { ...m, state: "failed" as const } : m))
    .slice(-MOST.messages);
  return shelf;
}

export interface Place {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
}

/** The shelf of one account in one storage. Another tab may write too: reread() before each change. */
export class Book {
  shelf: Shelf;
  private readonly key: string;

  constructor(private readonly place: Place, aor: string) {
    this.key = `kith:${aor}`;
    this.shelf = readShelf(place.getItem(this.key));
  }

  reread(): void {
    const text = this.place.getItem(this.key);
    const fresh = readShelf(text);
    // "sending" is only lost when the page that sends is gone; that is told by the phone, not here.
    fresh.messages = fresh.messages.map((m) => {
      const ours = this.shelf.messages.find((o) => o.id === m.id);
      return ours?.state === "sending" && m.state === "failed" && m.words === "" ? ours : m;
    });
    this.shelf = fresh;
  }

  change(how: (shelf: Shelf) => Shelf): void {
    this.reread();
    this.shelf = how(this.shelf);
    try {
      this.place.setItem(this.key, JSON.stringify(this.shelf));
    } catch {
      // Storage is full or forbidden: what is in memory goes on until the page closes.
    }
  }
}
