/**
 * Takes pictures of pages: `node shoot.mjs FOLDER < shots.json`.
 *
 * A shot is {page, steps, part, file}: the steps are done in order on the page, then the part is saved as FOLDER/file.
 * Steps: ["click" | "shift-click" | "hover", selector], ["choose" | "fill" | "drag", selector, value],
 * ["wait", selector, text].
 */

import { existsSync, readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const SHARPNESS = 1.5;
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
for (const { page: url, steps, part, file, dark } of shots) {
  const page = await browser.newPage({ viewport: { width: 1240, height: 900 }, deviceScaleFactor: SHARPNESS, colorScheme: dark ? "dark" : "light" });
  page.setDefaultTimeout(PATIENCE);
  await page.goto(url);
  for (const [step, selector, value] of steps) await STEPS[step](page.locator(selector).first(), value);
  await page.locator(part).first().screenshot({ path: `${process.argv[2]}/${file}`, animations: "disabled" });
  await page.close();
}
await browser.close();
