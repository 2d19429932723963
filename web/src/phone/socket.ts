// The WebSocket under JsSIP. What JsSIP's own lacks: it notices a dead connection (after sleep, after a
// change of network) by a double CRLF that must be answered (RFC 5626 4.4.1), and it can be retired, after which
// not a byte leaves: another tab is the phone now.

const PING_EVERY_MS = 25_000;
const PONG_WITHIN_MS = 8_000;
const OPEN_WITHIN_MS = 8_000; // where packets vanish the browser itself waits for minutes

export class LiveSocket {
  readonly url: string;
  readonly via_transport = "WSS";
  readonly sip_uri: string;
  onconnect!: () => void;
  ondisconnect!: (error: boolean, code?: number, reason?: string) => void;
  ondata!: (data: string) => void;
  private ws: WebSocket | null = null;
  private retired = false;
  private ping = 0;
  private pong = 0;
  private opening = 0;
  private asked: ((there: boolean) => void)[] = []; // who waits for the answer

  constructor(url: string) {
    this.url = url;
    this.sip_uri = `sip:${new URL(url).host};transport=ws`;
  }

  connect(): void {
    if (this.retired || this.isConnected() || this.isConnecting()) {
      return;
    }
    this.drop();
    let ws: WebSocket;
    try {
      ws = new WebSocket(this.url, "sip");
    } catch {
      this.ondisconnect(true);
      return;
    }
    this.ws = ws;
    ws.binaryType = "arraybuffer";
    this.opening = window.setTimeout(() => this.gone(ws, true, 1006, "no answer"), OPEN_WITHIN_MS);
    ws.onopen = () => {
      window.clearTimeout(this.opening);
      this.ping = window.setInterval(() => void this.check(), PING_EVERY_MS);
      this.onconnect();
    };
    ws.onclose = (e) => this.gone(ws, !e.wasClean, e.code, e.reason);
    ws.onmessage = (e: MessageEvent<string | ArrayBuffer>) => {
      this.answered(true);
      const text = typeof e.data === "string" ? e.data : new TextDecoder().decode(e.data);
      if (text.trim() !== "") {
        this.ondata(text);
      }
    };
  }

  disconnect(): void {
    this.drop();
  }

  send(message: string | ArrayBufferLike | Blob | ArrayBufferView): boolean {
    if (this.retired || !this.isConnected()) {
      return false;
    }
    this.ws!.send(message as string);
    return true;
  }

  isConnected(): boolean {
    return this.ws?.readyState === WebSocket.OPEN;
  }

  isConnecting(): boolean {
    return this.ws?.readyState === WebSocket.CONNECTING;
  }

  /** Is anybody there? If not, the connection is given up and JsSIP makes another. */
  check(): Promise<boolean> {
    const ws = this.ws;
    if (!ws || !this.isConnected()) {
      return Promise.resolve(false);
    }
    if (!this.pong) {
      ws.send("\r\n\r\n");
      this.pong = window.setTimeout(() => this.gone(ws, true, 1006, "no answer"), PONG_WITHIN_MS);
    }
    return new Promise((done) => this.asked.push(done));
  }

  retire(): void {
    this.retired = true;
    this.drop();
  }

  private gone(ws: WebSocket, error: boolean, code: number, reason: string): void {
    if (this.ws === ws) {
      this.drop();
      this.ondisconnect(error, code, reason);
    }
  }

  private answered(there: boolean): void {
    window.clearTimeout(this.pong);
    this.pong = 0;
    this.asked.splice(0).forEach((done) => done(there));
  }

  private drop(): void {
    window.clearInterval(this.ping);
    window.clearTimeout(this.opening);
    this.answered(false);
    const ws = this.ws;
    this.ws = null;
    if (ws) {
      ws.onopen = ws.onclose = ws.onmessage = null;
      ws.close();
    }
  }
}
