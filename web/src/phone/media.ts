// Microphone, camera, screen; which of them this browser shall use; the tones of a phone.

export interface Chosen {
  mic: string;
  camera: string;
  speaker: string;
}

const KEY = "kith:devices";

export function chosen(): Chosen {
  try {
    return { mic: "", camera: "", speaker: "", ...(JSON.parse(localStorage.getItem(KEY) ?? "{}") as object) };
  } catch {
    return { mic: "", camera: "", speaker: "" };
  }
}

export function choose(change: Partial<Chosen>): Chosen {
  const all = { ...chosen(), ...change };
  try {
    localStorage.setItem(KEY, JSON.stringify(all));
  } catch {
    // Then it holds for this page only.
  }
  return all;
}

/** The chosen device, or any other when it is not there now. Chromium takes no notice of one that is only `ideal`. */
async function open(kind: "audio" | "video", id: string, more: MediaTrackConstraints): Promise<MediaStream> {
  const ask = (which: MediaTrackConstraints): Promise<MediaStream> =>
    navigator.mediaDevices.getUserMedia({ [kind]: { ...more, ...which } });
  if (!id) {
    return ask({});
  }
  try {
    return await ask({ deviceId: { exact: id } });
  } catch (error) {
    if (/^(OverconstrainedError|NotFoundError)$/.test((error as Error).name)) {
      return ask({});
    }
    throw error;
  }
}

export function openMic(): Promise<MediaStream> {
  return open("audio", chosen().mic, { echoCancellation: true, noiseSuppression: true, autoGainControl: true });
}

export async function openCamera(): Promise<MediaStreamTrack> {
  const stream = await open("video", chosen().camera, { width: { ideal: 1280 }, height: { ideal: 720 } });
  return stream.getVideoTracks()[0]!;
}

export async function openScreen(): Promise<MediaStreamTrack> {
  const stream = await navigator.mediaDevices.getDisplayMedia({ video: true, audio: false });
  return stream.getVideoTracks()[0]!;
}

export async function listDevices(): Promise<MediaDeviceInfo[]> {
  return navigator.mediaDevices ? navigator.mediaDevices.enumerateDevices() : [];
}

/** Ringing (somebody calls) and ringback (it rings over there), made here: no file to fetch. */
export class Tones {
  private context: AudioContext | null = null;
  private timer = 0;
  private now = "";

  play(what: "" | "ring" | "ringback"): void {
    if (what === this.now) {
      return;
    }
    this.now = what;
    window.clearInterval(this.timer);
    if (what === "") {
      void this.context?.close().catch(() => undefined);
      this.context = null;
      return;
    }
    this.context ??= new AudioContext();
    const once = what === "ring"
      ? () => [0, 0.18, 0.36].forEach((at, i) => this.beep([523, 659, 784][i]!, at, 0.3, 0.12))
      : () => this.beep(425, 0, 1, 0.04);
    once();
    this.timer = window.setInterval(once, what === "ring" ? 2400 : 4000);
  }

  private beep(hertz: number, at: number, seconds: number, loud: number): void {
    const context = this.context;
    if (!context || context.state === "closed") {
      return;
    }
    const from = context.currentTime + at;
    const tone = context.createOscillator();
    const gain = context.createGain();
    tone.frequency.value = hertz;
    gain.gain.setValueAtTime(0, from);
    gain.gain.linearRampToValueAtTime(loud, from + 0.02);
    gain.gain.setTargetAtTime(0, from + seconds - 0.1, 0.05);
    tone.connect(gain).connect(context.destination);
    tone.start(from);
    tone.stop(from + seconds + 0.2);
  }
}
