import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { api, type Device } from "../api.ts";
import type { Model } from "../model.ts";
import { allowNotifications, notificationState } from "../notify.ts";
import { words } from "../words.ts";
import { Button, Icon } from "./base.tsx";
import { MediaChoice } from "./devices.tsx";

export function Settings({ model }: { model: Model }): JSX.Element {
  return (
    <section class="settings" aria-label={words.settings}>
      <h1>{words.settings}</h1>
      <div class="card">
        <h2>{words.devices}</h2>
        <MediaChoice model={model} />
      </div>
      <Notify />
      <Devices />
      <div class="card">
        <h2>{words.account}</h2>
        <p>{model.aor}</p>
        <Button label={words.signOut} text kind="soft" onClick={() => void model.signOut()} />
      </div>
    </section>
  );
}

function Notify(): JSX.Element | null {
  const [state, setState] = useState(notificationState());
  if (state === "unsupported") {
    return null;
  }
  return (
    <div class="card">
      <h2>{words.notifications}</h2>
      {state === "granted" ? <p>{words.notificationsOn}</p> : null}
      {state === "denied" ? <p>{words.notificationsBlocked}</p> : null}
      {state === "default" ? <Button label={words.allow} text kind="soft" onClick={() => void allowNotifications().then(setState)} /> : null}
    </div>
  );
}

function Devices(): JSX.Element {
  const [list, setList] = useState<Device[] | null>([]);
  const [sure, setSure] = useState(0);
  const read = (): void => void api.devices().then((d) => setList(d.devices), () => setList(null));
  useEffect(read, []);
  const remove = (id: number): void => {
    if (sure !== id) {
      setSure(id);
      return;
    }
    setSure(0);
    void api.removeDevice(id).then(read, read);
  };
  return (
    <div class="card">
      <h2>{words.yourDevices}</h2>
      <p class="faint">{words.devicesHint}</p>
      {list === null ? <p class="problem" role="alert">{words.noDevices}</p> : null}
      <ul class="devices">
        {(list ?? []).map((d) => (
          <li key={d.id}>
            <Icon name={d.kind === "passkey" ? "key" : d.kind === "session" ? "screen" : "phone"} />
            <span class="row-text">
              <strong>{d.name}{d.current ? ` (${words.thisDevice})` : ""}</strong>
              <small>{words.deviceKind[d.kind] ?? d.kind} · {words.deviceSince(new Date(d.created).toLocaleDateString())}</small>
            </span>
            <button
              type="button" class="button plain with-text" onClick={() => remove(d.id)}
              aria-label={sure === d.id ? words.removeSure : words.removeDevice(d.name)}
            >
              {sure === d.id ? words.removeSure : words.remove}
            </button>
          </li>
        ))}
      </ul>
    </div>
  );
}
