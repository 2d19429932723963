// What the made-up camera sees: somebody who sways a little before a window. Written as Y4M, which Chromium
// plays in a loop; the pictures in docs/img come from it.
import fs from "node:fs";

const WIDTH = 640;
const HEIGHT = 360;
const FRAMES = 24;

const mix = (a, b, t) => a.map((v, i) => v + (b[i] - v) * Math.min(1, Math.max(0, t)));
const inside = (x, y, cx, cy, rx, ry) => 1 - Math.hypot((x - cx) / rx, (y - cy) / ry);

function colour(x, y, phase) {
  const sway = Math.sin(phase) * 16;
  let c = mix([216, 190, 160], [150, 120, 104], y / HEIGHT);
  if (x > 400 && x < 570 && y > 30 && y < 220) {
    c = x % 85 < 6 || Math.abs(y - 125) < 4 ? [240, 232, 220] : mix([150, 196, 222], [226, 234, 226], y / 220);
  }
  if (inside(x, y, 90, 300, 60, 120) > 0) {
    c = mix([62, 104, 78], [92, 142, 98], (y - 180) / 180);
  }
  const body = inside(x, y, 300 + sway * 0.6, 400, 150, 170);
  if (body > 0) {
    c = mix([38, 70, 92], [58, 100, 122], body);
  }
  if (Math.abs(x - 300 - sway * 0.8) < 26 && y > 190 && y < 252) {
    c = [196, 148, 120];
  }
  if (inside(x, y, 300 + sway, 128, 74, 88) > 0 && y < 170) {
    c = [58, 40, 34];
  }
  if (inside(x, y, 300 + sway, 150, 58, 74) > 0) {
    c = [226, 180, 150];
    const eye = Math.abs(Math.abs(x - 300 - sway) - 22);
    if (Math.hypot(eye, y - 146) < 5) {
      c = [50, 38, 36];
    }
    const open = 4 + 3 * Math.sin(phase * 3);
    if (inside(x, y, 300 + sway, 186, 18, open) > 0) {
      c = [150, 70, 66];
    }
  }
  return c;
}

/** What the made-up microphone hears: a sine of so many hertz. One second, played in a loop without a seam. */
export const TONE = 660;

export function writeTone(file) {
  const rate = 48_000;
  const wav = Buffer.alloc(44 + 2 * rate);
  wav.write("RIFF", 0);
  wav.writeUInt32LE(36 + 2 * rate, 4);
  wav.write("WAVEfmt ", 8);
  [16, 1 | (1 << 16), rate, 2 * rate, 2 | (16 << 16)].forEach((v, i) => wav.writeUInt32LE(v, 16 + 4 * i));
  wav.write("data", 36);
  wav.writeUInt32LE(2 * rate, 40);
  for (let i = 0; i < rate; i++) {
    wav.writeInt16LE(Math.round(9000 * Math.sin((2 * Math.PI * TONE * i) / rate)), 44 + 2 * i);
  }
  fs.writeFileSync(file, wav);
}

export function writeScene(file) {
  const out = [Buffer.from(`YUV4MPEG2 W${WIDTH} H${HEIGHT} F12:1 Ip A1:1 C420\n`)];
  for (let f = 0; f < FRAMES; f++) {
    const yy = Buffer.alloc(WIDTH * HEIGHT);
    const u = Buffer.alloc((WIDTH * HEIGHT) / 4);
    const v = Buffer.alloc((WIDTH * HEIGHT) / 4);
    const phase = (2 * Math.PI * f) / FRAMES;
    for (let y = 0; y < HEIGHT; y++) {
      for (let x = 0; x < WIDTH; x++) {
        const [r, g, b] = colour(x, y, phase);
        yy[y * WIDTH + x] = 16 + 0.257 * r + 0.504 * g + 0.098 * b;
        if ((x | y) % 2 === 0) {
          const at = (y / 2) * (WIDTH / 2) + x / 2;
          u[at] = 128 - 0.148 * r - 0.291 * g + 0.439 * b;
          v[at] = 128 + 0.439 * r - 0.368 * g - 0.071 * b;
        }
      }
    }
    out.push(Buffer.from("FRAME\n"), yy, u, v);
  }
  fs.writeFileSync(file, Buffer.concat(out));
}
