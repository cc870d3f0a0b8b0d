// The response tab: what the gateway did with the request, and the answer if it was ours.

import { el, put, table } from "../dom.js";
import { policyName, targetText } from "../format.js";

export function showResponse(panel, item) {
  put(panel, item.response ? answer(item.response) : onwards(item));
}

function onwards(item) {
  const fresh = item.decision === "allow_exchange";
  return [
    el("h3", { text: "The request was passed on to the upstream" }),
    fresh
      ? el("dl", { class: "facts" }, fact("Changed", "Authorization: Bearer, with the exchanged token"), fact("Token for", targetText(item.target) || "–"), fact("From", item.exchange?.endpoint ?? item.issuer ?? "–"), fact("As asked by", policyName(item.policy)))
      : el("p", { text: "Nothing in it was changed." }),
    el("p", { class: "muted", text: "The upstream's response does not pass through here." }),
  ];
}

/** Return status, headers and body of an answer; parts that are withheld are null. */
export function answer({ status, headers, body }) {
  return [
    el("h3", {}, "Status ", el("span", { class: "nums", text: String(status) })),
    headers === null || headers === undefined
      ? el("p", { class: "note", text: "Its headers are not shown: they can be the token endpoint's." })
      : headers.length > 0 && table("Headers", ["name", "value"], headers.map(([name, value]) => el("tr", {}, el("th", { scope: "row", text: name }), el("td", { class: "mono", text: value }))), { showCaption: true }),
    el("h3", { text: "Body" }),
    body === null || body === undefined
      ? el("p", { class: "note", text: "It is not shown: it can be the token endpoint's." })
      : body === ""
        ? el("p", { class: "muted", text: "It is empty." })
        : el("pre", { class: "block", tabindex: "0", role: "group", "aria-label": "Body", text: pretty(body) }),
  ];
}

function fact(name, value) {
  return [el("dt", { text: name }), el("dd", { text: value })];
}

/** Return JSON with its structure shown, anything else as it is. */
function pretty(body) {
  try {
    return JSON.stringify(JSON.parse(body), null, 2);
  } catch {
    return body;
  }
}
