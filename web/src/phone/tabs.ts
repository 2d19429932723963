// Several tabs, one phone. A lock that the browser keeps says which tab holds the connection; that tab tells
// the others what it sees, and they send it what people press. When it closes, the next one takes over.

export type Note<View, Command> =
  | { kind: "view"; view: View }
  | { kind: "command"; command: Command }
  | { kind: "hello" }
  | { kind: "shelf" }
  | { kind: "offer"; tab: string; call: string; sdp: string } // of a tab that wants to see a call (mirror.ts)
  | { kind: "answer"; tab: string; sdp: string };

export interface TabsEvents<View, Command> {
  lead(): void; // this tab is the phone from now on
  lose(): void; // another tab took it
  view(view: View): void; // what the leading tab sees
  command(command: Command): void; // for the leading tab
  hello(): void; // a new tab wants to see
  shelf(): void; // another tab changed what is remembered
  offer(tab: string, call: string, sdp: string): void; // for the leading tab
  answer(tab: string, sdp: string): void; // for the tab of that name
}

export class Tabs<View, Command> {
  leading = false;
  private readonly channel: BroadcastChannel;
  private closed = false;
  private release: () => void = () => undefined;

  constructor(private readonly name: string, private readonly events: TabsEvents<View, Command>) {
    this.channel = new BroadcastChannel(name);
    this.channel.onmessage = (e: MessageEvent<Note<View, Command>>) => this.heard(e.data);
  }

  /** Waits for the lead; with `now`, takes it from whoever has it. */
  join(now: boolean): void {
    const hold = (): Promise<void> => {
      if (this.closed) {
        return Promise.resolve();
      }
      this.leading = true;
      this.events.lead();
      return new Promise((done) => { // until the tab closes or another steals
        this.release = done;
      });
    };
    navigator.locks.request(this.name, now ? { steal: true } : {}, hold).catch((error: unknown) => {
      if (!(error instanceof DOMException)) {
        throw error; // not the lock's: lead() itself failed
      }
      const led = this.leading;
      this.leading = false;
      if (!this.closed && led) {
        this.events.lose();
        this.join(false);
      }
    });
    if (!now) {
      this.say({ kind: "hello" });
    }
  }

  say(note: Note<View, Command>): void {
    if (!this.closed) {
      this.channel.postMessage(note);
    }
  }

  close(): void {
    this.closed = true;
    this.release();
    this.channel.close();
  }

  private heard(note: Note<View, Command>): void {
    if (note.kind === "shelf") {
      this.events.shelf();
    } else if (note.kind === "view" && !this.leading) {
      this.events.view(note.view);
    } else if (note.kind === "command" && this.leading) {
      this.events.command(note.command);
    } else if (note.kind === "hello" && this.leading) {
      this.events.hello();
    } else if (note.kind === "offer" && this.leading) {
      this.events.offer(note.tab, note.call, note.sdp);
    } else if (note.kind === "answer") {
      this.events.answer(note.tab, note.sdp);
    }
  }
}
