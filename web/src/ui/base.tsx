// Small parts that all others are made of.
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useReducer } from "preact/hooks";
import { hueOf, initials } from "../lib/address.ts";
import type { Model } from "../model.ts";

export function useModel(model: Model): void {
  const [, redraw] = useReducer<number, void>((n) => n + 1, 0);
  useEffect(() => model.watch(() => redraw()), [model]);
}

/** Drawn on a grid of 24, lines of 1.75: the page's own pictures. */
const PATHS = {
  phone: "M6.6 3.5h2.2l1.6 4-2 1.6a12 12 0 0 0 6.5 6.500l1.6-2 4 1.600v2.200a2 2 0 0 1-2.2 2A16.5 16.5 0 0 1 4.6 5.700a2 2 0 0 1 2-2.200z",
  video: "M3.5 7.500a1.5 1.5 0 0 1 1.5-1.500h8a1.5 1.5 0 0 1 1.5 1.500v9a1.5 1.5 0 0 1-1.5 1.500H5a1.5 1.5 0 0 1-1.5-1.500zM14.5 10.500l6-3v9l-6-3",
  videoOff: "M14.5 10.500l6-3v9l-3-1.500M14.5 12V7.500A1.5 1.5 0 0 0 13 6h-3M6 6H5a1.5 1.5 0 0 0-1.5 1.500v9A1.5 1.5 0 0 0 5 18h8c.600 0 1.1-.300 1.4-.800M3.5 3.500l17 17",
  mic: "M12 3.500a2.5 2.5 0 0 1 2.5 2.500v5.500a2.5 2.5 0 0 1-5 0V6A2.5 2.5 0 0 1 12 3.500zM6 11.500a6 6 0 0 0 12 0M12 17.500v3",
  micOff: "M14.5 10V6a2.5 2.5 0 0 0-4.8-1M9.5 9.500v2a2.5 2.5 0 0 0 3.8 2.100M6 11.500a6 6 0 0 0 9.3 5M18 11.500c0 .800-.200 1.6-.500 2.300M12 17.500v3M3.5 3.500l17 17",
  screen: "M4.5 5h15a1 1 0 0 1 1 1v9.500a1 1 0 0 1-1 1h-15a1 1 0 0 1-1-1V6a1 1 0 0 1 1-1zM9 20h6M12 13.500v-5M9.5 10.700L12 8.200l2.5 2.5",
  pause: "M9 6v12M15 6v12",
  play: "M8 5.500l10.5 6.500L8 18.500z",
  keypad: "M6 5.500h.01M12 5.500h.01M18 5.500h.01M6 11.500h.01M12 11.500h.01M18 11.500h.01M6 17.500h.01M12 17.500h.01M18 17.500h.01",
  transfer: "M4 8.500h14M14.5 5l3.5 3.5-3.5 3.500M20 15.500H6M9.5 12L6 15.5 9.5 19",
  gear: "M4 7.500h9M17 7.500h3M4 16.500h3M11 16.500h9M15 5.300a2.2 2.2 0 1 0 0 4.4 2.2 2.2 0 0 0 0-4.400zM9 14.300a2.2 2.2 0 1 0 0 4.4 2.2 2.2 0 0 0 0-4.400z",
  people: "M9 4.500a3.2 3.2 0 1 1 0 6.4 3.2 3.2 0 0 1 0-6.400zM3 19c.500-3.3 2.9-5.2 6-5.200s5.5 1.9 6 5.200M15.5 5a3 3 0 0 1 0 5.700M17.5 14.300c2 .700 3.2 2.3 3.5 4.7",
  recent: "M12 4a8 8 0 1 1-7.5 5.200M4 4.500v5h5M12 8v4.500l3 1.8",
  lock: "M7 10.500h10a1.5 1.5 0 0 1 1.5 1.500v6a1.5 1.5 0 0 1-1.5 1.500H7A1.5 1.5 0 0 1 5.5 18v-6A1.5 1.5 0 0 1 7 10.500zM8.5 10.500V8a3.5 3.5 0 0 1 7 0v2.5",
  back: "M14.5 5.500L8 12l6.5 6.5",
  close: "M6 6l12 12M18 6L6 18",
  send: "M4.5 12L20 4.5 15.5 20l-3.5-6z",
  star: "M12 4l2.5 5.2 5.5.700-4 3.9 1 5.7-5-2.8-5 2.8 1-5.7-4-3.9 5.5-.700z",
  search: "M10.5 4.500a6 6 0 1 1 0 12 6 6 0 0 1 0-12zM15 15l5 5",
  key: "M8.5 8a4 4 0 1 1 0 8 4 4 0 0 1 0-8zM12.5 12H21M18 12v3.500M15 12v2.5",
  in: "M17 7L7 17M7 9.500V17h7.5",
  out: "M7 17L17 7M17 14.500V7H9.5",
  missed: "M5 7l6.5 6.500L19 6M5 12V7h5M8 19c2.5-1.7 5.5-1.7 8 0",
  trash: "M5 7h14M9.5 7V4.500h5V7M7 7l.800 12.500h8.400L17 7M10.5 10.500v6M13.5 10.500v6",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, fill }: { name: IconName; fill?: boolean }): JSX.Element {
  return (
    <svg class={`icon icon-${name}${fill ? " filled" : ""}`} viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}

export function Mark(): JSX.Element {
  return (
    <svg class="mark" viewBox="0 0 40 40" aria-hidden="true" focusable="false">
      <path class="mark-a" d="M6 20a10 10 0 0 1 10-10h3v5h-3a5 5 0 0 0 0 10h3v5h-3A10 10 0 0 1 6 20z" />
      <path class="mark-b" d="M34 20a10 10 0 0 1-10 10h-3v-5h3a5 5 0 0 0 0-10h-3v-5h3a10 10 0 0 1 10 10z" />
      <rect class="mark-b" x="14" y="17.5" width="12" height="5" rx="2.5" />
    </svg>
  );
}

export function Avatar({ name, address, size, reachable }: {
  name: string; address: string; size?: "small" | "large" | "huge"; reachable?: boolean | null;
}): JSX.Element {
  return (
    <span class={`avatar hue-${hueOf(address, 8)} ${size ?? ""}`} aria-hidden="true">
      {initials(name)}
      {reachable ? <i class="dot" /> : null}
    </span>
  );
}

export function Button(p: {
  label: string; icon?: IconName; onClick: () => void; kind?: string; pressed?: boolean; text?: boolean;
  disabled?: boolean; expanded?: boolean; fill?: boolean; id?: string;
}): JSX.Element {
  return (
    <button
      type="button" id={p.id} class={`button ${p.kind ?? ""} ${p.text ? "with-text" : ""}`} onClick={p.onClick}
      aria-label={p.label} title={p.text ? undefined : p.label} aria-pressed={p.pressed} aria-expanded={p.expanded}
      disabled={p.disabled}
    >
      {p.icon ? <Icon name={p.icon} fill={p.fill} /> : null}
      {p.text ? <span>{p.label}</span> : null}
    </button>
  );
}

export function Empty({ icon, title, children }: { icon: IconName; title: string; children?: ComponentChildren }): JSX.Element {
  return (
    <div class="empty">
      <span class="empty-icon"><Icon name={icon} /></span>
      <p class="empty-title">{title}</p>
      {children ? <p class="empty-hint">{children}</p> : null}
    </div>
  );
}

const DAY = 86_400_000;

export function dayOf(at: number, today: string, yesterday: string, now = Date.now()): string {
  const start = new Date(now).setHours(0, 0, 0, 0);
  return at >= start ? today : at >= start - DAY ? yesterday
    : new Date(at).toLocaleDateString(undefined, { day: "numeric", month: "long" });
}

export function timeOf(at: number): string {
  return new Date(at).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
}
