// The policy tab: the documents that decide with their entries marked, and why the other candidates did not win.

import { codeBox, problemList, problemText } from "../code.js";
import { el, icon, put, table } from "../dom.js";
import { count, entryName, plural, policyName } from "../format.js";

const VERDICTS = {
  exchange: "would be exchanged", allow: "would pass unchanged", deny: "would be denied", no_match: "would match no policy", unhealthy: "would be blocked",
  ambiguous: "would be refused as ambiguous",
};

const DOCUMENTS = 4; // that are shown for one request; the others are in the table
const TRIES = 3; // to get all answers from one version of the policy
const KINDS = { won: "good", conflict: "warn", "blocked by": "bad" };
const SYMBOLS = { won: "ok", conflict: "changed", "blocked by": "broken", no: "no" };

/** Fill `panel`; what the service says of the policy is asked for anew, since it is that of now. */
export function showPolicy(panel, item, { api }) {
  if (!item.method || !item.path) {
    put(panel, el("p", { class: "note", text: "The gateway did not send the request's attributes, so no policy could be looked up." }));
    return undefined;
  }
  const left = new AbortController();
  put(panel, el("p", { class: "muted loading", text: "Loading the policy …" }));
  asked(api, item, left.signal).then(({ explained, deciders, documents }) => {
    if (left.signal.aborted) return;
    const revision = explained.value?.revision ?? documents.find(({ value }) => value)?.value.revision;
    const parts = documents.map((document, i) => documentPart(item, document, deciders, i === 0));
    put(panel, changed(item, revision), parts.length ? parts.map(({ nodes }) => nodes) : el("p", { class: "note", text: undecided(item) }),
      explained.status === "fulfilled" ? considered(item, explained.value) : failure(explained.reason, null));
    parts.forEach(({ reveal }) => reveal());
  });
  return () => left.abort();
}

/**
 * Return why the request is decided as it is, the entries that decide, and the documents that they are in. An entry is known by its position, so
 * all of that has to be of one version: positions of the version that decided say nothing of another one.
 */
async function asked(api, item, signal) {
  for (let left = TRIES; ; left -= 1) {
    const question = { method: item.method, host: item.host, path: item.path, raw: item.path_is_raw === true };
    const [explained] = await Promise.allSettled([item.path_cut ? null : api.get("api/explain", question, { signal })]);
    const deciders = (explained.value?.candidates ?? []).map((entry) => ({ ...entry, outcome: outcomeOf(entry) })).filter(({ outcome }) => outcome !== "no");
    const places = new Map([item.policy, ...deciders].filter(Boolean).map(({ namespace, name }) => [`${namespace}/${name}`, { namespace, name }]));
    const some = [...places.values()].slice(0, DOCUMENTS);
    const found = await Promise.allSettled(some.map((place) => api.get("api/policy/document", place, { signal })));
    const documents = found.map((one, i) => ({ ...one, place: some[i] }));
    const versions = new Set([explained, ...documents].filter(({ value }) => value).map(({ value }) => value.revision));
    if (versions.size < 2) return { explained, deciders, documents };
    if (left === 1) return { explained, deciders: [], documents };
  }
}

/** Return what a candidate is to the request: won, conflict, blocked by, or no. What is broken never wins. */
function outcomeOf({ outcome, won, action }) {
  return outcome ?? (won ? (action === "invalid" ? "blocked by" : "won") : "no"); // as a service before it says it
}

function undecided(item) {
  if (item.decision !== "deny_policy_unhealthy") return "No document decided this request.";
  return `${item.detail ? `Blocked: ${item.detail}. ` : ""}No document shown here blocks it.`;
}

function failure(error, place) {
  return el("p", { class: "note bad", text: error.status === 404 && place ? `${policyName(place)} no longer exists.` : error.message });
}

/** Say when another version is active than the one that decided. */
function changed(item, revision) {
  if (revision === undefined || item.revision === undefined || revision === item.revision) return null;
  return el("p", { class: "note warn" }, icon("broken"),
    el("span", { text: `The policy has changed since: version ${count(item.revision)} decided, and version ${count(revision)} is shown here, with what decides now marked.` }));
}

/** Return a document with the entries that decide. */
function documentPart(item, { value: found, reason, place }, deciders, first) {
  if (!found) return { nodes: [failure(reason, place)], reveal() {} };
  const same = found.revision === item.revision || item.revision === undefined;
  const here = new Map(deciders.filter(({ namespace, name }) => namespace === found.namespace && name === found.name).map(({ entry, outcome }) => [entry, outcome]));
  // Where the path is shown cut nothing is explained, and the entry's position is that of the version that decided alone.
  if (same && first && item.policy && !here.size) here.set(item.policy.entry, item.decision === "deny_policy_unhealthy" ? "blocked by" : "won");
  const marks = [...here].flatMap(([entry, outcome]) => {
    // A document that is unreadable as a whole has no entries, but usually a line to look at.
    const lines = [...found.entries, ...found.problems].find((one) => one.entry === entry && one.line);
    return lines ? [{ from: lines.line, to: lines.end_line ?? lines.line, tag: outcome, kind: KINDS[outcome], label: labelOf(outcome, same) }] : [];
  }).sort((a, b) => a.from - b.from);
  const entries = [...here.keys()];
  const names = entries.map(entryName).join(", ");
  const title = el("h3", {}, `${policyName(found)} `, el("span", { class: "muted", text: names }));
  const link = el("a", { href: documentHash({ ...found, entry: entries[0] }), text: "Open the document" });
  if (found.text === null) return { nodes: [title, el("p", { class: "note", text: "The document's text cannot be shown." }), problemList(found.problems), link], reveal() {} };
  const notes = found.problems.filter(({ line }) => line).map((problem) => ({ ...problem, text: problemText(problem) }));
  const { box, reveal } = codeBox(found.text, { marks, notes, label: marks.length ? `${policyName(found)}, with what decides marked` : `${policyName(found)}, its text` });
  if (marks.length) title.append(el("span", { class: "muted", text: ` lines ${marks.map(({ from, to }) => `${from}–${to}`).join(", ")}` }));
  return { nodes: [title, box, el("p", {}, link)], reveal };
}

function labelOf(outcome, same) {
  if (outcome !== "won") return outcome;
  return same ? "the entry that decided" : "the entry that decides now";
}

/** Return the address of a document in the policy view, with one of its entries marked if there is one. */
export function documentHash({ namespace, name, entry = null }) {
  return `#/policy/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}${entry === null ? "" : `/${entry}`}`;
}

/** Return what was considered. A path that is shown cut is another path, of which the answer may be another. */
function considered(item, explained) {
  return explained ? candidates(item, explained) : el("p", { class: "note", text: "The path is not shown completely, so it cannot be explained again." });
}

function candidates(item, { verdict, readings, candidates: found, more }) {
  const now = VERDICTS[verdict.kind] ?? verdict.kind;
  return [
    el("h3", { text: "What was considered" }),
    el("p", { text: `Decided again now, this request ${now}${verdict.policy ? ` by ${policyName(verdict.policy)}, ${entryName(verdict.policy.entry)}` : ""}${needsReason(verdict) ? `: ${verdict.reason}.` : "."}` }),
    candidateTable(item.host, { readings, candidates: found, more }),
  ];
}

/** Return how the path can be read, and every entry that was considered with what it is to the request. */
export function candidateTable(host, { readings, candidates: found, more }) {
  return [
    readings.length > 1 && el("p", { class: "muted", text: `The path can be read as ${readings.join(", ")}.` }),
    found.length
      ? table("Candidates, nearest first", ["outcome", "entry", "host and prefix", "methods", "why"], found.map(row), { className: "candidates", stacks: true })
      : el("p", { class: "note", text: `No entry covers this path on ${host}.` }),
    more > 0 && el("p", { class: "muted", text: `${plural(more, "more entry", "more entries")} that cover it are not shown.` }),
  ];
}

/** Return whether a verdict's reason says more than its kind. */
const needsReason = ({ kind, reason }) => Boolean(reason) && ["unhealthy", "ambiguous"].includes(kind);

function row(entry) {
  const outcome = outcomeOf(entry);
  return el("tr", { class: KINDS[outcome] ? `o-${KINDS[outcome]}${outcome === "won" ? " won" : ""}` : null },
    el("td", {}, el("span", { class: "verdict" }, icon(SYMBOLS[outcome] ?? "no"), outcome)),
    el("th", { scope: "row" }, el("a", { href: documentHash(entry), text: policyName(entry) }), el("span", { class: "muted sub", text: `${entryName(entry.entry)} ${entry.action}` })),
    el("td", { class: "mono" }, `${entry.host ?? "any host"} ${entry.path_prefix}${entry.case_insensitive ? " (any case)" : ""}`),
    el("td", { text: entry.methods ? entry.methods.join(", ") : "all" }),
    el("td", { text: entry.why }));
}
