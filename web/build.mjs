// Builds the page: node build.mjs [--compare | --tests]
//   (nothing)   writes web/dist anew: hashed names, so that browsers may keep them for good
//   --compare   builds in memory and compares with web/dist as it is committed
//   --tests     bundles test/*_test.ts into build/web-tests for node --test
import { build } from "esbuild";
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const HERE = path.dirname(fileURLToPath(import.meta.url));
const DIST = path.join(HERE, "dist");
const MOST_BYTES = 120_000; // of all files together, compressed
const at = (...parts) => path.join(HERE, ...parts);

const common = {
  bundle: true, minify: true, format: "esm", target: ["es2022", "chrome111", "firefox115", "safari16.4"],
  jsx: "automatic", jsxImportSource: "preact", legalComments: "none", charset: "utf8", write: false, logLevel: "error",
  absWorkingDir: HERE,
};

function hashed(name, contents) {
  const hash = createHash("sha256").update(contents).digest("hex").slice(0, 8);
  const dot = name.lastIndexOf(".");
  return `${name.slice(0, dot)}.${hash}${name.slice(dot)}`;
}

/** Every file of the page: path -> bytes. */
async function site() {
  const files = new Map();
  const put = (name, contents) => {
    const bytes = Buffer.from(contents);
    files.set(name, bytes);
    return name;
  };
  const scripts = await build({
    ...common, outdir: DIST, splitting: true, metafile: true,
    entryPoints: { app: "src/main.tsx", "kith-call": "src/embed/kith-call.ts" },
    entryNames: "[name]-[hash]", chunkNames: "embed/[name]-[hash]",
  });
  let app = "";
  for (const out of scripts.outputFiles) {
    const name = path.relative(DIST, out.path);
    const entry = /^(app|kith-call)-[A-Z0-9]{8}\.js$/.exec(name);
    // Other people's pages name this one: its name stays. What it loads is hashed.
    put(entry?.[1] === "kith-call" ? "kith-call.js" : name, out.contents);
    if (entry?.[1] === "app") {
      app = name;
    }
  }
  const css = await build({ ...common, entryPoints: ["src/style.css"] });
  const style = put(hashed("style.css", css.outputFiles[0].contents), css.outputFiles[0].contents);
  const svg = fs.readFileSync(at("src/icon.svg"));
  const icon = put(hashed("icon.svg", svg), svg);
  const manifestText = JSON.stringify({
    name: "Kith", short_name: "Kith", start_url: "/", display: "standalone",
    background_color: "#f4f2ee", theme_color: "#0b6463", icons: [{ src: `/${icon}`, sizes: "any", type: "image/svg+xml" }],
  });
  const manifest = put(hashed("manifest.webmanifest", manifestText), manifestText);
  const html = fs.readFileSync(at("src/index.html"), "utf8");
  put("index.html", html.replace("ICON", icon).replace("MANIFEST", manifest).replace("STYLE", style).replace("SCRIPT", app));
  return files;
}

function sizes(files) {
  let all = 0;
  for (const [name, bytes] of [...files].sort()) {
    const size = gzipSync(bytes, { level: 9 }).length;
    all += size;
    console.log(`${String(size).padStart(8)}  ${name}`);
  }
  console.log(`${String(all).padStart(8)}  bytes compressed in all (limit ${MOST_BYTES})`);
  return all;
}

function committed() {
  const files = new Map();
  const walk = (folder) => {
    for (const entry of fs.readdirSync(path.join(DIST, folder), { withFileTypes: true })) {
      const name = path.join(folder, entry.name);
      if (entry.isDirectory()) {
        walk(name);
      } else {
        files.set(name, fs.readFileSync(path.join(DIST, name)));
      }
    }
  };
  walk("");
  return files;
}

async function tests() {
  const out = at("../build/web-tests");
  fs.rmSync(out, { recursive: true, force: true });
  const entryPoints = fs.readdirSync(at("test")).filter((f) => f.endsWith("_test.ts")).map((f) => `test/${f}`);
  await build({
    ...common, minify: false, write: true, outdir: out, entryPoints, platform: "node", target: "node18",
    packages: "external", outExtension: { ".js": ".mjs" },
    // Node 18 (Debian 12) keeps it in a module only; browsers and later ones have it.
    banner: { js: 'import { webcrypto } from "node:crypto"; globalThis.crypto ??= webcrypto;' },
  });
}

if (process.argv.includes("--tests")) {
  await tests();
} else {
  const files = await site();
  const all = sizes(files);
  if (all > MOST_BYTES) {
    console.error(`the page is too large: ${all} bytes`);
    process.exitCode = 1;
  }
  if (process.argv.includes("--compare")) {
    const there = committed();
    for (const name of new Set([...files.keys(), ...there.keys()])) {
      if (!files.get(name)?.equals(there.get(name) ?? Buffer.alloc(0))) {
        console.error(`web/dist/${name} is not what the sources make: run npm run build in web/`);
        process.exitCode = 1;
      }
    }
  } else {
    fs.rmSync(DIST, { recursive: true, force: true });
    for (const [name, bytes] of files) {
      fs.mkdirSync(path.dirname(path.join(DIST, name)), { recursive: true });
      fs.writeFileSync(path.join(DIST, name), bytes);
    }
  }
}
