// What the decisions are called and how they look: six families with an icon, a word and a colour each. Pure but for `badge`.
// The labels are those of the service's metrics and logs (`decision`).

import { el, icon } from "./dom.js";

/** In the order in which charts stack them, from what is usual to what is worst. */
export const FAMILIES = [
  { id: "exchanged", word: "exchanged" },
  { id: "passed", word: "passed" },
  { id: "token", word: "no usable token" },
  { id: "refused", word: "refused" },
  { id: "failed", word: "exchange failed" },
  { id: "broken", word: "policy broken" },
];

const KNOWN = {
  allow_exchange: ["exchanged", "Exchanged", "The caller's token was traded; the upstream gets the new one."],
  allow_unmatched: ["passed", "No policy", "No policy speaks of this request, so it goes on as it came."],
  allow_explicit_policy: ["passed", "Allowed", "An entry with action: allow matches, so the request passes unchanged."],
  allow_options_bypass: ["passed", "Preflight", "A browser's preflight brings no token, and passes."],
  deny_missing_bearer: ["token", "No token", "The policy asks for a bearer token, and none was there."],
  deny_invalid_bearer: ["token", "Bad token", "What came as a bearer token cannot be one."],
  deny_explicit_policy: ["refused", "Denied", "A policy says so."],
  deny_unmatched_default: ["refused", "Not listed", "No policy speaks of this request, and then it is denied here."],
  deny_ambiguous_request: ["refused", "Ambiguous", "The request can be read in ways that lead to different decisions."],
  deny_exchange_error: ["failed", "Exchange failed", "There was no new token for the upstream."],
  deny_policy_unhealthy: ["broken", "Policy broken", "What decides here is invalid, ambiguous or not known yet."],
  missing_http_attributes: ["broken", "No request", "The gateway asked without saying what the request is."],
};

/** The labels that are known, in the order of their families. */
export const LABELS = Object.keys(KNOWN);

/** Return family, word and sentence of a decision label. One that is not known yet is shown as it is. */
export function describe(label) {
  const known = Object.hasOwn(KNOWN, label) ? KNOWN[label] : null;
  if (known) return { family: known[0], word: known[1], sentence: known[2] };
  const allowed = String(label).startsWith("allow_");
  return { family: allowed ? "passed" : "refused", word: String(label).replace(/^(allow|deny)_/, "").replaceAll("_", " "), sentence: "" };
}

/** Return a decision as icon and word, in its family's colour. */
export function badge(label) {
  const { family, word } = describe(label);
  return el("span", { class: `badge f-${family}` }, icon(family), el("span", { text: word }));
}

/** Return the counts of a `decisions` mapping by family. */
export function byFamily(decisions) {
  const sums = Object.fromEntries(FAMILIES.map(({ id }) => [id, 0]));
  for (const [label, n] of Object.entries(decisions)) sums[describe(label).family] += n;
  return sums;
}
