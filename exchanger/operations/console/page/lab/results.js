// What a run came to: expected beside got, the answer, the tokens, and the way to the requests in the stream.

import { announce, copy } from "../a11y.js";
import { answer } from "../detail/response.js";
import { tokenDiff } from "../detail/tokens.js";
import { button, el, icon } from "../dom.js";
import { took } from "../format.js";

/** Return whether a result is as expected, as icon and word. */
export function outcome(result) {
  if (!result) return el("span", { class: "outcome none", text: "not run" });
  if (result.running) return el("span", { class: "outcome none", text: "running …" });
  if (result.error) return el("span", { class: "outcome bad" }, icon("broken"), "no result");
  if (result.ok === null || result.ok === undefined) return el("span", { class: "outcome none", text: result.expected ? "skipped" : "sent" });
  return el("span", { class: `outcome ${result.ok ? "good" : "bad"}` }, icon(result.ok ? "ok" : "no"), result.ok ? "as expected" : "not as expected");
}

/** Return everything about a result. `openTrace(id)` shows the stream's item. */
export function resultBody(result, openTrace) {
  if (!result) return null;
  if (result.error) return el("p", { class: "note bad", role: "alert", text: result.error });
  const { tokens } = result;
  return el("div", { class: "result" },
    result.expected && el("dl", { class: "sides" },
      el("div", {}, el("dt", { text: "expected" }), el("dd", { text: result.expected })),
      el("div", { class: result.ok === false ? "bad" : null }, el("dt", { text: "got" }), el("dd", { text: result.got }))),
    !result.expected && result.got && el("p", { text: result.got }),
    result.details?.length > 0 && el("ul", { class: "details" }, result.details.map((text) => el("li", { text }))),
    result.trace_ids?.length > 0 && traces(result.trace_ids, openTrace),
    result.answer && fold("Answer", answer(result.answer)),
    tokens && (tokens.sent || tokens.received) && fold("Tokens", [verification(tokens.verification), tokenDiff(tokens.sent, tokens.received, null, ["sent", "received by the upstream"])]));
}

function traces(ids, openTrace) {
  const shown = ids.slice(0, 20);
  return el("p", { class: "traces" }, "In the stream: ",
    shown.map((id, i) => button(ids.length === 1 ? "this request" : `request ${i + 1}`, () => openTrace(id), { kind: "link", title: id })),
    ids.length > shown.length && ` and ${ids.length - shown.length} more`);
}

function verification(found) {
  if (!found) return null;
  return el("p", { class: `note ${found.verified ? "good" : "warn"}` }, icon(found.verified ? "ok" : "broken"),
    el("span", {}, el("strong", { text: found.verified ? "Verified. " : "Not verified. " }), found.text, found.kid && el("span", { class: "muted", text: ` Key ${found.kid}.` })));
}

function fold(title, content) {
  return el("details", {}, el("summary", { text: title }), content);
}

/** Return a curl line with a button that copies it. */
export function curlLine(text) {
  return el("div", { class: "curl" }, el("pre", { class: "block", tabindex: "0", role: "group", "aria-label": "curl command", text }),
    button("Copy", async () => announce((await copy(text)) ? "Copied." : "The browser does not allow copying here."), { symbol: "copy" }));
}

export const elapsed = (result) => (result && !result.running && !result.error ? took(result.elapsed_ms) : "");
