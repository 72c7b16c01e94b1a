/** The page in a real Chromium: pixels and DOM. The page is made by browser/pages.py; see the Makefile. */

import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, expect, test, vi } from "vitest";

const CHROMIUM = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
const PAGE = resolve("browser/page.html");
const run = CHROMIUM && existsSync(PAGE) ? test : test.skip;

let browser: Browser;
let page: Page;
const errors: string[] = [];
const PATIENCE = { timeout: 20_000 };
vi.setConfig({ testTimeout: 60_000 });

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
  const dark = await page.locator('[aria-label="head"] canvas').evaluate((canvas) => {
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
  await expect.poll(() => page.locator('[aria-label="tokens"] .said').innerText(), PATIENCE).toMatch(/^token 3 \(.*\): 1$/);
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

run("the plane's pixels are the planted points, and hovering names them", async () => {
  await page.locator('[data-site="0"][data-head="1"]').click();
  const canvas = page.locator("canvas.space");
  await canvas.scrollIntoViewIfNeeded();
  const rows = await canvas.evaluate((each) => {
    const { width, height } = each as HTMLCanvasElement;
    const { data } = (each as HTMLCanvasElement).getContext("2d")!.getImageData(0, 0, width, height);
    return Array.from({ length: width * height }, (_, i) => i).filter((i) => data[4 * i + 3] > 0).map((i) => Math.floor(i / width));
  });
  expect(rows.length).toBeGreaterThan(16 * 40);
  expect(Math.max(...rows.map((row) => Math.abs(row - 210)))).toBeLessThan(8);
  const box = (await canvas.boundingBox())!;
  const said = page.locator('[aria-label="query-key space"] .said');
  const over = async (value: number): Promise<void> => page.mouse.move(box.x + ((12 + (value / 65535) * 396) / 420) * box.width, box.y + box.height / 2);
  await over(4000 * 3);
  await expect.poll(() => said.innerText(), PATIENCE).toBe("query of token 3 (word3)");
  await over(65535 - 4000 * 5);
  await expect.poll(() => said.innerText(), PATIENCE).toBe("key of token 5 (word5)");
  await canvas.press("ArrowDown");
  await canvas.press("Enter");
  expect(await page.locator(".token.pinned").count()).toBe(1);
});

run("points can be coloured by span", async () => {
  await page.locator('[aria-label="colour points by"]').selectOption("span");
  const canvas = page.locator("canvas.space");
  const at = (value: number): Promise<number[]> =>
    canvas.evaluate((each, x) => [...(each as HTMLCanvasElement).getContext("2d")!.getImageData(x, 210, 1, 1).data.slice(0, 3)], Math.round(12 + (value / 65535) * 396));
  expect(await at(4000 * 2)).toEqual([0, 114, 178]);
  expect(await at(4000 * 6)).toEqual([153, 153, 153]);
});

run("rollout is that of the last token", async () => {
  await page.locator('[aria-label="colour by"]').selectOption("rollout");
  for (const token of [7, 6, 0]) expect(await weight(token)).toBeCloseTo(0.5 ** (8 - token), 6);
});

run("heads by a labelling: the planted one is the darkest", async () => {
  await page.locator('[aria-label="measure"]').selectOption("same label");
  expect(await page.locator('[data-site="1"][data-head="0"]').evaluate((each) => getComputedStyle(each).backgroundColor)).toBe("rgb(8, 48, 107)");
});

run("the flow's widest line is the planted one, and hovering it tells what flows", async () => {
  const flow = page.locator('details[aria-label="flow"]');
  const lines = await flow.locator("line").evaluateAll((all) => all.map((each) => ({ wide: Number(each.getAttribute("stroke-width")), value: (each as SVGElement).dataset.value })));
  expect(lines.reduce((a, b) => (b.wide > a.wide ? b : a)).value).toBe("0.5");
  const line = flow.locator('[data-edge="1/7/6"]');
  const middle = await line.evaluate((each) => {
    const here = each as unknown as SVGLineElement;
    here.scrollIntoView({ block: "center" });
    const [x1, y1, x2, y2] = [here.x1, here.y1, here.x2, here.y2].map((length) => length.baseVal.value);
    const point = new DOMPoint((x1 + x2) / 2, (y1 + y2) / 2).matrixTransform(here.getScreenCTM()!);
    return [point.x, point.y];
  });
  await page.mouse.move(middle[0], middle[1]);
  await expect.poll(() => flow.locator(".said").innerText(), PATIENCE).toBe("token 7 (word7) after layer 2 has 0.5 from token 6 (word6) after layer 1");
  await flow.locator('[data-node="1/6"]').hover();
  await expect.poll(() => flow.locator(".said").innerText(), PATIENCE).toBe("token 6 (word6) after layer 1: 0.5");
});

for (const [format, magic] of [["SVG", "<svg"], ["PNG", "\u0089PNG"]])
  for (const what of ["heads", "map", "flow"])
    run(`${what} can be saved as ${format}`, async () => {
      await page.locator('[aria-label="save"]').selectOption(what);
      const [saved] = await Promise.all([page.waitForEvent("download", PATIENCE), page.getByRole("button", { name: format, exact: true }).click()]);
      const bytes = readFileSync(await saved.path());
      expect(saved.suggestedFilename()).toBe(`${what}.${format.toLowerCase()}`);
      expect(bytes.toString("latin1").slice(0, 4)).toBe(magic);
      expect(bytes.length).toBeGreaterThan(200);
    });
