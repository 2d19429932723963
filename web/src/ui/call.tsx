// The call: the stage with picture and name, the controls, what rings beside it.
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { clock, isLive, type Call } from "../lib/call.ts";
import type { Model } from "../model.ts";
import { words } from "../words.ts";
import { Avatar, Button, Icon } from "./base.tsx";
import { MediaChoice } from "./devices.tsx";

export function Incoming({ model }: { model: Model }): JSX.Element | null {
  const call = model.calls.find((c) => c.state === "incoming");
  if (!call) {
    return null;
  }
  const answer = (video: boolean): void => model.perform({ do: "answer", id: call.id, video });
  return (
    <div class="incoming" role="alertdialog" aria-labelledby="incoming-who" aria-describedby="incoming-what">
      <Avatar name={call.peer.name} address={call.peer.address} size="large" />
      <div class="incoming-text">
        <strong id="incoming-who">{words.incomingFrom(call.peer.name)}</strong>
        <small id="incoming-what">{call.wantsVideo ? words.incomingVideo : words.incomingAudio} · {call.peer.address}</small>
      </div>
      <div class="incoming-buttons">
        <span>
          <Button label={words.decline} icon="phone" kind="stop round down" onClick={() => model.perform({ do: "hangup", id: call.id })} />
          <small aria-hidden="true">{words.decline}</small>
        </span>
        {call.wantsVideo ? (
          <span>
            <Button label={words.answerVideo} icon="video" kind="go round" onClick={() => answer(true)} />
            <small aria-hidden="true">{words.withVideo}</small>
          </span>
        ) : null}
        <span>
          <Button label={words.answer} icon="phone" kind="go round" onClick={() => answer(false)} />
          <small aria-hidden="true">{words.answer}</small>
        </span>
      </div>
    </div>
  );
}

function stateWords(call: Call): string {
  switch (call.state) {
    case "incoming": return call.wantsVideo ? words.incomingVideo : words.incomingAudio;
    case "dialing": return words.dialing;
    case "ringing": return words.ringing;
    case "joining": return words.joining;
    case "reconnecting": return words.reconnecting;
    case "ended": return call.endWords;
    case "up": return call.held ? words.held : call.heldByPeer ? words.heldByPeer(call.peer.name) : "";
  }
}

/** Draws itself each second while the call is up. */
function Duration({ since }: { since: number }): JSX.Element {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = window.setInterval(() => setNow(Date.now()), 1000);
    return () => window.clearInterval(timer);
  }, []);
  return <time class="duration" role="timer">{clock((now - since) / 1000)}</time>;
}

function Picture({ stream, track, label, kind }: {
  stream?: MediaStream | undefined; track?: MediaStreamTrack | null; label: string; kind: string;
}): JSX.Element {
  const ref = useRef<HTMLVideoElement>(null);
  useEffect(() => {
    const video = ref.current!;
    const wanted = stream ?? (track ? new MediaStream([track]) : null);
    if (video.srcObject !== wanted) {
      video.srcObject = wanted;
    }
    void video.play().catch(() => undefined);
  }, [stream, track]);
  return <video ref={ref} class={kind} aria-label={label} autoplay playsInline muted />;
}

/** The ring around somebody's picture grows with their voice; only the tab that has the sound can tell. */
function Speaking({ model, call }: { model: Model; call: Call }): JSX.Element {
  const ref = useRef<HTMLSpanElement>(null);
  useEffect(() => {
    const timer = window.setInterval(() => {
      const level = model.phone?.leg(call.id)?.level() ?? 0;
      ref.current?.style.setProperty("--level", String(Math.min(1, level * 3)));
    }, 120);
    return () => window.clearInterval(timer);
  }, [model, call.id]);
  return (
    <span class="speaking" ref={ref}>
      <Avatar name={call.peer.name} address={call.peer.address} size="huge" />
    </span>
  );
}

function Lock({ call }: { call: Call }): JSX.Element {
  const [open, setOpen] = useState(false);
  if (!call.secured) {
    return <p class="lock waiting"><Icon name="lock" /> {call.state === "ended" ? "" : words.secureYet}</p>;
  }
  return (
    <div class="lock">
      <button type="button" class="lock-button" aria-expanded={open} onClick={() => setOpen(!open)}>
        <Icon name="lock" /> {words.encryptedBetween(call.peer.name)}
      </button>
      {open ? (
        <div class="lock-details" role="group" aria-label={words.encryptionDetails}>
          <p>{words.encryptionIs(call.secured.cipher)}</p>
          <p>{call.peer.address}</p>
          <p><span>{words.safetyCode}</span><strong class="code">{call.secured.code}</strong></p>
          <p class="faint">{words.safetyHint}</p>
        </div>
      ) : null}
    </div>
  );
}

export function Stage({ model, call }: { model: Model; call: Call }): JSX.Element {
  const { remote, own } = model.pictures(call);
  const over = call.state === "ended";
  const showVideo = !over && call.peerVideo && remote !== null;
  return (
    <section class={`stage ${showVideo ? "with-video" : ""}`} aria-label={words.callWith(call.peer.name)}>
      {showVideo ? <Picture stream={remote} label={words.pictureOf(call.peer.name)} kind="peer-video" /> : null}
      <div class="stage-top">
        {call.state === "dialing" || call.state === "ringing" || over ? <span aria-hidden="true" /> : <Lock call={call} />}
        {over ? <Button label={words.close} icon="close" kind="ghost" onClick={() => model.perform({ do: "dismiss", id: call.id })} /> : null}
      </div>
      <div class="stage-who">
        {showVideo ? null : <Speaking model={model} call={call} />}
        <h1>{call.peer.name}</h1>
        <p class="stage-address">{call.peer.address}</p>
        <p class="stage-state" role="status">
          {stateWords(call)}
          {call.state === "up" && !call.held && !call.heldByPeer ? <Duration since={call.upSince} /> : null}
        </p>
        <p class="stage-note" role="status">{call.note || (call.muted && !over ? words.muted : call.sharing ? words.sharing : "")}</p>
        {!model.leading && !over ? <p class="stage-note">{words.inOtherTab}</p> : null}
      </div>
      {own && !over ? <Picture track={own} label={words.yourPicture} kind={`own-video ${call.sharing ? "is-screen" : ""}`} /> : null}
      <Waiting model={model} call={call} />
      {over ? <Again model={model} call={call} /> : <Controls model={model} call={call} />}
    </section>
  );
}

function Again({ model, call }: { model: Model; call: Call }): JSX.Element {
  return (
    <div class="again">
      <Button
        label={words.callWho(call.peer.name)} icon={call.wantsVideo ? "video" : "phone"} kind="go" text
        onClick={() => model.perform({ do: "dial", uri: `sip:${call.peer.address}`, address: call.peer.address, video: call.wantsVideo })}
      />
    </div>
  );
}

/** Other calls that are up: held ones to go back to, or to join with this one. */
function Waiting({ model, call }: { model: Model; call: Call }): JSX.Element | null {
  const others = model.calls.filter((c) => c.id !== call.id && isLive(c) && c.state !== "incoming");
  if (others.length === 0) {
    return null;
  }
  return (
    <ul class="waiting-calls">
      {others.map((o) => (
        <li key={o.id}>
          <Avatar name={o.peer.name} address={o.peer.address} size="small" />
          <span>{words.waitingCall(o.peer.name)}</span>
          <Button label={words.resume} text kind="ghost" onClick={() => model.perform({ do: "hold", id: o.id })} />
          <Button label={words.transfer} text kind="ghost" onClick={() => model.perform({ do: "join", id: o.id, other: call.id })} />
        </li>
      ))}
    </ul>
  );
}

const KEYS = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "0", "#"];

function Keypad({ model, call }: { model: Model; call: Call }): JSX.Element {
  const [typed, setTyped] = useState("");
  const press = (k: string): void => {
    setTyped((t) => (t + k).slice(-24));
    model.perform({ do: "tone", id: call.id, tone: k });
  };
  return (
    <div
      class="panel keypad" role="group" aria-label={words.keypad}
      onKeyDown={(e) => { if (KEYS.includes(e.key)) { press(e.key); } }}
    >
      <output>{typed || "\u00a0"}</output>
      <div class="keys">
        {KEYS.map((k) => (
          <button key={k} type="button" class="key" aria-label={words.key(k)} onClick={() => press(k)}>{k}</button>
        ))}
      </div>
    </div>
  );
}

function Transfer({ model, call, done }: { model: Model; call: Call; done: () => void }): JSX.Element {
  const [to, setTo] = useState("");
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => field.current?.focus(), []);
  const people = model.known().filter((k) => k.reachable && k.address !== call.peer.address).slice(0, 5);
  const go = (typed: string): void => {
    if (model.transfer(call.id, typed)) {
      done();
    }
  };
  return (
    <form class="panel transfer" onSubmit={(e) => { e.preventDefault(); go(to); }}>
      <label for="transfer-to">{words.transferTo}</label>
      <div class="transfer-field">
        <input
          id="transfer-to" ref={field} value={to} placeholder={words.search} autocomplete="off" autocapitalize="none"
          spellcheck={false} onInput={(e) => setTo(e.currentTarget.value)}
        />
        <Button label={words.transfer} text kind="go" disabled={to.trim() === ""} onClick={() => go(to)} />
      </div>
      <p class="problem" role="alert">{model.error}</p>
      <div class="transfer-people">
        {people.map((k) => <Button key={k.address} label={k.name} text kind="ghost" onClick={() => go(k.address)} />)}
      </div>
    </form>
  );
}

function Controls({ model, call }: { model: Model; call: Call }): JSX.Element {
  const [panel, setPanel] = useState<"" | "keypad" | "transfer" | "devices">("");
  const up = call.state === "up" || call.state === "reconnecting";
  const act = (what: "mute" | "camera" | "share" | "hold" | "hangup") => () => model.perform({ do: what, id: call.id });
  const toggle = (which: "keypad" | "transfer" | "devices"): void => setPanel(panel === which ? "" : which);
  return (
    <div class="controls-area" onKeyDown={(e) => { if (e.key === "Escape") { setPanel(""); } }}>
      {panel === "keypad" && up ? <Keypad model={model} call={call} /> : null}
      {panel === "devices" && up ? (
        <div class="panel" role="group" aria-label={words.devices}><MediaChoice model={model} /></div>
      ) : null}
      {panel === "transfer" && up ? <Transfer model={model} call={call} done={() => setPanel("")} /> : null}
      <div class="controls" role="toolbar" aria-label={words.callWith(call.peer.name)}>
        {up ? (
          <>
            <Button
              label={call.muted ? words.unmute : words.mute} icon={call.muted ? "micOff" : "mic"} kind="control"
              pressed={call.muted} onClick={act("mute")}
            />
            <Button
              label={call.camera ? words.cameraOff : words.cameraOn} icon={call.camera ? "video" : "videoOff"} kind="control"
              pressed={!call.camera} onClick={act("camera")}
            />
            {"mediaDevices" in navigator && "getDisplayMedia" in navigator.mediaDevices ? (
              <Button
                label={call.sharing ? words.stopShare : words.share} icon="screen" kind="control" pressed={call.sharing}
                onClick={act("share")}
              />
            ) : null}
            <Button
              label={call.held ? words.resume : words.hold} icon={call.held ? "play" : "pause"} kind="control" pressed={call.held}
              onClick={act("hold")}
            />
            <Button label={words.keypad} icon="keypad" kind="control" expanded={panel === "keypad"} onClick={() => toggle("keypad")} />
            <Button label={words.transfer} icon="transfer" kind="control" expanded={panel === "transfer"} onClick={() => toggle("transfer")} />
            <Button label={words.devices} icon="gear" kind="control" expanded={panel === "devices"} onClick={() => toggle("devices")} />
          </>
        ) : null}
        <Button label={words.hangUp} icon="phone" kind="stop control down" onClick={act("hangup")} />
      </div>
    </div>
  );
}
