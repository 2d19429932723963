import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { Model } from "../model.ts";
import { choose, chosen, listDevices, type Chosen } from "../phone/media.ts";
import { words } from "../words.ts";

/** Which microphone, camera and speaker: in the settings, and in the middle of a call. */
export function MediaChoice({ model }: { model: Model }): JSX.Element {
  const [list, setList] = useState<MediaDeviceInfo[]>([]);
  const [mine, setMine] = useState<Chosen>(chosen());
  useEffect(() => {
    const read = (): void => void listDevices().then(setList);
    read();
    navigator.mediaDevices?.addEventListener("devicechange", read);
    return () => navigator.mediaDevices?.removeEventListener("devicechange", read);
  }, []);
  const pick = (what: keyof Chosen, kind: MediaDeviceKind, label: string): JSX.Element => {
    const some = list.filter((d) => d.kind === kind && d.deviceId !== "" && d.deviceId !== "default");
    return (
      <label class="field">
        <span>{label}</span>
        <select
          value={mine[what]}
          onChange={(e) => {
            setMine(choose({ [what]: e.currentTarget.value }));
            model.perform({ do: "devices" });
          }}
        >
          <option value="">{words.byDefault}</option>
          {some.map((d, i) => <option key={d.deviceId} value={d.deviceId}>{d.label || `${label} ${i + 1}`}</option>)}
        </select>
      </label>
    );
  };
  return (
    <>
      {pick("mic", "audioinput", words.microphone)}
      {pick("camera", "videoinput", words.camera)}
      {"setSinkId" in HTMLMediaElement.prototype ? pick("speaker", "audiooutput", words.speaker) : null}
    </>
  );
}
