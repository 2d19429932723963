// The left side: who one is, a field to find or dial, and the lists.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { unseen } from "../lib/book.ts";
import { clock } from "../lib/call.ts";
import type { Known, Model, Part } from "../model.ts";
import { words } from "../words.ts";
import { Avatar, Button, dayOf, Empty, Icon, timeOf, type IconName } from "./base.tsx";
import { Settings } from "./settings.tsx";

export function Side({ model, inCall }: { model: Model; inCall: boolean }): JSX.Element {
  return (
    <div class="side">
      <h1 class="unseen">{words.app}</h1>
      <Me model={model} />
      <nav class="parts" aria-label={words.mainParts}>
        <PartButton model={model} part="people" icon="people" label={words.people} />
        <PartButton model={model} part="recent" icon="recent" label={words.recent} />
        <PartButton model={model} part="settings" icon="gear" label={words.settings} />
      </nav>
      {model.part === "people" ? <People model={model} />
        : model.part === "recent" ? <Recent model={model} />
        : inCall ? <Settings model={model} /> : null}
    </div>
  );
}

function PartButton({ model, part, icon, label }: { model: Model; part: Part; icon: IconName; label: string }): JSX.Element {
  const here = model.part === part;
  return (
    <button type="button" class="part" aria-current={here ? "page" : undefined} onClick={() => model.show(part)}>
      <Icon name={icon} />
      <span>{label}</span>
    </button>
  );
}

function Me({ model }: { model: Model }): JSX.Element {
  const name = model.session?.name || model.aor;
  return (
    <header class="me">
      <Avatar name={name} address={model.aor} />
      <div class="me-text">
        <strong>{name}</strong>
        <span class={`line line-${model.view.line}`} role="status">{model.lineWords()}</span>
      </div>
    </header>
  );
}

function People({ model }: { model: Model }): JSX.Element {
  const [typed, setTyped] = useState("");
  const text = typed.trim().toLowerCase();
  const all = model.known();
  const found = text
    ? all.filter((k) => k.name.toLowerCase().includes(text) || k.address.toLowerCase().includes(text) || k.numbers.some((n) => n.includes(text)))
    : all;
  const dial = (video: boolean): void => {
    if (model.dial(found.length === 1 && found[0] ? found[0].address : typed, video)) {
      setTyped("");
    }
  };
  return (
    <section class="list-part" aria-label={words.people}>
      <form class="dial" role="search" onSubmit={(e) => { e.preventDefault(); dial(false); }}>
        <Icon name="search" />
        <input
          type="text" inputMode="text" autocomplete="off" autocapitalize="none" spellcheck={false} enterkeyhint="go"
          aria-label={words.search} placeholder={words.search} value={typed}
          onInput={(e) => setTyped(e.currentTarget.value)} aria-describedby="dial-problem"
        />
        {text ? <Button label={words.videoCall} icon="video" kind="quiet" onClick={() => dial(true)} /> : null}
        {text ? <Button label={words.call} icon="phone" kind="go" onClick={() => dial(false)} /> : null}
      </form>
      <p id="dial-problem" class="problem" role="alert">{model.error}</p>
      {found.length > 0 ? (
        <ul class="list">
          {found.map((k) => <Person key={k.address} model={model} who={k} />)}
        </ul>
      ) : text ? (
        <p class="list-hint">{words.nobodyFound(typed.trim())}</p>
      ) : (
        <Empty icon="people" title={words.nobodyYet}>{words.nobodyYetHint}</Empty>
      )}
    </section>
  );
}

export function reachWords(who: Known): string {
  return who.talking ? words.talking : who.reachable === null ? words.notKnownWhether : who.reachable ? words.reachable : words.unreachable;
}

function Person({ model, who }: { model: Model; who: Known }): JSX.Element {
  const fresh = unseen(model.shelf, who.address);
  return (
    <li class={`row ${model.selected === who.address ? "chosen" : ""}`}>
      <button
        type="button" class="row-main" onClick={() => model.select(who.address)}
        aria-current={model.selected === who.address ? "true" : undefined}
      >
        <Avatar name={who.name} address={who.address} reachable={who.reachable} />
        <span class="row-text">
          <strong>{who.name}</strong>
          <small>{who.address.endsWith(`@${model.domain}`) ? reachWords(who) : who.address}</small>
        </span>
        {fresh > 0 ? <span class="badge">{fresh}</span> : null}
      </button>
      <Button
        label={words.callWho(who.name)} icon="phone" kind="quiet"
        onClick={() => model.perform({ do: "dial", uri: `sip:${who.address}`, address: who.address, video: false })}
      />
    </li>
  );
}

function Recent({ model }: { model: Model }): JSX.Element {
  const calls = model.shelf.calls;
  if (calls.length === 0) {
    return <Empty icon="recent" title={words.noCallsYet}>{words.noCallsYetHint}</Empty>;
  }
  let day = "";
  return (
    <section class="list-part" aria-label={words.recent}>
      <ul class="list">
        {calls.flatMap((c) => {
          const missed = !c.outgoing && c.seconds === 0;
          const its = dayOf(c.at, words.today, words.yesterday);
          const head = its === day ? [] : [<li key={`d${its}`} class="day">{its}</li>];
          day = its;
          const name = model.nameOf(c.peer.address) || c.peer.name;
          const what = c.seconds > 0 ? clock(c.seconds) : c.words;
          return [...head, (
            <li key={c.id} class="row">
              <button type="button" class="row-main" onClick={() => model.select(c.peer.address)}>
                <span class={`call-kind ${missed ? "missed" : ""}`}>
                  <Icon name={missed ? "missed" : c.outgoing ? "out" : "in"} />
                  <span class="unseen">{missed ? words.callWasMissed : c.outgoing ? words.callWasOutgoing : words.callWasIncoming}</span>
                </span>
                <span class="row-text">
                  <strong>{name}</strong>
                  <small>{timeOf(c.at)} · {what}</small>
                </span>
              </button>
              <Button
                label={words.callWho(name)} icon={c.video ? "video" : "phone"} kind="quiet"
                onClick={() => model.perform({ do: "dial", uri: `sip:${c.peer.address}`, address: c.peer.address, video: c.video })}
              />
            </li>
          )];
        })}
      </ul>
      <Button label={words.forgetCalls} kind="plain" text icon="trash" onClick={() => model.forgetCalls()} />
    </section>
  );
}
