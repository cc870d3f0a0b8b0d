// The tokens tab: what the caller brought beside what the upstream gets, claim by claim. Only a demo's stream has tokens.

import { el, icon, put } from "../dom.js";
import { claimTime, plain } from "../format.js";
import { diffClaims, isTime } from "./claims.js";

const MARKS = { added: "plus", removed: "minus", changed: "changed", kept: "kept" };

export function showTokens(panel, item, { about }) {
  if (!about().shows_tokens) {
    put(panel, el("p", { class: "note", text: "Tokens are never shown here: this console has no access to them. The demo shows made-up ones decoded, to explain what an exchange changes." }));
    return;
  }
  const { subject = null, exchanged = null } = item.tokens ?? {};
  if (!subject && !exchanged) {
    put(panel, el("p", { class: "note", text: "No token came with this request." }));
    return;
  }
  put(panel, tokenDiff(subject, exchanged, exchanged ? null : whyNone(item)));
}

function whyNone(item) {
  return item.result === "allowed" ? "There was no exchange: the upstream gets the caller's token unchanged." : "There is no new token: the request ends here.";
}

/** Return the difference of two decoded tokens; `none` says why there is no second one. */
export function tokenDiff(before, after, none = null, names = ["caller's token", "upstream's token"]) {
  return el("div", { class: "tokens" },
    // Where tokens are read, the page's own warning may be covered or scrolled away, and it is short on a phone.
    el("p", { class: "warning" }, icon("broken"), el("span", { text: "Demo: tokens are shown decoded. Do not use it with real tokens." })),
    none && el("p", { class: "note", text: none }),
    el("p", { class: "muted", text: "Decoded, not verified." }),
    section("Claims", before, after, "claims", names),
    section("Header", before, after, "header", names),
    el("p", { class: "muted", text: [[names[0], before], [names[1], after]].filter(([, token]) => token).map(([name, token]) => `${name}: ${kind(token)}`).join("; ") }));
}

function kind(token) {
  if (token.opaque) return "not a JWT, so there is nothing to decode";
  return token.signature === "present" ? "signed" : "not signed";
}

/** Return a table of what differs in one part of two tokens. */
export function section(title, before, after, part, names) {
  const both = Boolean(before && after);
  const rows = diffClaims(before?.[part], after?.[part]);
  if (!rows.length) return null;
  const heads = both ? ["", "name", names[0], names[1]] : ["name", before ? names[0] : names[1]];
  return el("div", { class: "table-box", role: "group", tabindex: "0", "aria-label": title },
    el("table", { class: "diff" },
      el("caption", { text: title }),
      el("thead", {}, el("tr", {}, heads.map((text) => el("th", { scope: "col" }, text || el("span", { class: "vh", text: "result" }))))),
      el("tbody", {}, rows.map((row) => line(row, both, Boolean(before))))));
}

function line({ name, kind: change, before, after }, both, first) {
  const header = el("th", { scope: "row", text: name });
  if (!both) return el("tr", {}, header, value(name, first ? before : after));
  return el("tr", { class: `d-${change}` },
    el("td", { class: "change" }, el("span", { class: "change-mark" }, icon(MARKS[change]), change)),
    header, value(name, before), value(name, after));
}

function value(name, claim) {
  if (claim === undefined) return el("td", { class: "muted", text: "–" });
  return el("td", {}, el("span", { class: "mono", text: plain(claim) }), isTime(name, claim) && el("span", { class: "muted when", text: claimTime(claim) }));
}
