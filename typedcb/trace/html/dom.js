// Elements, numbers as people read them, and bytes.

const $ = (id) => document.getElementById(id);

/** Makes an element. Attributes that are functions are listeners; all text is text, never markup. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (name === "style") made.style.cssText = value;
    else if (value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function duration(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  if (seconds < 1e-3) return `${trimmed(seconds * 1e6)} µs`;
  if (seconds < 1) return `${trimmed(seconds * 1e3)} ms`;
  if (seconds < 120) return `${trimmed(seconds)} s`;
  if (seconds < 7200) return `${trimmed(seconds / 60)} min`;
  return `${trimmed(seconds / 3600)} h`;
}

function trimmed(number) {
  return number >= 100 ? number.toFixed(0) : number >= 10 ? number.toFixed(1) : number.toFixed(2);
}

function shortNumber(number) {
  if (Number.isInteger(number) && Math.abs(number) < 1e6) return String(number);
  const size = Math.abs(number);
  return size !== 0 && (size < 1e-3 || size >= 1e6) ? number.toExponential(2) : String(Number(number.toPrecision(4)));
}

/** A number on an axis that spans so much: with as many digits as tell its labels apart. */
function axisNumber(number, span) {
  const size = Math.max(Math.abs(number), span);
  if (!Number.isFinite(size) || size === 0) return shortNumber(number);
  if (size >= 1e6 || size < 1e-3) return number.toExponential(1 + Math.min(3, Math.max(0, Math.floor(Math.log10(size / span)))));
  return number.toFixed(Math.min(7, Math.max(0, 1 - Math.floor(Math.log10(span)))));
}

const counted = (count) => count.toLocaleString("en").replaceAll(",", "\u202f");

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let place = 0; place < text.length; place++) bytes[place] = text.charCodeAt(place);
  return bytes;
}

/** A column of numbers; the page is written little-endian, as every browser's machine is. */
const columnOf = (base64, Kind) => new Kind(bytesOf(base64).buffer);

async function inflated(base64) {
  const stream = new Blob([bytesOf(base64)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).text();
}

/** Fits a canvas to its place on the screen; its context draws in CSS pixels. */
function prepared(canvas, height) {
  const width = canvas.clientWidth, ratio = window.devicePixelRatio || 1;
  if (height) canvas.style.height = `${height}px`;
  const tall = height || canvas.clientHeight;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(tall * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(tall * ratio);
  }
  const drawing = canvas.getContext("2d");
  drawing.setTransform(ratio, 0, 0, ratio, 0, 0);
  drawing.clearRect(0, 0, width, tall);
  return { drawing, width, height: tall };
}

/** Calls once before the next picture, however often it is asked for. */
function beforePaint(draw) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; draw(); });
  };
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

const HOOK_COLOURS = {
  begin_fit: "#7d8ba0", after_fit: "#7d8ba0", begin_epoch: "#9277f2", after_epoch: "#9277f2",
  begin_batch: "#4f8ff7", after_pred: "#1fb6d4", after_loss: "#f0a020", after_backward: "#ec6fae",
  after_step: "#2fbf84", after_batch: "#8c9bb0", begin_validate: "#19a99a", after_validate: "#19a99a",
  after_cancel_batch: "#e5484d", after_cancel_epoch: "#e5484d", after_cancel_train: "#e5484d",
};
const hookColour = (hook) => HOOK_COLOURS[hook] || "#7d8ba0";
const SERIES_COLOURS = ["#4f8ff7", "#f0a020", "#2fbf84", "#ec6fae", "#9277f2", "#1fb6d4"];
const isStop = (answer) => answer.startsWith("Cancel") || answer.startsWith("Skip");
