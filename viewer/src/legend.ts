/** A bar of colours with its numbers. */

import { colour, type Scale } from "./colour";
import { make, shown } from "./dom";

const STEPS = 9;

export function legend(scale: Scale, what: string): HTMLElement {
  const stops = Array.from({ length: STEPS }, (_, i) => {
    const part = i / (STEPS - 1);
    const bottom = Math.max(scale.low, scale.high * 1e-4);
    const value = scale.log ? bottom * (scale.high / bottom) ** part : scale.low + part * (scale.high - scale.low);
    return colour(value, scale);
  });
  const strip = make("span", { class: "strip", style: `background:linear-gradient(90deg,${stops.join(",")})` });
  const low = scale.log ? Math.max(scale.low, scale.high * 1e-4) : scale.low;
  const label = `${what}: from ${shown(low)} to ${shown(scale.high)}${scale.log ? ", logarithmic" : ""}`;
  return make("div", { class: "legend", role: "img", "aria-label": label }, shown(low), strip, shown(scale.high), ` ${what}`);
}
