// What happened to one request, step by step: the flow's drawing and its words come from the same list. Pure.

import { describe } from "../decisions.js";
import { entryName, plural, policyName, targetText, took } from "../format.js";

export const LANES = ["client", "gateway", "exchanger", "issuer", "upstream"];

/**
 * Return `{lanes, steps}`. A lane is `{id, title, note, reached}`. A step is `{from, to, label, text, tone, dashed, took}`; one with `from`
 * equal to `to` happens there. `tone` is "", "good", "bad" or "quiet"; `dashed` is what was shared or did not arrive.
 * `siblings` is how many other requests shared the exchange.
 */
export function flow(item, siblings = 0) {
  const allowed = item.result === "allowed";
  const steps = [
    step("client", "gateway", `${item.method || "request"}`, `The client sends ${item.method || "a request"} ${item.host}${item.path}.`),
    step("gateway", "exchanger", item.asked_by === "ext_proc" ? "ext_proc" : "ext_authz", `Envoy asks by its filter ${item.asked_by}, and waits.`),
    decided(item),
    ...judged(item),
    ...exchanged(item, siblings),
    allowed ? letThrough(item) : turnedDown(item),
    allowed ? onwards(item) : back(item),
  ];
  const reached = new Set(steps.flatMap(({ from, to }) => [from, to]));
  const lanes = [
    lane("client", "client", ""),
    lane("gateway", "Envoy", item.asked_by),
    lane("exchanger", "exchanger", took(item.duration_ms)),
    lane("issuer", "token endpoint", item.exchange?.endpoint ?? ""),
    lane("upstream", "upstream", item.host),
  ].map((one) => ({ ...one, reached: reached.has(one.id) }));
  return { lanes, steps };
}

function lane(id, title, note) {
  return { id, title, note };
}

function step(from, to, label, text, more = {}) {
  return { from, to, label, text, tone: "", dashed: false, took: null, ...more };
}

function decided(item) {
  const { word, sentence } = describe(item.decision);
  const policy = policyName(item.policy);
  const where = policy ? `${policy}, ${entryName(item.policy.entry)}` : "no policy";
  const readings = item.readings?.length > 1 ? ` The path can be read in ${item.readings.length} ways: ${item.readings.join(", ")}.` : "";
  if (item.exchange) return step("exchanger", "exchanger", policy, `${where} asks for an exchange.${readings}`);
  if (item.decision === "deny_policy_unhealthy") return blocked(item, policy && where, readings);
  const tone = item.result === "allowed" ? "good" : "bad";
  const detail = item.detail ? ` ${item.detail}` : "";
  return step("exchanger", "exchanger", policy || "no policy", `${where}: ${word}. ${sentence}${detail}${readings}`, { tone });
}

/** What is broken decides nothing: it blocks, and entries that conflict block each other. */
function blocked(item, where, readings) {
  const why = item.detail || describe(item.decision).sentence;
  const text = item.conflict ? `Conflict: ${why}.` : where ? `Blocked by ${where}: ${why}.` : `Blocked: ${why}.`;
  const label = item.conflict ? "conflict" : where ? `blocked by ${policyName(item.policy)}` : "blocked";
  return step("exchanger", "exchanger", label, `${text.replace(/\.\.$/, ".")}${readings}`, { tone: "bad" });
}

/** The gate, of issuers that have one: it judges the caller's token before anything is asked. */
function judged({ subject, diagnostic, detail }) {
  const here = (label, text, more) => [step("exchanger", "exchanger", label, text, more)];
  if (diagnostic === "TXE-4002") {
    return here("not judged", `The caller's token cannot be judged, so nothing is asked of the token endpoint (TXE-4002)${detail ? `: ${detail}` : ""}.`, { tone: "bad" });
  }
  if (!subject) return [];
  if (subject.refusal) return here("token refused", `The caller's token is judged, and refused (TXE-4001): ${subject.refusal}.`, { tone: "bad" });
  const actors = subject.actors ? ` It names those who act for its subject; their digest is ${subject.actors}.` : "";
  return here("token passes", `The caller's token is judged by its issuer's keys, and passes.${actors}`);
}

function exchanged(item, siblings) {
  const { exchange } = item;
  if (!exchange || GATE.has(item.diagnostic)) return [];
  const asks = targetText(item.target) || "token";
  const shared = exchange.coalesced;
  const others = siblings ? ` ${plural(siblings, "other request")} seen here shared it.` : "";
  const asking = shared
    ? step("exchanger", "issuer", "shared call", `An equal exchange (${asks}) was under way at ${exchange.endpoint}, and this request waits for its end.${others}`, { dashed: true })
    : step("exchanger", "issuer", short(item.target), `The exchanger asks ${exchange.endpoint} for a token: ${asks}.${others}`);
  const time = took(exchange.duration_ms);
  const wrong = item.decision !== "allow_exchange";
  if (NOT_CALLED[item.diagnostic]) {
    return [step("exchanger", "exchanger", "not called", `${NOT_CALLED[item.diagnostic]}${codeText(item)}.`, { tone: "bad" })];
  }
  if (!exchange.status) {
    const why = exchange.duration_ms === null ? "No call was made, or nobody waited for its end" : unanswered(exchange.error, time);
    const text = `${why}${codeText(item)}.`;
    return [asking, step("issuer", "exchanger", "no answer", text, { tone: "bad", dashed: true, took: exchange.duration_ms })];
  }
  const text = wrong
    ? `It answers ${exchange.status} after ${time}, ${UNUSABLE[item.diagnostic] ?? "which is not a token that can be used"}${codeText(item)}.`
    : `It answers ${exchange.status} with a token after ${time}.`;
  return [asking, step("issuer", "exchanger", String(exchange.status), text, { tone: wrong ? "bad" : "good", took: exchange.duration_ms })];
}

// Codes of answers that the gate gives: the token endpoint has no part in them.
const GATE = new Set(["TXE-4001", "TXE-4002"]);

// Why the token endpoint is not called, by the code of the answer.
const NOT_CALLED = {
  "TXE-1001": "The address of the token endpoint cannot be used, so it is not called",
  "TXE-1002": "The request to the token endpoint cannot be built, so it is not called",
  "TXE-1006": "The token endpoint fails, so it is not called for now",
  "TXE-1007": "The issuer's limit of calls to the token endpoint was reached, and there was no place for this one in time",
  "TXE-1008": "It is not known where the token endpoint is, so it is not called",
  "TXE-1009": "There is no token for the actor, so the exchange is not asked for",
};

// Why an answer is not a token, where its code says it.
const UNUSABLE = {
  "TXE-2006": "since no user is behind the caller's token, and nobody can act on behalf of an application",
};

function unanswered(error, time) {
  switch (error) {
    case "timeout": return `No answer came within ${time}`;
    case "transport_error": return `It could not be reached, or left without an answer, after ${time}`;
    case "context_canceled": return `Nobody waited any longer for its answer, after ${time}`;
    default: return `No usable answer came within ${time}`;
  }
}

function codeText(item) {
  return `${item.diagnostic ? ` (${item.diagnostic})` : ""}${item.detail ? `: ${item.detail}` : ""}`;
}

function letThrough(item) {
  const fresh = item.decision === "allow_exchange";
  const { word } = describe(item.decision);
  return step("exchanger", "gateway", fresh ? "OK, new token" : "OK", fresh
    ? `${word}: the request passes, with the new token in place of the caller's.`
    : `${word}: the request passes unchanged.`, { tone: "good" });
}

function onwards(item) {
  const fresh = item.decision === "allow_exchange";
  return step("gateway", "upstream", item.method || "request", fresh
    ? "Envoy sends the request to the upstream with the new token."
    : "Envoy sends the request to the upstream as it came.", { tone: "good" });
}

function turnedDown(item) {
  return step("exchanger", "gateway", `deny ${item.status}`, `${describe(item.decision).word}: the exchanger refuses the request with ${item.status}.`, { tone: "bad" });
}

function back(item) {
  return step("gateway", "client", String(item.status), `Envoy answers the client with ${item.status}. The upstream never sees the request.`, { tone: "bad" });
}

/** Return the one word that says most of what is asked for. */
function short(target) {
  return target?.scope || target?.audiences?.[0] || target?.resources?.[0] || "token";
}

/**
 * Return the items that shared one call with `item`: equal exchanges that overlapped with it in time. Which of them carried an equal token is
 * not known here, so an item that called for itself is counted only when it can be the one that the others joined.
 */
export function sharers(item, items) {
  if (!item.exchange) return [];
  const key = exchangeKey(item);
  return items.filter((other) =>
    other.key !== item.key && other.epoch === item.epoch && other.exchange && exchangeKey(other) === key && overlap(item, other) &&
    (item.exchange.coalesced || other.exchange.coalesced));
}

function exchangeKey(item) {
  return JSON.stringify([item.exchange.endpoint, item.issuer, item.target, item.exchange.status]);
}

function overlap(a, b) {
  return a.at - a.duration_ms <= b.at && b.at - b.duration_ms <= a.at;
}
