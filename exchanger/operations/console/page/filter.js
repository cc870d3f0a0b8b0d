// Which items a filter lets through. Pure.

import { describe } from "./decisions.js";
import { policyName } from "./format.js";

export const NOTHING = { text: "", decision: "", host: "", policy: "" };

/** The clients that got a 5xx. */
export const ERRORS = "result:system_error";

/** Return how many fields of `filter` leave anything out. */
export const active = (filter) => Object.values(filter).filter(Boolean).length;

/** Return whether `filter` leaves anything out. */
export const isActive = (filter) => active(filter) > 0;

/**
 * Return a predicate. `decision` is a label, `family:<id>` or `result:<label>` (several with `|`); the others are found anywhere in their
 * field, in any case. Each word of `text` has to be somewhere in the item.
 */
export function matcher(filter) {
  const host = filter.host.trim().toLowerCase();
  const policy = filter.policy.trim().toLowerCase();
  const words = filter.text.toLowerCase().split(/\s+/).filter(Boolean);
  const decides = decisionTest(filter.decision);
  return (item) =>
    decides(item) &&
    (!host || (item.host ?? "").toLowerCase().includes(host)) &&
    (!policy || policyName(item.policy).toLowerCase().includes(policy)) &&
    (!words.length || hasWords(item, words));
}

function decisionTest(wanted) {
  if (!wanted) return () => true;
  const [kind, value] = wanted.includes(":") ? wanted.split(":", 2) : ["label", wanted];
  const values = new Set(value.split("|"));
  if (kind === "family") return (item) => values.has(describe(item.decision).family);
  if (kind === "result") return (item) => values.has(item.result);
  return (item) => values.has(item.decision);
}

function hasWords(item, words) {
  const text = searchText(item);
  return words.every((word) => text.includes(word));
}

/** Return what the free text is looked for in. */
export function searchText(item) {
  return [
    item.method, `${item.host ?? ""}${item.path ?? ""}`, item.decision, describe(item.decision).word, policyName(item.policy), item.diagnostic,
    item.detail, item.issuer, item.trace_id, item.status, item.exchange?.endpoint, item.exchange?.coalesced ? "shared" : "",
  ].filter((part) => part !== null && part !== undefined).join("\n").toLowerCase();
}
