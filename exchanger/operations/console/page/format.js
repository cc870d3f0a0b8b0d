// Numbers, times and names as people read them. Pure.

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });
const COUNT = new Intl.NumberFormat("en");

/** Return the local time of day with milliseconds. */
export function clock(milliseconds) {
  if (!Number.isFinite(milliseconds)) return "–";
  return `${CLOCK.format(milliseconds)}.${String(Math.floor(milliseconds) % 1000).padStart(3, "0")}`;
}

/** Return the local time of day in hours and minutes. */
export const minute = (milliseconds) => (Number.isFinite(milliseconds) ? CLOCK.format(milliseconds).slice(0, -3) : "–");

/** Return date and time for seconds since 1970, as claims have them. */
export function claimTime(seconds) {
  return DAY.format(seconds * 1000);
}

/** Return a duration with the digits that matter. */
export function took(ms) {
  if (ms === null || ms === undefined || !Number.isFinite(ms)) return "–";
  if (ms < 0.01) return "0 ms";
  if (ms < 1) return `${ms.toFixed(2)} ms`;
  if (ms < 100) return `${ms.toFixed(1)} ms`;
  if (ms < 10_000) return `${Math.round(ms)} ms`;
  return `${(ms / 1000).toFixed(1)} s`;
}

/** Return a whole number with its thousands apart. */
export const count = (n) => COUNT.format(n);

/** Return `n things`, with the noun in its number. */
export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

/** Return how many documents have problems and how many are in conflict, in the words of each view: a sentence for each that there is. */
export const unhealthy = (problems, conflicts) => [
  problems > 0 && `${plural(problems, "document")} ${problems === 1 ? "has" : "have"} problems`,
  conflicts > 0 && `${plural(conflicts, "document")} ${conflicts === 1 ? "is" : "are"} in conflict`,
].filter(Boolean);

/** Return a number a second. */
export function rate(n) {
  if (n === 0) return "0/s";
  return n < 10 ? `${n.toFixed(1)}/s` : `${count(Math.round(n))}/s`;
}

/** Return a share as a percentage: neither nothing nor all unless it is, since a rare error is one. */
export function percent(share) {
  const value = share * 100;
  if (value > 0 && value < 0.1) return "< 0.1 %";
  if (value > 99 && value < 100) return `${Math.min(99.9, value).toFixed(1)} %`;
  return `${value < 10 ? Number(value.toFixed(1)) : Math.round(value)} %`;
}

/** Return how a policy is named: namespace/name. */
export const policyName = (policy) => (policy ? `${policy.namespace}/${policy.name}` : "");

/** Return how an entry is named in its document. */
export const entryName = (entry) => (entry === null || entry === undefined ? "the whole document" : `entries[${entry}]`);

/** Return what an exchange asks for, in one line. */
export function targetText(target) {
  if (!target) return "";
  const parts = [];
  if (target.scope) parts.push(`scope ${target.scope}`);
  if (target.audiences?.length) parts.push(`audience ${target.audiences.join(", ")}`);
  if (target.resources?.length) parts.push(`resource ${target.resources.join(", ")}`);
  if (target.resource_metadata) parts.push(`metadata ${target.resource_metadata}`);
  return parts.join(" · ");
}

/** Return a value of any JSON kind as text. */
export function plain(value) {
  return typeof value === "string" ? value : JSON.stringify(value, null, 1).replaceAll(/\n\s*/g, " ");
}
