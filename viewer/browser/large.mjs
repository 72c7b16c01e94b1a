/** How long pages take to open and to answer in Chromium: `node large.mjs FILE ...` prints a line of JSON for each. */

import { existsSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
if (!executablePath) throw new Error("Chromium is not installed; on Debian: apt install chromium.");

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"] });
for (const file of process.argv.slice(2)) {
  const page = await browser.newPage();
  const began = performance.now();
  await page.goto(pathToFileURL(file).href);
  await page.waitForSelector("[data-head]");
  const opened = performance.now() - began;
  const answered = await page.evaluate(async () => {
    const frame = () => new Promise(requestAnimationFrame);
    const clicks = [];
    for (const head of [...document.querySelectorAll("[data-head]")].slice(0, 100).filter((_, i) => i % 10 === 0)) {
      const start = performance.now();
      head.click();
      await frame();
      clicks.push(performance.now() - start);
    }
    const frames = [];
    for (let y = 0; y < 60; y++) {
      const start = performance.now();
      scrollTo(0, y * 20);
      await frame();
      frames.push(performance.now() - start);
    }
    const middle = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
    return { click: middle(clicks), scroll: middle(frames), slowest: Math.max(...frames) };
  });
  console.log(JSON.stringify({ opened, ...answered }));
  await page.close();
}
await browser.close();
