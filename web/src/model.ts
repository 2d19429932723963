// What the page knows and can do: session, people, what is remembered, the phone or the tab that has it. The
// components draw it and call its methods; they hold no state of their own but what is half typed.
import { api, ApiError, type Person, type Session } from "./api.ts";
import { parseAddress, userOf } from "./lib/address.ts";
import { addCall, addContact, Book, emptyShelf, putMessage, removeContact, seenAll, type Shelf } from "./lib/book.ts";
import { foremost, isLive, isTalk, type Call, type Party } from "./lib/call.ts";
import { notifyCall, notifyMessage, stillRinging } from "./notify.ts";
import { acceptInvitation, invitationOf, signIn } from "./passkey.ts";
import { openScreen } from "./phone/media.ts";
import { Viewer } from "./phone/mirror.ts";
import { Phone, type Command, type PhoneView } from "./phone/phone.ts";
import { Resume } from "./phone/resume.ts";
import { Tabs } from "./phone/tabs.ts";
import { words } from "./words.ts";

export interface Known extends Party {
  reachable: boolean | null; // null: on another server, nobody tells
  talking: boolean; // with us, now
  own: boolean; // on one's own list
  numbers: string[];
}

export type Place = "loading" | "sign-in" | "invited" | "phone";
export type Part = "people" | "recent" | "settings";

const PEOPLE_EVERY_MS = 10_000;
const TURN_SLACK_MS = 60_000;
const EMPTY_VIEW: PhoneView = { line: "connecting", lineWords: words.connecting, calls: [] };

export class Model {
  place: Place = "loading";
  part: Part = "people";
  selected = ""; // an address, or ""
  error = "";
  busy = false;
  invited = { aor: "", name: "" };
  session: Session | null = null;
  people: Person[] = [];
  view: PhoneView = EMPTY_VIEW;
  phone: Phone | null = null;
  private book: Book | null = null;
  private tabs: Tabs<PhoneView, Command> | null = null;
  private listeners = new Set<() => void>();
  private viewer: Viewer | null = null; // of a call that another tab holds
  private readonly tab = crypto.randomUUID();
  private pendingDial: Command | null = null;
  private token = "";
  private creation: PublicKeyCredentialCreationOptionsJSON | null = null;
  private turn: { iceServers: RTCIceServer[]; until: number } = { iceServers: [], until: 0 };
  private left = new AbortController(); // fires when the account is left

  // ---- for the components ----

  watch(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  private changed(): void {
    for (const listener of this.listeners) {
      listener();
    }
  }

  get shelf(): Shelf {
    return this.book?.shelf ?? emptyShelf();
  }

  get aor(): string {
    return this.session?.aor ?? "";
  }

  get domain(): string {
    return this.aor.slice(this.aor.lastIndexOf("@") + 1);
  }

  get leading(): boolean {
    return this.phone !== null;
  }

  get call(): Call | null {
    return foremost(this.view.calls) ?? this.view.calls[0] ?? null;
  }

  get calls(): Call[] {
    return this.view.calls;
  }

  lineWords(): string {
    return this.view.line === "ready" && !this.leading ? words.otherTab : this.view.lineWords;
  }

  nameOf(address: string): string {
    return (
      this.shelf.contacts.find((c) => c.address === address)?.name ??
      this.people.find((p) => p.aor === address)?.name ??
      ""
    );
  }

  /** Everybody this page knows: the domain's people, one's own list, those of past messages. */
  known(): Known[] {
    const all = new Map<string, Known>();
    for (const p of this.people) {
      all.set(p.aor, { ...this.stranger(p.aor), name: p.name || userOf(p.aor), reachable: p.reachable, numbers: p.numbers });
    }
    for (const c of this.shelf.contacts) {
      all.set(c.address, { ...(all.get(c.address) ?? this.stranger(c.address)), name: c.name, own: true });
    }
    for (const m of this.shelf.messages) {
      if (!all.has(m.peer)) {
        all.set(m.peer, this.stranger(m.peer));
      }
    }
    for (const call of this.view.calls.filter((c) => isTalk(c) || c.state === "incoming")) {
      const who = all.get(call.peer.address);
      if (who) { // what the list says is some seconds old, and some phones register nowhere
        all.set(who.address, { ...who, reachable: true, talking: isTalk(call) || who.talking });
      }
    }
    return [...all.values()].sort((a, b) => Number(b.reachable ?? 0) - Number(a.reachable ?? 0) || a.name.localeCompare(b.name));
  }

  who(address: string): Known {
    return (
      this.known().find((k) => k.address === address) ?? { ...this.stranger(address), name: this.nameOf(address) || userOf(address) }
    );
  }

  private stranger(address: string): Known {
    return { address, name: userOf(address), reachable: null, talking: false, own: false, numbers: [] };
  }

  // ---- moving about ----

  show(part: Part): void {
    this.part = part;
    this.selected = "";
    this.go("");
    this.changed();
  }

  select(address: string): void {
    this.selected = address;
    this.error = "";
    this.go(address ? `#to=${encodeURIComponent(address)}` : "");
    if (address) {
      this.remember((s) => seenAll(s, address));
    }
    this.changed();
  }

  private go(hash: string): void {
    if (location.hash !== hash) {
      history.pushState(null, "", hash || location.pathname);
    }
  }

  private readonly followHash = (): void => {
    const to = /^#to=(.+)$/.exec(location.hash);
    const parsed = to ? parseAddress(decodeURIComponent(to[1]!), this.domain) : null;
    this.selected = parsed?.ok ? parsed.value.address : "";
    this.changed();
  };

  // ---- signing in ----

  async start(): Promise<void> {
    this.token = invitationOf(location.hash);
    try {
      if (this.token) {
        history.replaceState(null, "", location.pathname); // it shall not stay in the list of visited pages
        const { aor, name, publicKey } = await api.inviteOptions(this.token);
        this.invited = { aor, name };
        this.creation = publicKey;
        this.place = "invited";
      } else {
        const session = await api.session();
        if (session.signed_in) {
          return this.enter(session);
        }
        this.place = "sign-in";
      }
    } catch (error) {
      this.place = "sign-in";
      this.error = signInWords(error, this.token !== "");
    }
    this.changed();
  }

  acceptInvitation(): Promise<void> {
    return this.ceremony(() => acceptInvitation(this.token, this.creation!));
  }

  signIn(): Promise<void> {
    return this.ceremony(signIn);
  }

  private async ceremony(how: () => Promise<Session>): Promise<void> {
    if (this.busy) {
      return;
    }
    this.busy = true;
    this.error = "";
    this.changed();
    try {
      this.enter(await how());
    } catch (error) {
      this.error = signInWords(error, this.place === "invited");
    }
    this.busy = false;
    this.changed();
  }

  async signOut(): Promise<void> {
    await api.logout().catch(() => undefined);
    this.leaveAccount("");
  }

  private leaveAccount(why: string): void {
    this.phone?.stop();
    this.phone = null;
    this.view = EMPTY_VIEW;
    this.look();
    this.tabs?.close();
    this.left.abort();
    this.session = null;
    this.place = "sign-in";
    this.error = why;
    this.changed();
  }

  // ---- signed in ----

  private enter(session: Session): void {
    this.session = session;
    this.place = "phone";
    this.error = "";
    this.book = new Book(localStorage, this.aor);
    this.tabs = new Tabs<PhoneView, Command>(`kith-phone ${this.aor}`, {
      lead: () => this.lead(),
      lose: () => this.lose(),
      view: (view) => this.see(view),
      command: (command) => this.phone?.perform(command),
      hello: () => this.tabs?.say({ kind: "view", view: this.view }),
      shelf: () => {
        this.book?.reread();
        this.changed();
      },
      offer: (tab, call, sdp) => void this.phone?.mirror(tab, call, sdp).then((answer) => {
        if (answer) {
          this.tabs?.say({ kind: "answer", tab, sdp: answer });
        }
      }),
      answer: (tab, sdp) => tab === this.tab && this.viewer?.answered(sdp),
    });
    this.tabs.join(Resume.waiting());
    this.left = new AbortController();
    const { signal } = this.left;
    const timer = window.setInterval(() => void this.refreshPeople(), PEOPLE_EVERY_MS);
    signal.addEventListener("abort", () => window.clearInterval(timer));
    document.addEventListener("visibilitychange", () => {
      this.look();
      void this.refreshPeople();
    }, { signal });
    window.addEventListener("popstate", this.followHash, { signal });
    window.addEventListener("pagehide", () => this.phone?.leave(), { signal });
    this.followHash();
    void this.refreshPeople();
    this.changed();
  }

  async refreshPeople(): Promise<void> {
    if (document.hidden || !this.session) {
      return;
    }
    try {
      this.people = (await api.people()).people;
      this.changed();
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) {
        this.leaveAccount(words.signedOutHere);
      }
    }
  }

  private lead(): void {
    const url = `${location.origin.replace(/^http/, "ws")}${this.session?.ws ?? "/ws"}`;
    this.phone = new Phone(
      {
        aor: this.aor, name: this.session?.name ?? "", url, register: true, instance: instance(),
        iceServers: () => this.iceServers(),
      },
      {
        changed: () => this.see(this.phone!.view),
        past: (call) => this.remember((s) => addCall(s, call)),
        message: (message) => {
          const open = !document.hidden && this.selected === message.peer;
          this.remember((s) => putMessage(s, open ? { ...message, seen: true } : message));
          if (!message.outgoing) {
            notifyMessage(this.nameOf(message.peer) || userOf(message.peer), message.text, () => this.select(message.peer));
          }
        },
        incoming: (call) => notifyCall(call),
        nameOf: (address) => this.nameOf(address),
      },
    );
    this.phone.start();
    this.see(this.phone.view);
    if (this.pendingDial) {
      const dial = this.pendingDial;
      this.pendingDial = null;
      this.phone.soon(dial);
    }
  }

  private lose(): void {
    this.phone?.stop();
    this.phone = null;
    this.tabs?.say({ kind: "hello" });
    this.changed();
  }

  private see(view: PhoneView): void {
    if (view.line !== this.view.line) {
      void this.refreshPeople(); // which also tells when this device was signed out from elsewhere
    }
    stillRinging(view.calls);
    this.view = view;
    if (this.leading) {
      this.tabs?.say({ kind: "view", view });
    }
    this.look();
    document.title = titleOf(view);
    this.changed();
  }

  /** A tab that does not hold the call looks at its pictures, as long as somebody looks at the tab. */
  private look(): void {
    const call = this.leading || document.hidden ? null : this.call;
    const wanted = call && (call.state === "up" || call.state === "reconnecting") ? call.id : "";
    if (this.viewer?.call === wanted) {
      return;
    }
    this.viewer?.close();
    this.viewer = null;
    if (wanted) {
      const viewer: Viewer = new Viewer(wanted, (sdp) => this.tabs?.say({ kind: "offer", tab: this.tab, call: wanted, sdp }), () => {
        if (this.viewer === viewer) {
          this.viewer = null;
          viewer.close();
        }
      });
      this.viewer = viewer;
    }
  }

  /** What there is to see of a call: the peer, and what the person shows. */
  pictures(call: Call): { remote: MediaStream | null; own: MediaStreamTrack | null } {
    const leg = this.phone?.leg(call.id);
    if (leg) {
      return { remote: leg.remote, own: leg.preview };
    }
    const viewer = this.viewer?.call === call.id ? this.viewer : null;
    return { remote: viewer?.remote ?? null, own: viewer && (call.camera || call.sharing) ? viewer.own : null };
  }

  /** A screen is chosen in the tab where that was pressed: no other may ask. */
  private async shareFromHere(id: string, sharing: boolean): Promise<void> {
    const viewer = this.viewer;
    const tell = (): void => this.tabs?.say({ kind: "command", command: { do: "share", id, from: this.tab } });
    if (sharing || !viewer) {
      viewer?.unshare();
      return tell();
    }
    const screen = await openScreen().catch(() => null);
    if (screen) {
      screen.addEventListener("ended", tell);
      await viewer.share(screen);
      tell();
    }
  }

  private async iceServers(): Promise<RTCIceServer[]> {
    if (Date.now() > this.turn.until - TURN_SLACK_MS) {
      const { iceServers, until } = await api.turn();
      this.turn = { iceServers, until: Date.parse(until) || Date.now() + 10 * TURN_SLACK_MS };
    }
    return this.turn.iceServers;
  }

  private remember(how: (shelf: Shelf) => Shelf): void {
    this.book?.change(how);
    this.tabs?.say({ kind: "shelf" });
    this.changed();
  }

  // ---- what people press ----

  perform(command: Command): void {
    if (this.phone) {
      this.phone.perform(command);
    } else if (command.do === "dial" && !this.view.calls.some(isLive)) {
      this.pendingDial = command; // the tab in which one calls becomes the phone
      this.tabs?.join(true);
    } else if (command.do === "share") {
      void this.shareFromHere(command.id, this.view.calls.some((c) => c.id === command.id && c.sharing));
    } else {
      this.tabs?.say({ kind: "command", command });
    }
  }

  /** Somebody by name, number or address; what does not parse stands in `error`. */
  resolve(typed: string): { uri: string; address: string } | null {
    const text = typed.trim().toLowerCase();
    const named = this.known().filter((k) => k.name.toLowerCase() === text || k.numbers.includes(text));
    const parsed = parseAddress(named.length === 1 ? named[0]!.address : typed, this.domain);
    this.error = parsed.ok ? "" : parsed.error;
    this.changed();
    return parsed.ok ? parsed.value : null;
  }

  dial(typed: string, video: boolean): boolean {
    const to = this.resolve(typed);
    if (to) {
      this.perform({ do: "dial", ...to, video });
    }
    return to !== null;
  }

  transfer(id: string, typed: string): boolean {
    const to = this.resolve(typed);
    if (to) {
      this.perform({ do: "transfer", id, ...to });
    }
    return to !== null;
  }

  write(address: string, text: string): void {
    if (text.trim()) {
      this.perform({ do: "message", uri: `sip:${address}`, address, text: text.trim() });
    }
  }

  keepContact(who: Party): void {
    this.remember((s) => addContact(s, who));
  }

  forgetContact(address: string): void {
    this.remember((s) => removeContact(s, address));
  }

  forgetCalls(): void {
    this.remember((s) => ({ ...s, calls: [] }));
  }
}

/** One number for this browser, the same in all tabs and after a restart (RFC 5626 4.1). */
function instance(): string {
  const key = "kith:instance";
  const known = localStorage.getItem(key);
  if (known && /^[0-9a-f-]{36}$/.test(known)) {
    return known;
  }
  const made = crypto.randomUUID();
  localStorage.setItem(key, made);
  return made;
}

function titleOf(view: PhoneView): string {
  const incoming = view.calls.find((c) => c.state === "incoming");
  if (incoming) {
    return words.incomingFrom(incoming.peer.name);
  }
  const up = view.calls.find((c) => c.state === "up");
  return up ? `${up.peer.name} · ${words.app}` : words.app;
}

function signInWords(error: unknown, invited: boolean): string {
  if (error instanceof ApiError) {
    if (error.status === 0 || error.status >= 500) {
      return words.serverSilent;
    }
    if (invited && error.status === 404) {
      return words.inviteGone;
    }
    return error.status === 401 ? words.passkeyUnknown : error.message || words.serverSilent;
  }
  return words.passkeyDenied;
}
