// Numbers and names as people read them, and the DOM in short.

/** An element with attributes and children; text is only ever set as text. */
function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const byId = (id) => document.getElementById(id);

function scaled(value, units, base) {
  let unit = 0;
  while (value >= base * 0.99995 && unit + 1 < units.length) {
    value /= base;
    ++unit;
  }
  return [value, units[unit], unit];
}

/** "1.5 GB", in powers of ten. */
function bytes(count) {
  const [value, unit, step] = scaled(count, ["B", "kB", "MB", "GB", "TB", "PB"], 1000);
  return step === 0 ? `${Math.round(value)} ${unit}` : `${value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ${unit}`;
}

/** "1.25 ms". */
function seconds(time) {
  const [value, unit] = scaled(time * 1e9, ["ns", "µs", "ms", "s"], 1000);
  return `${value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ${unit}`;
}

const grouped = (count) => count.toLocaleString("en-US");

function ratio(value) {
  return value >= 1000 ? grouped(Math.round(value)) : value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

function percent(share, digits = 1) {
  const value = 100 * share;
  if (value > 0 && value < 0.1 && digits === 1) return "< 0.1 %";
  return `${value.toFixed(digits)} %`;
}

/** With a sign of its own, since it says in which direction. */
const signed = (share) => `${share < 0 ? "−" : "+"}${percent(Math.abs(share))}`;

/** Control characters and those that turn the direction of text, which names in files can have, as what they are. */
function visible(text) {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
    (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
}

/** A name for places that are small: the middle of a long one is left out. */
function shortened(name, most = 90) {
  const text = visible(name === "" ? "(no name)" : name);
  if (text.length <= most) return text;
  const points = Array.from(text);
  return `${points.slice(0, most - 31).join("")} … ${points.slice(-28).join("")}`;
}

const shapeText = (shape) => (shape.length === 0 ? "scalar" : shape.map(grouped).join(" × "));

const plural = (count, one, many = `${one}s`) => `${grouped(count)} ${count === 1 ? one : many}`;

/** What bits are for: the label, and what it means. */
const USES = {
  values: ["as they are", "mantissas and signs, bits that vary"],
  codes: ["codes", "short codes, and offsets from a base"],
  exceptions: ["exceptions", "patches, escapes, misses: what elements unlike the others take"],
  marks: ["participation", "which elements have the invariant bits"],
  positions: ["positions", "where elements are that are not the background"],
  raw_rows: ["raw rows", "rows that are stored as they are"],
  plan: ["plan", "the codec's masks and tables"],
  map: ["map of repeats", "which stored row each row is"],
  index: ["index", "where each row starts"],
  slots: ["slots", "tags of slots, and places of what does not fit"],
  padding: ["padding", "up to whole bytes, slots and sections"],
  header: ["header", "dtype, shape, sizes, checksums"],
};

const CODECS = ["raw", "ibp", "window", "escape", "sparse", "dictionary", "rans"];

/** Bits a number of the bound: the entropy of exponents, and the rest as it is. */
const boundBits = (tensor) => tensor.exponents.entropy_bits + tensor.exponents.rest_bits;

const numNumbers = (tensor) => (tensor.exponents ? 8 * tensor.raw_bytes / tensor.exponents.word_bits : 0);

/** How much more than the bound is stored, as a share of it; null where that says nothing. */
function aboveBound(tensor) {
  if (!tensor.exponents) return null;
  const bound = boundBits(tensor) * numNumbers(tensor);
  return bound === 0 ? null : 8 * tensor.stored_bytes / bound - 1;
}

/** What is stored for a tensor, but for one that is stored with another. */
const storedOnce = (tensor) => (tensor.same_as === null ? tensor.stored_bytes : 0);

const isSampled = (tensor) => tensor.sampled_bytes < tensor.raw_bytes;
