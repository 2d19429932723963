// Signing in: WebAuthn's ceremonies between the browser and the server's endpoints.
import { api, type Session } from "./api.ts";

export function passkeysWork(): boolean {
  return typeof PublicKeyCredential === "function" && "parseCreationOptionsFromJSON" in PublicKeyCredential;
}

/** "Chrome on Linux": how this device will stand in the list. */
export function deviceName(agent: string): string {
  const browser = /Edg\//.test(agent) ? "Edge"
    : /Firefox\//.test(agent) ? "Firefox"
    : /Chrome\//.test(agent) ? "Chrome"
    : /Safari\//.test(agent) ? "Safari" : "Browser";
  const system = /iPhone/.test(agent) ? "iPhone"
    : /iPad/.test(agent) ? "iPad"
    : /Android/.test(agent) ? "Android"
    : /Windows/.test(agent) ? "Windows"
    : /Mac OS X/.test(agent) ? "Mac"
    : /CrOS/.test(agent) ? "ChromeOS"
    : /Linux/.test(agent) ? "Linux" : "";
  return system ? `${browser} on ${system}` : browser;
}

/** The token of an invitation link, /#invite=TOKEN, or "". */
export function invitationOf(hash: string): string {
  const found = /^#invite=([A-Za-z0-9_-]{8,200})$/.exec(hash);
  return found ? found[1]! : "";
}

export async function acceptInvitation(token: string, publicKey: PublicKeyCredentialCreationOptionsJSON): Promise<Session> {
  const options = PublicKeyCredential.parseCreationOptionsFromJSON(publicKey);
  const made = (await navigator.credentials.create({ publicKey: options })) as PublicKeyCredential;
  return api.inviteFinish(token, deviceName(navigator.userAgent), made.toJSON());
}

export async function signIn(): Promise<Session> {
  const { publicKey } = await api.loginOptions();
  const options = PublicKeyCredential.parseRequestOptionsFromJSON(publicKey);
  const got = (await navigator.credentials.get({ publicKey: options })) as PublicKeyCredential;
  return api.loginFinish(got.toJSON());
}
