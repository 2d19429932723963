// The panel of click-to-call: one call of a guest, from the ask for a guest's identity to its end.
import { render, type JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { parseAddress, userOf } from "../lib/address.ts";
import { clock, type Call } from "../lib/call.ts";
import { Phone } from "../phone/phone.ts";
import { Button, Icon } from "../ui/base.tsx";
import { words } from "../words.ts";
import { PANEL_STYLE } from "./look.ts";

export interface Wish {
  to: string;
  who: string;
  visitor: string;
  video: boolean;
}

interface Guest {
  aor: string;
  name: string;
  to: string;
  ws: string;
  iceServers: RTCIceServer[];
}

const PATIENCE_MS = 15_000;

async function becomeGuest(home: string, wish: Wish): Promise<Guest> {
  let answer: Response;
  try {
    answer = await fetch(`${home}/api/guest`, {
      method: "POST", credentials: "omit", headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ to: wish.to, name: wish.visitor }), signal: AbortSignal.timeout(PATIENCE_MS),
    });
  } catch {
    throw new Error(words.ctcServer);
  }
  if (!answer.ok) {
    throw new Error(answer.status === 429 ? words.ctcBusy : answer.status < 500 ? words.ctcRefused : words.ctcServer);
  }
  return (await answer.json()) as Guest;
}

/** Shows the panel and calls; the answer closes it. */
export function openPanel(root: ShadowRoot, home: string, wish: Wish, closed: () => void): () => void {
  const place = document.createElement("div");
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(PANEL_STYLE);
  root.adoptedStyleSheets = [root.adoptedStyleSheets[0]!, sheet];
  root.append(place);
  let phone: Phone | null = null;
  let problem = "";
  let going = true;
  let last: Call | null = null; // the phone forgets an ended call after a while; the visitor must not

  const draw = (): void => {
    last = phone?.view.calls[0] ?? last;
    render(<Panel phone={phone} call={last} who={wish.who} problem={problem} again={begin} close={close} />, place);
  };
  const close = (): void => {
    if (!going) {
      return;
    }
    going = false;
    phone?.stop();
    render(null, place);
    place.remove();
    closed();
  };
  const begin = (): void => {
    problem = "";
    phone?.stop();
    phone = null;
    last = null;
    draw();
    becomeGuest(home, wish).then((guest) => {
      if (!going) {
        return;
      }
      phone = new Phone(
        {
          aor: guest.aor, name: guest.name, url: home.replace(/^http/, "ws") + guest.ws, register: false,
          instance: crypto.randomUUID(), iceServers: () => Promise.resolve(guest.iceServers),
        },
        { changed: draw, past: draw, message: () => undefined, incoming: () => undefined, nameOf: () => wish.who },
      );
      phone.start();
      const to = parseAddress(guest.to, "");
      if (to.ok) {
        phone.soon({ do: "dial", ...to.value, video: wish.video });
      }
    }).catch((error: unknown) => {
      problem = error instanceof Error ? error.message : words.ctcServer;
      draw();
    });
  };
  begin();
  return close;
}

function stateWords(call: Call | null, problem: string): string {
  if (problem) {
    return problem;
  }
  switch (call?.state) {
    case undefined: return words.connecting;
    case "dialing": return words.dialing;
    case "ringing": return words.ringing;
    case "joining":
    case "incoming": return words.joining;
    case "reconnecting": return words.reconnecting;
    case "ended": return call!.endWords;
    case "up": return call!.held || call!.heldByPeer ? words.held : "";
  }
}

const KEYS = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "0", "#"];

function Panel({ phone, call, who, problem, again, close }: {
  phone: Phone | null; call: Call | null; who: string; problem: string; again: () => void; close: () => void;
}): JSX.Element {
  const [now, setNow] = useState(Date.now());
  const [keys, setKeys] = useState(false);
  const panel = useRef<HTMLDivElement>(null);
  useEffect(() => {
    panel.current?.focus();
    const timer = window.setInterval(() => setNow(Date.now()), 1000);
    return () => window.clearInterval(timer);
  }, []);
  const up = call?.state === "up" || call?.state === "reconnecting";
  const over = problem !== "" || call?.state === "ended";
  return (
    <div class="panel" role="dialog" aria-label={words.ctcTitle(who)} tabIndex={-1} ref={panel}>
      {up && call.peerVideo ? <Picture stream={phone?.leg(call.id)?.remote ?? null} who={who} /> : null}
      <h2>{who}</h2>
      <p role="status">{stateWords(call, problem)}{call?.state === "up" && !call.held ? clock((now - call.upSince) / 1000) : ""}</p>
      {!call && !problem ? <p>{words.ctcNeedsMic}</p> : null}
      {up && call.secured ? <span class="lock"><Icon name="lock" />{words.encryptedBetween(userOf(call.peer.address))}</span> : null}
      {up && keys ? (
        <div class="keys">
          {KEYS.map((k) => (
            <button
              key={k} type="button" class="button" aria-label={words.key(k)}
              onClick={() => phone?.perform({ do: "tone", id: call.id, tone: k })}
            >{k}</button>
          ))}
        </div>
      ) : null}
      <div class="row">
        {up ? (
          <>
            <Button
              label={call.muted ? words.unmute : words.mute} icon={call.muted ? "micOff" : "mic"} pressed={call.muted}
              onClick={() => phone?.perform({ do: "mute", id: call.id })}
            />
            <Button label={words.keypad} icon="keypad" expanded={keys} onClick={() => setKeys(!keys)} />
          </>
        ) : null}
        {over ? (
          <>
            <Button label={words.ctcAgain} icon="phone" kind="go" text onClick={again} />
            <Button label={words.close} icon="close" onClick={close} />
          </>
        ) : (
          <Button
            label={words.hangUp} icon="phone" kind="stop down"
            onClick={() => (call ? phone?.perform({ do: "hangup", id: call.id }) : close())}
          />
        )}
      </div>
    </div>
  );
}

function Picture({ stream, who }: { stream: MediaStream | null; who: string }): JSX.Element {
  const ref = useRef<HTMLVideoElement>(null);
  useEffect(() => {
    ref.current!.srcObject = stream;
  }, [stream]);
  return <video ref={ref} autoplay playsInline muted aria-label={words.pictureOf(who)} />;
}
