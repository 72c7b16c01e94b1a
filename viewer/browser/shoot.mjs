/**
 * Takes pictures of pages: `node shoot.mjs FOLDER < shots.json`.
 *
 * A shot is {page, steps, part, file}: the steps are done in order on the page, then the part, with what is above it where
 * `above` is true, is saved as FOLDER/file; `dark` pages are dark.
 * Steps: ["click" | "shift-click" | "hover", selector], ["choose" | "fill" | "drag", selector, value],
 * ["wait", selector, text].
 */

import { existsSync, readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const [WIDTH, SHARPNESS, MARGIN] = [1240, 1.2, 8];
const PATIENCE = 120_000;
const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
if (!executablePath) throw new Error("Chromium is not installed; on Debian: apt install chromium.");

const STEPS = {
  click: (place) => place.click(),
  "shift-click": (place) => place.click({ modifiers: ["Shift"] }),
  hover: (place) => place.hover(),
  choose: (place, value) => place.selectOption(value),
  fill: (place, value) => place.fill(value),
  drag: (place, value) => place.fill(value),
  wait: (place, text) => place.filter({ hasText: text }).waitFor(),
};

const shots = JSON.parse(readFileSync(0, "utf-8"));
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"] });
for (const { page: url, steps, part, file, above, dark } of shots) {
  const page = await browser.newPage({ viewport: { width: WIDTH, height: 900 }, deviceScaleFactor: SHARPNESS, colorScheme: dark ? "dark" : "light" });
  page.setDefaultTimeout(PATIENCE);
  await page.goto(url);
  for (const [step, selector, value] of steps) await STEPS[step](page.locator(selector).first(), value);
  const place = page.locator(part).first();
  const path = `${process.argv[2]}/${file}`;
  if (above) {
    await page.evaluate(() => scrollTo(0, 0));
    const { y, height } = await place.boundingBox();
    await page.screenshot({ path, clip: { x: 0, y: 0, width: WIDTH, height: y + height + MARGIN } });
  } else await place.screenshot({ path });
  await page.close();
}
await browser.close();
