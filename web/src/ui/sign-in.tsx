import type { JSX } from "preact";
import type { Model } from "../model.ts";
import { passkeysWork } from "../passkey.ts";
import { words } from "../words.ts";
import { Button, Mark } from "./base.tsx";

export function SignIn({ model }: { model: Model }): JSX.Element {
  const invited = model.place === "invited";
  const able = passkeysWork();
  return (
    <main class="door">
      <div class="door-card">
        <Mark />
        <h1>{invited ? words.invited(model.invited.name || model.invited.aor) : words.app}</h1>
        <p class="door-lead">{invited ? words.inviteHint : words.appIs}</p>
        {invited ? <p class="door-aor">{model.invited.aor}</p> : null}
        {able ? (
          <Button
            kind="primary wide" icon="key" text disabled={model.busy}
            label={model.busy ? words.working : invited ? words.makePasskey : words.signIn}
            onClick={() => void (invited ? model.acceptInvitation() : model.signIn())}
          />
        ) : (
          <p class="problem" role="alert">{words.passkeyUnsupported}</p>
        )}
        <p class="problem" role="alert">{model.error}</p>
        {invited ? null : <p class="door-hint">{words.noPasskey}</p>}
      </div>
    </main>
  );
}
