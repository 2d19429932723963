// <kith-call to="sales@example.org">: a button on anybody's page that calls that address.
//   <script type="module" src="https://kith.example.org/kith-call.js"></script>
//   <kith-call to="sales@example.org" label="Talk to sales" video></kith-call>
// Only this small file is loaded with the page; the phone comes when somebody presses the button. It sets no
// cookie and keeps nothing; look and words stay inside the element (shadow DOM), colours follow its CSS variables
// --kith-call-background and --kith-call-color.
import { userOf } from "../lib/address.ts";
import { words } from "../words.ts";
import { BUTTON_STYLE } from "./look.ts";

const HOME = new URL(import.meta.url).origin;
/** "sales" -> "Sales": what the button says when nobody gave it a label. */
const nameFrom = (to: string): string => userOf(to).replace(/^./, (c) => c.toUpperCase());

class KithCall extends HTMLElement {
  private close: (() => void) | null = null;

  connectedCallback(): void {
    if (this.shadowRoot) {
      return;
    }
    const root = this.attachShadow({ mode: "open" });
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(BUTTON_STYLE);
    root.adoptedStyleSheets = [sheet];
    const button = document.createElement("button");
    button.type = "button";
    button.part.add("button");
    button.textContent = this.getAttribute("label") ?? words.ctcCall(nameFrom(this.to));
    button.addEventListener("click", () => void this.call(root, button));
    root.append(button);
  }

  disconnectedCallback(): void {
    this.close?.();
    this.close = null;
  }

  private get to(): string {
    return this.getAttribute("to") ?? "";
  }

  private async call(root: ShadowRoot, button: HTMLButtonElement): Promise<void> {
    button.disabled = true;
    const { openPanel } = await import("./panel.tsx");
    this.close = openPanel(root, HOME, {
      to: this.to, who: this.getAttribute("label") ?? nameFrom(this.to), visitor: this.getAttribute("name") ?? "",
      video: this.hasAttribute("video"),
    }, () => {
      this.close = null;
      button.disabled = false;
      button.focus();
    });
  }
}

if (!customElements.get("kith-call")) {
  customElements.define("kith-call", KithCall);
}
