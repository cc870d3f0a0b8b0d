// The policy tab: the document that decided with its entry marked, and why the other candidates did not win.

import { codeBox, problemList } from "../code.js";
import { el, icon, put, table } from "../dom.js";
import { count, entryName, plural, policyName } from "../format.js";

const VERDICTS = {
  exchange: "would be exchanged", allow: "would pass unchanged", deny: "would be denied", no_match: "would match no policy", unhealthy: "would meet a broken policy",
  ambiguous: "would be refused as ambiguous",
};

/** Fill `panel`; what the service says of the policy is asked for anew, since it is that of now. */
export function showPolicy(panel, item, { api }) {
  if (!item.method || !item.path) {
    put(panel, el("p", { class: "note", text: "The gateway did not say what the request is, so that no policy could be asked." }));
    return undefined;
  }
  const left = new AbortController();
  put(panel, el("p", { class: "muted loading", text: "Asking for the policy …" }));
  const options = { signal: left.signal };
  const explain = item.path_cut ? Promise.resolve(null) : api.get("api/explain", { method: item.method, host: item.host, path: item.path, raw: item.path_is_raw === true }, options);
  const document = item.policy ? api.get("api/policy/document", { namespace: item.policy.namespace, name: item.policy.name }, options) : Promise.resolve(null);
  Promise.allSettled([document, explain]).then(([found, explained]) => {
    if (left.signal.aborted) return;
    const text = found.status === "fulfilled" ? documentPart(item, found.value) : { nodes: [failure(found.reason, item)], reveal() {} };
    put(panel, changed(item, found.value ?? explained.value), text.nodes, explained.status === "fulfilled" ? considered(item, explained.value) : failure(explained.reason, item));
    text.reveal();
  });
  return () => left.abort();
}

function failure(error, item) {
  const gone = error.status === 404 && item.policy;
  return el("p", { class: "note bad", text: gone ? `${policyName(item.policy)} is not there any more.` : error.message });
}

/** Say when another version is in force than the one that decided. */
function changed(item, answer) {
  if (!answer || item.revision === undefined || answer.revision === item.revision) return null;
  return el("p", { class: "note warn" }, icon("broken"),
    el("span", { text: `The policy has changed since: version ${count(item.revision)} decided, and version ${count(answer.revision)} is shown here.` }));
}

function documentPart(item, found) {
  if (!found) return { nodes: [el("p", { class: "note", text: "No document decided this request." })], reveal() {} };
  const entry = found.entries.find((one) => one.entry === item.policy.entry);
  const title = el("h3", {}, `${policyName(found)} `, el("span", { class: "muted", text: entryName(item.policy.entry) }));
  const link = el("a", { href: documentHash(found), text: "Open the document" });
  if (found.text === null) return { nodes: [title, el("p", { class: "note", text: "The document's text cannot be shown." }), problemList(found.problems), link], reveal() {} };
  const marks = entry?.line ? [{ from: entry.line, to: entry.end_line ?? entry.line, label: "the entry that decided" }] : [];
  const notes = found.problems.filter(({ line }) => line).map((problem) => ({ ...problem, text: problem.reason }));
  const { box, reveal } = codeBox(found.text, { marks, notes, label: `${policyName(found)}, with the entry that decided` });
  const lines = entry?.line && el("span", { class: "muted", text: ` lines ${entry.line}–${entry.end_line ?? entry.line}` });
  title.append(lines || "");
  return { nodes: [title, box, el("p", {}, link)], reveal };
}

/** Return the address of a document in the policy view. */
export function documentHash({ namespace, name }) {
  return `#/policy/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`;
}

/** Return what was considered. A path that is shown cut is another path, of which the answer may be another. */
function considered(item, explained) {
  return explained ? candidates(item, explained) : el("p", { class: "note", text: "The path is shown cut, so it cannot be asked about again." });
}

function candidates(item, { verdict, readings, candidates: found, more }) {
  const now = VERDICTS[verdict.kind] ?? verdict.kind;
  return [
    el("h3", { text: "What was considered" }),
    el("p", { text: `Asked again now, this request ${now}${verdict.policy ? ` by ${policyName(verdict.policy)}, ${entryName(verdict.policy.entry)}` : ""}${needsReason(verdict) ? `: ${verdict.reason}.` : "."}` }),
    readings.length > 1 && el("p", { class: "muted", text: `The path can be read as ${readings.join(", ")}.` }),
    found.length
      ? table("Candidates, the nearest first", ["outcome", "entry", "host and prefix", "methods", "why"], found.map(row), { className: "candidates" })
      : el("p", { class: "note", text: `No entry speaks of ${item.host}.` }),
    more > 0 && el("p", { class: "muted", text: `${plural(more, "more entry", "more entries")} of this host are not shown.` }),
  ];
}

/** Return whether a verdict's reason says more than its kind. */
const needsReason = ({ kind, reason }) => Boolean(reason) && ["unhealthy", "ambiguous"].includes(kind);

function row(entry) {
  return el("tr", { class: entry.won ? "won" : null },
    el("td", {}, el("span", { class: "verdict" }, icon(entry.won ? "ok" : "no"), entry.won ? "won" : "no")),
    el("th", { scope: "row" }, el("a", { href: documentHash(entry), text: policyName(entry) }), el("span", { class: "muted sub", text: `${entryName(entry.entry)} ${entry.action}` })),
    el("td", { class: "mono" }, `${entry.host ?? "any host"} ${entry.path_prefix}${entry.case_insensitive ? " (any case)" : ""}`),
    el("td", { text: entry.methods ? entry.methods.join(", ") : "all" }),
    el("td", { text: entry.why }));
}
