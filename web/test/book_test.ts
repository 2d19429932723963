import assert from "node:assert/strict";
import { test } from "node:test";
import { addCall, addContact, Book, emptyShelf, MOST, putMessage, readShelf, removeContact, seenAll, unseen, type TextMessage } from "../src/lib/book.ts";

const bob = { address: "bob@example.org", name: "Bob" };
const message = (id: string, some: Partial<TextMessage> = {}): TextMessage => ({
  id, peer: bob.address, outgoing: false, text: id, at: 1, state: "received", words: "", seen: false, ...some,
});
const call = (id: string) => ({ id, peer: bob, outgoing: true, video: false, at: 1, seconds: 3, words: "" });

class Place {
  kept = new Map<string, string>();
  full = false;
  getItem(key: string): string | null {
    return this.kept.get(key) ?? null;
  }
  setItem(key: string, value: string): void {
    if (this.full) {
      throw new Error("full");
    }
    this.kept.set(key, value);
  }
}

test("contacts are one per address, by name", () => {
  let shelf = addContact(emptyShelf(), bob);
  shelf = addContact(shelf, { address: "ann@example.org", name: "Ann" });
  shelf = addContact(shelf, { ...bob, name: "Bobby" });
  assert.deepEqual(shelf.contacts.map((c) => c.name), ["Ann", "Bobby"]);
  assert.deepEqual(removeContact(shelf, bob.address).contacts.map((c) => c.name), ["Ann"]);
});

test("lists have a maximum; the newest stay", () => {
  let shelf = emptyShelf();
  for (let i = 0; i < MOST.calls + 5; i++) {
    shelf = addCall(shelf, call(`c${i}`));
  }
  for (let i = 0; i < MOST.messages + 5; i++) {
    shelf = putMessage(shelf, message(`m${i}`));
  }
  assert.equal(shelf.calls.length, MOST.calls);
  assert.equal(shelf.calls[0]!.id, `c${MOST.calls + 4}`);
  assert.equal(shelf.messages.length, MOST.messages);
  assert.equal(shelf.messages.at(-1)!.id, `m${MOST.messages + 4}`);
});

test("a message changes its state in place", () => {
  let shelf = putMessage(emptyShelf(), message("1", { outgoing: true, state: "sending" }));
  shelf = putMessage(shelf, message("2"));
  shelf = putMessage(shelf, message("1", { outgoing: true, state: "delivered" }));
  assert.deepEqual(shelf.messages.map((m) => m.state), ["delivered", "received"]);
});

test("what was seen is no longer counted", () => {
  const shelf = putMessage(putMessage(emptyShelf(), message("1")), message("2"));
  assert.equal(unseen(shelf, bob.address), 2);
  assert.equal(unseen(seenAll(shelf, bob.address), bob.address), 0);
  assert.equal(seenAll(shelf, "other@example.org"), shelf);
});

test("damaged storage does not take the page down", () => {
  for (const text of ["", "{", "null", "7", '{"contacts":7,"calls":[null,{"id":1}],"messages":[{"text":3}]}', '{"contacts":[{"name":"x"}]}']) {
    assert.deepEqual(readShelf(text), emptyShelf());
  }
  assert.deepEqual(readShelf(null), emptyShelf());
});

test("a message that was being sent when the page closed counts as not delivered", () => {
  const shelf = putMessage(emptyShelf(), message("1", { outgoing: true, state: "sending" }));
  assert.equal(readShelf(JSON.stringify(shelf)).messages[0]!.state, "failed");
});

test("two tabs write to one shelf without losing what the other wrote", () => {
  const place = new Place();
  const one = new Book(place, "a@example.org");
  const two = new Book(place, "a@example.org");
  one.change((s) => putMessage(s, message("1", { outgoing: true, state: "sending" })));
  two.change((s) => addContact(s, bob));
  one.change((s) => addCall(s, call("c")));
  assert.equal(one.shelf.contacts.length, 1);
  assert.equal(one.shelf.messages[0]!.state, "sending", "the tab that sends knows better");
  two.reread();
  assert.equal(two.shelf.calls.length, 1);
  assert.equal(new Book(place, "b@example.org").shelf.calls.length, 0, "another account");
});

test("full storage is survived", () => {
  const place = new Place();
  place.full = true;
  const book = new Book(place, "a@example.org");
  book.change((s) => addContact(s, bob));
  assert.equal(book.shelf.contacts.length, 1);
});
