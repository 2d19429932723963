// One person: call buttons and the messages with them.
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { TextMessage } from "../lib/book.ts";
import type { Model } from "../model.ts";
import { words } from "../words.ts";
import { Avatar, Button, dayOf, timeOf } from "./base.tsx";
import { reachWords } from "./people.tsx";

export function Talk({ model }: { model: Model }): JSX.Element {
  const who = model.who(model.selected);
  const dial = (video: boolean): void =>
    model.perform({ do: "dial", uri: `sip:${who.address}`, address: who.address, video });
  return (
    <section class="talk" aria-label={who.name}>
      <header class="talk-head">
        <Button label={words.back} icon="back" kind="quiet back" onClick={() => model.select("")} />
        <Avatar name={who.name} address={who.address} reachable={who.reachable} />
        <div class="talk-who">
          <h1>{who.name}</h1>
          <small>{who.address} · {reachWords(who)}</small>
        </div>
        <Button
          label={who.own ? words.removeContact : words.addContact} icon="star" kind="quiet star" pressed={who.own} fill={who.own}
          onClick={() => (who.own ? model.forgetContact(who.address) : model.keepContact({ address: who.address, name: who.name }))}
        />
        <Button label={words.videoCallWho(who.name)} icon="video" kind="soft" onClick={() => dial(true)} />
        <Button label={words.callWho(who.name)} icon="phone" kind="go" onClick={() => dial(false)} />
      </header>
      <Messages model={model} peer={who.address} name={who.name} />
      <Composer model={model} peer={who.address} name={who.name} />
    </section>
  );
}

function stateWords(m: TextMessage): string {
  switch (m.state) {
    case "sending": return words.sending;
    case "delivered": return words.delivered;
    case "accepted": return words.accepted;
    case "failed": return words.notDelivered(m.words || words.endNetwork);
    case "received": return "";
  }
}

function Messages({ model, peer, name }: { model: Model; peer: string; name: string }): JSX.Element {
  const list = model.shelf.messages.filter((m) => m.peer === peer);
  const end = useRef<HTMLDivElement>(null);
  useEffect(() => {
    end.current?.scrollIntoView({ block: "end" });
  }, [list.length, peer]);
  let day = "";
  return (
    <div class="messages" role="log" aria-label={words.message} tabIndex={0}>
      {list.length === 0 ? <p class="messages-none">{words.noMessages}</p> : null}
      {list.map((m) => {
        const its = dayOf(m.at, words.today, words.yesterday);
        const head = its === day ? null : <p class="day">{its}</p>;
        day = its;
        return (
          <div key={m.id} class="message-row">
            {head}
            <div class={`message ${m.outgoing ? "ours" : "theirs"} ${m.state}`}>
              <span class="unseen">{m.outgoing ? words.you : name}: </span>
              <p>{m.text}</p>
              <small>{timeOf(m.at)}{m.outgoing ? ` · ${stateWords(m)}` : ""}</small>
            </div>
          </div>
        );
      })}
      <div ref={end} />
    </div>
  );
}

function Composer({ model, peer, name }: { model: Model; peer: string; name: string }): JSX.Element {
  const [text, setText] = useState("");
  const send = (): void => {
    model.write(peer, text);
    setText("");
  };
  return (
    <form class="composer" onSubmit={(e) => { e.preventDefault(); send(); }}>
      <textarea
        rows={1} value={text} placeholder={words.writeMessage(name)} aria-label={words.writeMessage(name)}
        onInput={(e) => setText(e.currentTarget.value)}
        onKeyDown={(e) => {
          if (e.key === "Enter" && !e.shiftKey && !e.isComposing) {
            e.preventDefault();
            send();
          }
        }}
      />
      <Button label={words.send} icon="send" kind="go" disabled={text.trim() === ""} onClick={send} />
    </form>
  );
}
