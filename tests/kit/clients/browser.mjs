// A real Chromium, driven over its DevTools pipe: `node browser.mjs CHROMIUM STEPS`. STEPS is a JSON list of
// {"go": URL}, {"click": selector}, {"reload": true}; after each the page is looked at. Prints what was seen as JSON.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [chromium, text] = process.argv.slice(2);
const profile = mkdtempSync(join(tmpdir(), "browser-"));
const browser = spawn(chromium, [
  "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--disable-sync",
  "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
  "--remote-debugging-pipe", `--user-data-dir=${profile}`, "about:blank",
], { stdio: ["ignore", "ignore", "inherit", "pipe", "pipe"] });

const waiting = new Map();
const heard = [];
let listeners = [];
let rest = "";
let last = 0;
browser.stdio[4].setEncoding("utf8");
browser.stdio[4].on("data", (chunk) => {
  const parts = (rest + chunk).split("\0");
  rest = parts.pop();
  for (const part of parts) {
    const message = JSON.parse(part);
    const done = waiting.get(message.id);
    if (done) {
      waiting.delete(message.id);
      if (message.error) done.reject(new Error(JSON.stringify(message.error)));
      else done.resolve(message.result);
      continue;
    }
    if (message.method === "Log.entryAdded") heard.push(message.params.entry.text);
    for (const listener of listeners) listener(message);
  }
});
const say = (method, params, sessionId) => new Promise((resolve, reject) => {
  last += 1;
  waiting.set(last, { resolve, reject });
  browser.stdio[3].write(`${JSON.stringify({ id: last, method, params, sessionId })}\0`);
});
const within = (promise, what) => Promise.race([
  promise,
  new Promise((_, reject) => setTimeout(() => reject(new Error(`${what}: nothing within 30 s`)), 30_000)),
]);
// Resolves when a page has loaded that begins to load after this.
const loaded = () => new Promise((resolve) => {
  const listener = (message) => {
    if (message.method !== "Page.loadEventFired") return;
    listeners = listeners.filter((other) => other !== listener);
    resolve();
  };
  listeners.push(listener);
});

const look = `({
  url: location.href, title: document.title, text: document.body.innerText,
  outcome: document.body.dataset.outcome ?? null, scripts: document.scripts.length,
  styled: getComputedStyle(document.body).maxWidth,
})`;

try {
  const { targetInfos } = await within(say("Target.getTargets"), "start");
  const page = targetInfos.find((target) => target.type === "page");
  const { sessionId } = await say("Target.attachToTarget", { targetId: page.targetId, flatten: true });
  const tell = (method, params) => within(say(method, params, sessionId), method);
  await tell("Page.enable");
  await tell("Log.enable");
  const evaluate = async (expression) => (await tell("Runtime.evaluate", { expression, returnByValue: true })).result.value;
  const seen = [];
  for (const step of JSON.parse(text)) {
    const there = loaded();
    if (step.go) await tell("Page.navigate", { url: step.go });
    else if (step.reload) await tell("Page.reload");
    else {
      // As a hand does it: the mouse, where the button is.
      const at = await evaluate(`(() => { const box = document.querySelector(${JSON.stringify(step.click)}).getBoundingClientRect();
        return { x: box.x + box.width / 2, y: box.y + box.height / 2 }; })()`);
      for (const type of ["mousePressed", "mouseReleased"]) {
        await tell("Input.dispatchMouseEvent", { type, ...at, button: "left", clickCount: 1 });
      }
    }
    await within(there, JSON.stringify(step));
    seen.push(await evaluate(look));
  }
  console.log(JSON.stringify({ seen, heard }));
} finally {
  browser.kill("SIGKILL");
  await new Promise((resolve) => browser.once("exit", resolve));
  rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
}
process.exit(0);
