// The vocabulary of decisions, for list, filter, flow and charts: six kinds with an icon, a word and a colour each, and a word for each label.
// The labels are those of the service's metrics and logs (`decision`); docs/reference/answers.md has the same words. Pure but for `badge`.

import { el, icon } from "./dom.js";

/** In the order in which charts stack them, from what is usual to what is worst. */
export const FAMILIES = [
  { id: "exchanged", word: "exchanged" },
  { id: "passed", word: "passed" },
  { id: "token", word: "no valid token" },
  { id: "refused", word: "denied" },
  { id: "failed", word: "exchange failed" },
  { id: "broken", word: "policy unhealthy" },
];

const KNOWN = {
  allow_exchange: ["exchanged", "Exchanged", "The upstream gets the exchanged token instead of the caller's."],
  allow_explicit_policy: ["passed", "Allowed by policy", "An entry with action: allow matches, so the request passes unchanged."],
  allow_unmatched: ["passed", "No policy, passed", "No policy matches, so the request passes unchanged."],
  allow_options_bypass: ["passed", "Preflight", "A CORS preflight carries no token, and passes unchanged."],
  deny_missing_bearer: ["token", "No token", "The policy requires a bearer token, and the request has none."],
  deny_invalid_bearer: ["token", "Invalid token", "The bearer token is too long, or has characters that tokens cannot have."],
  deny_explicit_policy: ["refused", "Denied by policy", "An entry with action: deny matches."],
  deny_unmatched_default: ["refused", "No policy, denied", "No policy matches, and this service denies such requests."],
  deny_ambiguous_request: ["refused", "Ambiguous", "The request can be read in several ways, with different decisions."],
  deny_exchange_error: ["failed", "Exchange failed", "No exchanged token was issued for the upstream."],
  deny_policy_unhealthy: ["broken", "Policy unhealthy", "The policy that would decide is invalid, in conflict or not loaded."],
  missing_http_attributes: ["broken", "No request", "The gateway did not send the request's attributes."],
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

/** Return the status that the client got from the gateway in place of the upstream's answer; null where the upstream answers. */
export const clientStatus = (item) => (item.result === "allowed" ? null : item.status);

/** Return the counts of a `decisions` mapping by family. */
export function byFamily(decisions) {
  const sums = Object.fromEntries(FAMILIES.map(({ id }) => [id, 0]));
  for (const [label, n] of Object.entries(decisions)) sums[describe(label).family] += n;
  return sums;
}
