// What an edit would change: the lines that differ from the saved ones, and the example requests that are decided otherwise.

import { colour } from "../code.js";
import { documentHash } from "../detail/policy.js";
import { el, icon, table } from "../dom.js";
import { entryName, plural, policyName, targetText } from "../format.js";
import { diffLines } from "./diff.js";

const SHOWN = 400; // lines of a difference
const SIGNS = { added: "+", removed: "−", kept: " ", gap: "⋯" };
const SYMBOLS = { exchange: "exchanged", deny: "refused", "blocked by": "broken", conflict: "changed", "no policy": "passed", ambiguous: "refused" };

/** Return what is to be shown; `compared` is the service's comparison, null while it is not known. */
export function changes(saved, text, compared) {
  const lines = diffLines(saved, text);
  if (!lines.length) return el("p", { class: "muted", text: "Nothing: this is the saved text." });
  const number = (kind) => lines.filter((line) => line.kind === kind).length;
  return [
    el("h3", { text: `Against what is active (the saved file): ${plural(number("added"), "line")} added, ${number("removed")} removed` }),
    el("div", { class: "text-diff", role: "group", tabindex: "0", "aria-label": "Lines that differ from the saved ones" },
      lines.slice(0, SHOWN).map(line), lines.length > SHOWN && el("p", { class: "cut", text: `${lines.length - SHOWN} more lines are not shown` })),
    compared && requests(compared),
  ];
}

function line({ kind, text }) {
  return el("div", { class: `diff-line t-${kind}` },
    el("span", { class: "diff-sign", "aria-hidden": "true", data: { sign: SIGNS[kind] } }),
    el("span", {}, kind !== "kept" && el("span", { class: "vh", text: kind === "gap" ? "lines are left out" : `${kind}: ` }), colour(text), "\n"));
}

function requests({ examples, changes: found, more, why_not: whyNot }) {
  if (whyNot) return el("p", { class: "note warn" }, icon("broken"), el("span", { text: `Requests cannot be compared: ${whyNot}.` }));
  if (!found.length) return el("p", { class: "note" }, `None of ${plural(examples, "example request")} changes.`);
  return [
    el("h3", { text: `${found.length + more} of ${plural(examples, "example request")} change` }),
    table("Example requests that change", ["request", "active", "as edited"], found.map(({ method, host, path, before, after }) =>
      el("tr", {}, el("th", { scope: "row", class: "mono" }, `${method} ${host}`, el("wbr"), path), el("td", {}, verdict(before, true)), el("td", {}, verdict(after, false)))), { className: "changes" }),
    more > 0 && el("p", { class: "muted", text: `${more} more are not listed.` }),
  ];
}

/** `saved`: the policy is the active one, which the policy view shows; positions in an edited text are not those in the view. */
function verdict({ outcome, policy, target, reason }, saved) {
  const entry = policy && `${policyName(policy)} ${entryName(policy.entry)}`;
  return [
    el("span", { class: `action o-${outcome.replaceAll(" ", "-")}` }, icon(SYMBOLS[outcome] ?? "no"), outcome),
    target && el("span", { class: "sub", text: `${targetText(target)}, issuer ${target.issuer}` }),
    entry && (saved ? el("a", { class: "sub", href: documentHash(policy), text: entry }) : el("span", { class: "sub", text: entry })),
    reason && el("span", { class: "muted sub", text: reason }),
  ];
}
