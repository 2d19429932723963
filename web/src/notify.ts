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

function tell(title: string, body: string, tag: string, sticky: boolean, open: () => void): void {
  if (!document.hidden || notificationState() !== "granted") {
    return;
  }
  try {
    const note = new Notification(title, { body, tag, requireInteraction: sticky });
    note.onclick = () => {
      window.focus();
      open();
      note.close();
    };
  } catch {
    // Some phones allow notifications from workers only: then the page's own sound must do.
  }
}

export function notifyCall(call: Call): void {
  tell(words.incomingFrom(call.peer.name), call.wantsVideo ? words.incomingVideo : words.incomingAudio, call.id, true,
    () => undefined);
}

export function notifyMessage(who: string, text: string, open: () => void): void {
  tell(words.messageFrom(who), text.length > TEXT_SHOWN ? `${text.slice(0, TEXT_SHOWN)}…` : text, `m ${who}`, false, open);
}
