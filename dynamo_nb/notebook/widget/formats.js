// Numbers as short texts whose width changes little from one update to the next.

/** Calls per second at which an edge has its maximum width. The scale is logarithmic. */
const MAX_RATE = 10_000;

/** Steps of that scale, so that small changes of a rate repaint nothing. */
const LEVELS = 24;

export const NO_VALUE = "–";

/**
 * The measured traffic of a service or an edge. Times are in seconds, memory is in bytes.
 * @typedef {object} Load
 * @property {number} rate Calls per second.
 * @property {number | null} p50
 * @property {number | null} p99
 * @property {number} in_flight
 * @property {number} errors Failed calls per second.
 * @property {number} failed All failed calls.
 * @property {number | null} [cpu] Percent of one core.
 * @property {number | null} [memory]
 * @property {number | null} [gpu_memory]
 * @property {number} [restarts] Of workers that had ended by themselves.
 */

/**
 * The parts of a load, in the order of display: key, label, text.
 * @type {[keyof Load, string, (load: Load) => string][]}
 */
export const MEASURES = [
  ["rate", "calls", (load) => rate(load.rate)],
  ["p50", "p50", (load) => duration(load.p50)],
  ["p99", "p99", (load) => duration(load.p99)],
  ["in_flight", "in flight", (load) => grouped(load.in_flight ?? 0)],
  ["errors", "errors", (load) => rate(load.errors)],
  ["failed", "failed", (load) => grouped(load.failed ?? 0)],
  ["cpu", "CPU", (load) => percent(load.cpu)],
  ["memory", "memory", (load) => bytes(load.memory)],
  ["gpu_memory", "GPU memory", (load) => bytes(load.gpu_memory)],
  ["restarts", "restarts", (load) => grouped(load.restarts ?? 0)],
];

export function rate(number) {
  if (!number) return "0/s";
  if (number < 0.05) return "<0.1/s";
  if (number < 9.95) return `${number.toFixed(1)}/s`;
  if (number < 99_999.5) return `${grouped(number)}/s`;
  if (number < 999_500) return `${Math.round(number / 1e3)}k/s`;
  return `${(number / 1e6).toFixed(1)}M/s`;
}

export function duration(seconds) {
  if (seconds == null) return NO_VALUE;
  if (seconds < 0.0009995) return `${Math.round(seconds * 1e6)} µs`;
  if (seconds < 0.00995) return `${(seconds * 1e3).toFixed(1)} ms`;
  if (seconds < 0.9995) return `${Math.round(seconds * 1e3)} ms`;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  return age(seconds);
}

export function bytes(number) {
  if (number == null) return NO_VALUE;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  for (; number >= 999.5 && at < units.length - 1; at++) number /= 1024;
  return `${at > 0 && number < 9.95 ? number.toFixed(1) : Math.round(number)} ${units[at]}`;
}

/** number: percent of one core. */
export function percent(number) {
  return number == null ? NO_VALUE : `${grouped(number)} %`;
}

/** A time of today, or of another day with its date. seconds: since the epoch. */
export function clock(seconds) {
  const [then, now] = [new Date(seconds * 1e3), new Date()];
  const time = then.toTimeString().slice(0, 8);
  const two = (number) => String(number).padStart(2, "0");
  if (then.toDateString() === now.toDateString()) return time;
  return `${then.getFullYear()}-${two(then.getMonth() + 1)}-${two(then.getDate())} ${time}`;
}

/** A long time, in its two largest units. */
export function age(seconds) {
  const all = Math.max(0, Math.floor(seconds));
  const [d, h, m, s] = [Math.floor(all / 86400), Math.floor(all / 3600) % 24, Math.floor(all / 60) % 60, all % 60];
  if (d) return `${d} d ${h} h`;
  if (h) return `${h} h ${m} min`;
  return m ? `${m} min ${s} s` : `${s} s`;
}

export function grouped(number) {
  return String(Math.round(number)).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** How busy an edge is, from 0 to 1. */
export function loadLevel(load) {
  if (!load?.rate) return 0;
  return Math.round(Math.min(1, Math.log10(1 + load.rate) / Math.log10(1 + MAX_RATE)) * LEVELS) / LEVELS;
}

/** Label and text of each part of a load that was measured. */
export function loadRows(load) {
  return MEASURES.filter(([key]) => load?.[key] != null).map(([, label, text]) => [label, text(load)]);
}

/** A load as a sentence for screen readers. */
export function loadSentence(load) {
  if (!load) return "";
  const parts = [`${rate(load.rate).replace("/s", "")} calls per second`];
  if (load.p50 != null) parts.push(`p50 ${duration(load.p50)}`);
  if (load.p99 != null) parts.push(`p99 ${duration(load.p99)}`);
  if (load.in_flight) parts.push(`${load.in_flight} in flight`);
  if (load.errors) parts.push(`${rate(load.errors).replace("/s", "")} errors per second`);
  return parts.join(", ");
}
