// The server's JSON endpoints (docs/web.md). Each answer is a value or throws ApiError with its status.

export interface Session {
  signed_in: boolean;
  domains: string[];
  aor?: string;
  name?: string;
  session?: number;
  device?: number;
  until?: string;
  ws?: string;
}

export interface Person {
  aor: string;
  name: string;
  numbers: string[];
  reachable: boolean;
}

export interface Device {
  id: number;
  kind: string;
  name: string;
  created: string;
  until: string | null;
  current: boolean;
  parent: number | null;
}

export class ApiError extends Error {
  constructor(readonly status: number, message: string) {
    super(message);
  }
}

const PATIENCE_MS = 15_000;

async function ask<T>(method: string, path: string, body?: unknown): Promise<T> {
  const init: RequestInit = {
    method, credentials: "same-origin", cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS),
  };
  if (body !== undefined) {
    init.headers = { "Content-Type": "application/json" };
    init.body = JSON.stringify(body);
  }
  let answer: Response;
  try {
    answer = await fetch(path, init);
  } catch {
    throw new ApiError(0, "");
  }
  const text = await answer.text();
  let value: unknown = null;
  try {
    value = text === "" ? null : JSON.parse(text);
  } catch {
    throw new ApiError(answer.ok ? 502 : answer.status, "");
  }
  if (!answer.ok) {
    const error = (value as { error?: unknown } | null)?.error;
    throw new ApiError(answer.status, typeof error === "string" ? error : "");
  }
  return value as T;
}

export const api = {
  session: () => ask<Session>("GET", "/api/session"),
  logout: () => ask<null>("POST", "/api/logout", {}),
  inviteOptions: (token: string) =>
    ask<{ aor: string; name: string; publicKey: PublicKeyCredentialCreationOptionsJSON }>(
      "POST", "/api/invite/options", { token }),
  inviteFinish: (token: string, device: string, credential: unknown) =>
    ask<Session>("POST", "/api/invite/finish", { token, device, credential }),
  loginOptions: () =>
    ask<{ publicKey: PublicKeyCredentialRequestOptionsJSON }>("POST", "/api/login/options", {}),
  loginFinish: (credential: unknown) => ask<Session>("POST", "/api/login/finish", { credential }),
  devices: () => ask<{ devices: Device[] }>("GET", "/api/devices"),
  removeDevice: (id: number) => ask<null>("DELETE", `/api/devices/${id}`),
  people: (q = "") =>
    ask<{ people: Person[]; more: boolean }>("GET", `/api/people${q ? `?q=${encodeURIComponent(q)}` : ""}`),
  turn: () => ask<{ iceServers: RTCIceServer[]; until: string }>("GET", "/api/turn"),
};
