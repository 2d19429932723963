// Notifications of the system, for when the page is hidden. Only what the person allowed, and nothing of a
// message's text beyond its beginning.
import type { Call } from "./lib/call.ts";
import { words } from "./words.ts";

const TEXT_SHOWN = 80;

export function notificationState(): NotificationPermission | "unsupported" {
  return typeof Notification === "function" ? Notification.permission : "unsupported";
}

export async function allowNotifications(): Promise<NotificationPermission> {
  return Notification.requestPermission();
}

const ringing = new Map<string, Notification>(); // by the call

function tell(title: string, body: string, tag: string, sticky: boolean, open: () => void): Notification | null {
  if (!document.hidden || notificationState() !== "granted") {
    return null;
  }
  try {
    const note = new Notification(title, { body, tag, requireInteraction: sticky });
    note.onclick = () => {
      window.focus();
      open();
      note.close();
    };
    return note;
  } catch {
    return null; // some phones allow notifications from workers only: then the page's own sound must do
  }
}

export function notifyCall(call: Call): void {
  const note = tell(words.incomingFrom(call.peer.name), call.wantsVideo ? words.incomingVideo : words.incomingAudio, call.id, true,
    () => undefined);
  if (note) {
    ringing.set(call.id, note);
  }
}

/** These calls ring; what was told of others has had its time. */
export function stillRinging(calls: readonly Call[]): void {
  for (const [id, note] of ringing) {
    if (!calls.some((c) => c.id === id && c.state === "incoming")) {
      note.close();
      ringing.delete(id);
    }
  }
}

export function notifyMessage(who: string, text: string, open: () => void): void {
  tell(words.messageFrom(who), text.length > TEXT_SHOWN ? `${text.slice(0, TEXT_SHOWN)}…` : text, `m ${who}`, false, open);
}
