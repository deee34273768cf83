// The colours of the style sheet, for drawing on a canvas.

import { KIND_CLASSES } from "./marks";

export interface Palette {
  ink: string;
  mute: string;
  line: string;
  bg: string;
  accent: string;
  bad: string;
  badTint: string;
  kinds: string[]; // as KIND_CLASSES
  tints: string[];
  font: string;
}

/** Read the current colours; call it again when the theme changes. */
export function palette(): Palette {
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string) => style.getPropertyValue(`--${name}`).trim();
  const ground = colour("bg");
  const kinds = KIND_CLASSES.map(colour);
  return {
    ink: colour("ink"),
    mute: colour("mute"),
    line: colour("line"),
    bg: ground,
    accent: colour("accent"),
    bad: colour("bad"),
    badTint: mixed(colour("bad"), ground, 0.26),
    kinds,
    tints: kinds.map((each) => mixed(each, ground, 0.3)),
    font: getComputedStyle(document.body).fontFamily,
  };
}

function mixed(colour: string, ground: string, part: number): string {
  const [above, below] = [colour, ground].map(channels);
  return `rgb(${above.map((value, k) => Math.round(value * part + below[k] * (1 - part))).join(" ")})`;
}

function channels(colour: string): number[] {
  const digits = colour.slice(1);
  const wide = digits.length === 3 ? digits.replace(/./g, "$&$&") : digits;
  return [0, 2, 4].map((k) => parseInt(wide.slice(k, k + 2), 16));
}
