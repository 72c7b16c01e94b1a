import { expect, test } from "vitest";
import { Capture } from "../src/capture";
import { colour, position, rgb, scaleOf } from "../src/colour";
import { shown, visible } from "../src/dom";
import { nearest, placed, planes } from "../src/space";
import { packed } from "./packed";

test("a capture is read from its bytes", () => {
  const found = new Capture(packed());
  expect(found.tokens).toEqual(["a", "b", "c"]);
  expect([found.heads, found.side, found.links]).toEqual([2, 3, 2]);
  expect(found.measures).toEqual(["entropy"]);
  expect(Array.from(found.measure("entropy"))).toEqual([0.25, 1.25]);
  expect(found.pooled(0, 0)[4]).toBeCloseTo(0.5, 6);
  expect(found.pooled(0, 1)[0]).toBeCloseTo((9 / 255) * 0.25, 6);
  expect(found.received(0, 1).weights[2]).toBeCloseTo(5000 / 65535, 6);
});

test("rows and columns of what was kept agree", () => {
  const found = new Capture(packed());
  for (let query = 0; query < 3; query++)
    for (let key = 0; key < 3; key++)
      expect(found.reads(0, 1, query).weights[key]).toBe(found.readBy(0, 1, key).weights[query]);
  expect(found.reads(0, 0, 1).weights[0]).toBeCloseTo(0.8, 4);
});

test("other bytes are refused", () => {
  expect(() => new Capture(new TextEncoder().encode("not a capture").buffer)).toThrow(/begin with "not a ca"/);
});

test("blocks are cut as torch.tensor_split cuts", () => {
  const found = new Capture(packed(2, ["a", "b", "c", "d", "e", "f", "g", "h"]));
  expect([0, 1, 2].map((block) => found.block(block))).toEqual([[0, 2], [3, 5], [6, 7]]);
});

test("scales: zero to the highest, symmetric for differences, decades for logarithms", () => {
  const plain = scaleOf([0.1, 0.4]);
  expect([plain.low, plain.high]).toEqual([0, 0.4]);
  expect(position(0.2, plain)).toBeCloseTo(0.5);
  const signed = scaleOf([-0.1, 0.3], { signed: true });
  expect([signed.low, signed.high]).toEqual([-0.3, 0.3]);
  expect(rgb(0, signed)).toEqual([247, 247, 247]);
  const log = scaleOf([0, 1], { log: true });
  expect(position(1e-2, log)).toBeCloseTo(0.5);
  expect(colour(0, scaleOf([0]))).toBe("rgb(247,251,255)");
});

test("lightness alone orders the sequential scales", () => {
  const light = (c: number[]): number => 0.299 * c[0] + 0.587 * c[1] + 0.114 * c[2];
  for (const dark of [false, true]) {
    const steps = Array.from({ length: 20 }, (_, i) => light(rgb(i / 19, { low: 0, high: 1, signed: false, log: false, dark })));
    const sorted = [...steps].sort((a, b) => (dark ? a - b : b - a));
    expect(steps).toEqual(sorted);
  }
});

test("tokens and numbers can be read", () => {
  expect([visible("Ġthe"), visible("\n"), visible("")]).toEqual(["␣the", "⏎", "∅"]);
  expect([shown(0.12345), shown(0), shown(1234.5)]).toEqual(["0.123", "0", "1230"]);
});

test("planes and rollout are there if they were packed", () => {
  const found = new Capture(packed(2, ["a", "b", "c"], true));
  expect(found.plane(0, 1)!.share).toBe(0.75);
  expect(Array.from(found.plane(0, 1)!.points.slice(0, 2))).toEqual([12000, 13000]);
  expect(Array.from(found.rollout!)).toEqual([0.125, 0.25, 0.375]);
  expect(new Capture(packed()).plane(0, 1)).toBeUndefined();
  expect(new Capture(packed()).rollout).toBeUndefined();
});

test("a plane from the model is that of the capture", () => {
  const buffer = new ArrayBuffer(2 * (24 + 4));
  new Uint16Array(buffer, 0, 24).set(Array.from({ length: 24 }, (_, i) => i * 1000));
  new Float32Array(buffer, 48).set([0.5, 0.75]);
  const found = new Capture(packed(2, ["a", "b", "c"], true));
  expect(planes(buffer, 2)).toEqual([found.plane(0, 0), found.plane(0, 1)]);
});

test("points: queries then keys, tokens evenly spaced, upwards", () => {
  const points = placed({ points: Uint16Array.from([0, 0, 65535, 65535, 0, 65535, 65535, 0]), share: 1 }, 5);
  expect(points.map(({ token, key }) => [token, key])).toEqual([[0, false], [2, false], [0, true], [2, true]]);
  expect([points[0].x, points[0].y]).toEqual([points[2].x, points[3].y]);
  expect(points[1].y).toBeLessThan(points[0].y);
  expect(nearest(points, points[3].x + 3, points[3].y)).toBe(points[3]);
  expect(nearest(points, 210, 210)).toBeUndefined();
});
