// How click-to-call looks. It stands on other people's pages: no file of its own, nothing inherited.
export const BUTTON_STYLE = `
:host { display: inline-block; }
button {
  font: 600 1rem/1.2 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; min-height: 2.9rem; padding: 0 1.4rem;
  border: 0; border-radius: 999px; cursor: pointer; background: var(--kith-call-background, #0b6463); color: var(--kith-call-color, #fff);
}
button:hover { filter: brightness(1.1); }
button:disabled { opacity: .55; cursor: default; }
button:focus-visible { outline: 3px solid var(--kith-call-background, #0b6463); outline-offset: 2px; }
`;

export const PANEL_STYLE = `
* { box-sizing: border-box; margin: 0; }
.panel {
  position: fixed; z-index: 2147483000; right: 1rem; bottom: 1rem; width: min(21rem, calc(100vw - 2rem)); overflow: hidden;
  display: grid; justify-items: center; gap: .35rem; padding: 1.6rem 1.2rem 1.3rem; border-radius: 1.5rem; color: #eef3f3; text-align: center;
  font: 400 1rem/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  background: radial-gradient(120% 90% at 50% 10%, #29474b 0%, #1a2b30 55%, #121d21 100%); box-shadow: 0 12px 48px rgb(0 0 0 / 35%);
}
video { width: calc(100% + 2.4rem); margin: -1.6rem -1.2rem .6rem; aspect-ratio: 4 / 3; object-fit: cover; background: #0b1113; }
h2 { font-size: 1.25rem; font-weight: 620; }
p { color: #d5e1e1; min-height: 1.45em; }
.lock { display: inline-flex; align-items: center; gap: .4rem; font-size: .88rem; color: #a9ecd9; }
.icon { width: 1.4rem; height: 1.4rem; fill: none; stroke: currentcolor; stroke-width: 1.75; stroke-linecap: round; stroke-linejoin: round; }
.lock .icon { width: 1.05rem; height: 1.05rem; }
.row { display: flex; gap: .8rem; margin-top: .7rem; }
.button {
  display: inline-grid; place-items: center; width: 3.4rem; height: 3.4rem; min-height: 0; padding: 0; border-radius: 50%;
  background: rgb(255 255 255 / 14%); color: #fff;
}
.button.with-text { width: auto; padding: 0 1.3rem; grid-auto-flow: column; gap: .5rem; border-radius: 999px; }
.button[aria-pressed="true"], .button[aria-expanded="true"] { background: #eef3f3; color: #16262a; }
.button.stop { background: #d23f35; }
.button.go { background: #1a7a4c; }
.button.down .icon { transform: rotate(135deg); }
.button:focus-visible { outline-color: #8fe0d8; }
.keys { display: grid; grid-template-columns: repeat(3, 3.4rem); gap: .5rem; margin-top: .8rem; }
`;
