import assert from "node:assert/strict";
import { test } from "node:test";
import { LiveSocket } from "../src/phone/socket.ts";

/** A network in which every packet vanishes: nothing opens, nothing is answered, unless the test says so. */
class DeadSocket {
  static readonly CONNECTING = 0;
  static readonly OPEN = 1;
  static made: DeadSocket[] = [];
  readyState = 0;
  sent: string[] = [];
  onopen: (() => void) | null = null;

  constructor(readonly url: string) {
    DeadSocket.made.push(this);
  }

  open(): void {
    this.readyState = 1;
    this.onopen!();
  }

  send(text: string): void {
    this.sent.push(text);
  }

  close(): void {
    this.readyState = 3;
  }
}

function begin(): { socket: LiveSocket; gone: () => number; last: () => DeadSocket } {
  Object.assign(globalThis, { window: globalThis, WebSocket: DeadSocket });
  DeadSocket.made = [];
  let gone = 0;
  const socket = new LiveSocket("wss://example.org/ws");
  socket.onconnect = () => undefined;
  socket.ondisconnect = () => { gone++; };
  socket.connect();
  return { socket, gone: () => gone, last: () => DeadSocket.made.at(-1)! };
}

test("a connection that does not open is given up, and another can be made", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  const { socket, gone, last } = begin();
  t.mock.timers.tick(7_999);
  assert.equal(gone(), 0);
  t.mock.timers.tick(1);
  assert.equal(gone(), 1);
  assert.equal(last().readyState, 3);
  socket.connect();
  assert.equal(DeadSocket.made.length, 2);
  last().open();
  t.mock.timers.tick(20_000);
  assert.equal(gone(), 1); // the clock of opening has ended
  socket.retire();
});

test("a connection that does not answer is given up (RFC 5626 4.4.1)", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  const { socket, gone, last } = begin();
  last().open();
  t.mock.timers.tick(25_000);
  assert.deepEqual(last().sent, ["\r\n\r\n"]);
  t.mock.timers.tick(7_999);
  assert.equal(gone(), 0);
  t.mock.timers.tick(1);
  assert.equal(gone(), 1);
  assert.equal(socket.isConnected(), false);
});
