/** Making elements. */

type Child = Node | string;

export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, string> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A labelled choice; calls back with the chosen value. */
export function choice(label: string, values: string[], chosen: string, change: (value: string) => void): HTMLElement {
  const select = make("select", { "aria-label": label });
  for (const value of values) {
    const option = make("option", { value }, value);
    option.selected = value === chosen;
    select.append(option);
  }
  select.addEventListener("change", () => change(select.value));
  return make("label", {}, `${label} `, select);
}

/** A labelled check box. */
export function check(label: string, on: boolean, change: (on: boolean) => void): HTMLElement {
  const box = make("input", { type: "checkbox", "aria-label": label });
  box.checked = on;
  box.addEventListener("change", () => change(box.checked));
  return make("label", {}, box, ` ${label}`);
}

export function button(label: string, press: () => void): HTMLButtonElement {
  const element = make("button", { type: "button" }, label);
  element.addEventListener("click", press);
  return element;
}

/** A number as it is shown: three significant digits. */
export const shown = (value: number): string => (value === 0 ? "0" : Number(value.toPrecision(3)).toString());

/** A token that can be seen: blanks and line ends as signs. */
export const visible = (token: string): string => token.replace(/[ĠÂ▁]/g, "␣").replace(/[\nĊ]/g, "⏎").replace(/\t/g, "⇥") || "∅";
