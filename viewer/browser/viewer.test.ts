/** The page in a real Chromium: pixels and DOM. The page is made by test/pages.py; see the Makefile. */

import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";

const CHROMIUM = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
const PAGE = resolve("browser/page.html");
const run = CHROMIUM && existsSync(PAGE) ? test : test.skip;

let browser: Browser;
let page: Page;
const errors: string[] = [];

beforeAll(async () => {
  if (!CHROMIUM || !existsSync(PAGE)) return;
  browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
  });
  page = await browser.newPage({ viewport: { width: 1300, height: 1000 } });
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("request", (request) => {
    if (!request.url().startsWith("file:") && !request.url().startsWith("data:") && !request.url().startsWith("blob:")) errors.push(request.url());
  });
  await page.goto(`file://${PAGE}`);
}, 60_000);

afterAll(async () => browser?.close());

const weight = (token: number): Promise<number> => page.locator(`[data-token="${token}"]`).evaluate((each) => Number((each as HTMLElement).dataset.weight));

run("the page opens offline, without an error", () => expect(errors).toEqual([]));

run("the hottest cell has the highest value and the darkest pixels", async () => {
  const cells = await page.locator("[data-head]").evaluateAll((all) =>
    all.map((each) => ({ value: Number((each as HTMLElement).dataset.value), fill: getComputedStyle(each).backgroundColor })),
  );
  const light = (fill: string): number => fill.match(/\d+/g)!.slice(0, 3).reduce((sum, part) => sum + Number(part), 0);
  const highest = cells.reduce((a, b) => (b.value > a.value ? b : a));
  expect(Math.min(...cells.map((each) => light(each.fill)))).toBe(light(highest.fill));
});

run("the map's pixels are the planted pattern", async () => {
  await page.locator('[data-site="0"][data-head="1"]').click();
  const dark = await page.locator("canvas").evaluate((canvas) => {
    const { width, height } = canvas as HTMLCanvasElement;
    const { data } = (canvas as HTMLCanvasElement).getContext("2d")!.getImageData(0, 0, width, height);
    const found: [number, number][] = [];
    for (let i = 0; i < width * height; i++) if (data[4 * i] < 60) found.push([Math.floor(i / width), i % width]);
    return found;
  });
  expect(dark.length).toBeGreaterThan(0);
  expect(dark.every(([query, key]) => key === Math.max(query - 1, 0))).toBe(true);
});

run("hovering a token shows its exact weight", async () => {
  await page.locator('[data-token="4"]').click();
  expect(await weight(3)).toBeCloseTo(1, 4);
  await page.locator('[data-token="3"]').hover();
  await expect.poll(() => page.locator('[aria-label="tokens"] .said').innerText()).toMatch(/^token 3 \(.*\): 1$/);
});

run("the keyboard moves the pin", async () => {
  await page.locator(".text").press("ArrowRight");
  expect(await page.locator(".token.pinned").getAttribute("data-token")).toBe("5");
  expect(await weight(4)).toBeCloseTo(1, 4);
});

run("an edit made by mouse is told", async () => {
  await page.locator('[data-token="2"]').click({ modifiers: ["Shift"] });
  await page.locator('[data-site="0"][data-head="1"]').click({ modifiers: ["Shift"] });
  expect(await page.locator('[aria-label="edit"] .said').innerText()).toMatch(/times 2.00 in text.0.self head 1$/);
});
