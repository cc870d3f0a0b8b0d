// What happened to one request, step by step: the flow's drawing and its words come from the same list. Pure.

import { describe } from "../decisions.js";
import { entryName, plural, policyName, targetText, took } from "../format.js";

/**
 * Return `{lanes, steps}`. A lane is `{id, title, note, reached}`. A step is `{from, to, label, text, tone, dashed, took}`; one with `from`
 * equal to `to` happens there. `tone` is "", "good", "bad" or "quiet"; `dashed` is what was shared or did not arrive.
 * `siblings` is how many other requests shared the exchange.
 */
export function flow(item, siblings = 0) {
  const allowed = item.result === "allowed";
  const steps = [
    step("client", "gateway", `${item.method || "request"}`, `The client sends ${item.method || "a request"} ${item.host}${item.path}.`),
    step("gateway", "exchanger", ["ext_proc", "http"].includes(item.asked_by) ? item.asked_by : "ext_authz", item.asked_by === "http" ? "The gateway asks over HTTP, and waits." : `Envoy asks with its filter ${item.asked_by}, and waits.`),
    decided(item),
    ...judged(item),
    ...exchanged(item, siblings),
    allowed ? letThrough(item) : turnedDown(item),
    allowed ? onwards(item) : back(item),
  ];
  const first = item.exchange?.first_leg;
  const reached = new Set(steps.flatMap(({ from, to }) => [from, to]));
  const lanes = [
    lane("client", "client", ""),
    lane("gateway", item.asked_by === "http" ? "gateway" : "Envoy", item.asked_by),
    lane("exchanger", "exchanger", took(item.duration_ms)),
    ...(first ? [lane("first", "first issuer", first.endpoint)] : []),
    lane("issuer", first ? "second issuer" : "token endpoint", first?.failed ? "" : item.exchange?.endpoint ?? ""),
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
  // Its word may be some seconds old, or be another request's: then nothing is sent.
  const asked = (label, text, more) => [
    step("exchanger", "issuer", "introspect", "The exchanger asks the issuer about the caller's token, unless it did so just before.", { dashed: true }),
    step("issuer", "exchanger", label, text, more),
  ];
  if (diagnostic === "TXE-4004") {
    return asked("no verdict", `Its issuer cannot be asked about the caller's token, so no token is requested (TXE-4004)${detail ? `: ${detail}` : ""}.`, { tone: "bad" });
  }
  if (diagnostic === "TXE-4002") {
    return here("not verified", `The caller's token cannot be verified, so the token endpoint is not called (TXE-4002)${detail ? `: ${detail}` : ""}.`, { tone: "bad" });
  }
  if (!subject) return [];
  if (subject.introspected && subject.refusal) return asked("not active", `The caller's token does not pass (TXE-4003): ${subject.refusal}.`, { tone: "bad" });
  if (subject.refusal) return here("token refused", `The caller's token is verified and rejected (TXE-4001): ${subject.refusal}.`, { tone: "bad" });
  const actors = subject.actors ? ` It names the actors of its subject; their digest is ${subject.actors}.` : "";
  if (subject.introspected) return asked("active", `Its issuer says that the caller's token is active.${actors}`, {});
  return here("token passes", `The caller's token is verified with its issuer's keys.${actors}`);
}

function exchanged(item, siblings) {
  const { exchange } = item;
  if (!exchange || GATE.has(item.diagnostic)) return [];
  const wrong = item.decision !== "allow_exchange";
  const second = { lane: "issuer", call: exchange, short: short(item.target), asks: targetText(item.target) || "token", what: "a token", wrong };
  if (!exchange.first_leg) return leg(item, siblings, second);
  const call = { ...exchange.first_leg, coalesced: exchange.coalesced };
  const first = { lane: "first", call, short: "assertion", asks: second.asks, what: "an assertion", wrong: call.failed };
  if (call.failed) return leg(item, siblings, first);
  const kept = step("exchanger", "exchanger", "assertion kept", `The assertion of ${call.endpoint} is kept from before, and is sent again.`);
  return [...(call.duration_ms === null ? [kept] : leg(item, siblings, first)), ...leg(item, siblings, second)];
}

/** Return the question to an issuer and its answer: the only one, or one of two in a row. */
function leg(item, siblings, { lane: to, call: exchange, short: label, asks, what, wrong }) {
  const shared = exchange.coalesced;
  const others = siblings ? ` ${plural(siblings, "other request")} seen here shared it.` : "";
  const asking = shared
    ? step("exchanger", to, "shared call", `An equal exchange (${asks}) was in progress at ${exchange.endpoint}, and this request waits for its result.${others}`, { dashed: true })
    : step("exchanger", to, label, `The exchanger asks ${exchange.endpoint} for ${what}: ${asks}.${others}`);
  const time = took(exchange.duration_ms);
  if (wrong && NOT_CALLED[item.diagnostic]) {
    return [step("exchanger", "exchanger", "not called", `${NOT_CALLED[item.diagnostic]}${codeText(item)}.`, { tone: "bad" })];
  }
  if (!exchange.status) {
    const why = exchange.duration_ms === null ? "No call was made, or no request waited for its end" : unanswered(exchange.error, time);
    const text = `${why}${codeText(item)}.`;
    return [asking, step(to, "exchanger", "no answer", text, { tone: "bad", dashed: true, took: exchange.duration_ms })];
  }
  const text = wrong
    ? `It returns ${exchange.status} after ${time}, ${UNUSABLE[item.diagnostic] ?? "which is not a usable token"}${codeText(item)}.`
    : `It returns ${exchange.status} with ${what} after ${time}.`;
  return [asking, step(to, "exchanger", String(exchange.status), text, { tone: wrong ? "bad" : "good", took: exchange.duration_ms })];
}

// Codes of answers that the gate gives: the token endpoint has no part in them.
const GATE = new Set(["TXE-4001", "TXE-4002", "TXE-4003", "TXE-4004"]);

// Why the token endpoint is not called, by the code of the answer.
const NOT_CALLED = {
  "TXE-1001": "The URL of the token endpoint is not usable, so it is not called",
  "TXE-1002": "The request to the token endpoint cannot be built, so it is not called",
  "TXE-1006": "The token endpoint is failing, so it is temporarily not called",
  "TXE-1007": "The issuer's limit of concurrent calls was reached, and no permit became free in time",
  "TXE-1008": "The token endpoint is unknown, so it is not called",
  "TXE-1009": "There is no actor token, so the exchange is not requested",
};

// Why an answer is not a token, where its code says it.
const UNUSABLE = {
  "TXE-3006": "with a token for somebody or something else than was requested",
  "TXE-3007": "with a token that gives more than was requested, or for longer",
  "TXE-3008": "with a token that cannot be compared with the request",
  "TXE-2007": "since it refuses the caller's token, or the client",
  "TXE-2006": "since the caller's token belongs to an application, and on-behalf-of works only for users",
};

function unanswered(error, time) {
  switch (error) {
    case "timeout": return `No response within ${time}`;
    case "transport_error": return `It could not be reached, or closed the connection without responding, after ${time}`;
    case "context_canceled": return `No request waited for its response any longer, after ${time}`;
    default: return `No usable response within ${time}`;
  }
}

function codeText(item) {
  return `${item.diagnostic ? ` (${item.diagnostic})` : ""}${item.detail ? `: ${item.detail}` : ""}`;
}

function letThrough(item) {
  const fresh = item.decision === "allow_exchange";
  const { word } = describe(item.decision);
  return step("exchanger", "gateway", fresh ? "OK, new token" : "OK", fresh
    ? `${word}: the request passes, with the new token instead of the caller's.`
    : `${word}: the request passes unchanged.`, { tone: "good" });
}

function onwards(item) {
  const fresh = item.decision === "allow_exchange";
  return step("gateway", "upstream", item.method || "request", fresh
    ? "Envoy sends the request to the upstream with the new token."
    : "Envoy sends the request to the upstream unchanged.", { tone: "good" });
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
