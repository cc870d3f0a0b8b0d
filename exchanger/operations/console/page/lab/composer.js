// A request of one's own through the gateway: its form, and what it came to.

import { announce } from "../a11y.js";
import { button, el, isOff, put, switchOff } from "../dom.js";
import { outcome, resultBody, elapsed } from "./results.js";

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"];
const PATIENCE = 30_000; // ms: a slow upstream is a thing to try

/** Return the headers in `text`, one a line as `Name: value`; throws an Error that says which line is none. */
export function readHeaders(text) {
  const headers = [];
  text.split("\n").forEach((line, i) => {
    if (!line.trim()) return;
    const colon = line.indexOf(":");
    if (colon < 1) throw new Error(`Line ${i + 1} of the headers has no name and value with a colon between them.`);
    headers.push([line.slice(0, colon).trim(), line.slice(colon + 1).trim()]);
  });
  return headers;
}

/** Return the token in `text`, which people copy with blanks around it, or with the word before it that a header has. */
export function bareToken(text) {
  return text.trim().replace(/^bearer(\s+|$)/i, "");
}

/** Return the composer. `token()` is the own bearer token, `hosts` are offered as suggestions. */
export function composer(api, { hosts, token, openTrace }) {
  const field = (label, control, extra = "") => el("label", { class: `field ${extra}`.trim() }, el("span", { text: label }), control);
  const method = el("select", { name: "method" }, METHODS.map((name) => el("option", { value: name, text: name })));
  const host = el("input", { name: "host", required: true, list: "lab-hosts", autocomplete: "off", spellcheck: "false", value: hosts[0] ?? "" });
  const path = el("input", { name: "path", required: true, autocomplete: "off", spellcheck: "false", value: "/" });
  const subject = el("select", { name: "subject" }, [["valid", "valid"], ["expired", "expired"], ["opaque", "opaque"], ["revoked", "revoked"], ["none", "none"], ["own", "my own, from above"]].map(([value, text]) => el("option", { value, text })));
  const headers = el("textarea", { name: "headers", rows: "2", spellcheck: "false", placeholder: "Name: value" });
  const result = el("div", { class: "composer-result", role: "region", "aria-label": "Result of the request" });
  const submit = button("Send", null, { kind: "primary", type: "submit" });
  const form = el("form", { class: "composer", on: { submit: send } },
    field("Method", method), field("Host", host, "grow"), field("Path", path, "grow"), field("Token", subject), field("Headers, one a line", headers, "whole"), submit,
    el("datalist", { id: "lab-hosts" }, hosts.map((value) => el("option", { value }))));

  async function send(event) {
    event.preventDefault();
    if (isOff(submit)) return;
    let found;
    switchOff(submit, true);
    put(result, outcome({ running: true }));
    try {
      const request = { method: method.value, host: host.value.trim(), path: path.value.trim(), headers: readHeaders(headers.value), subject: subject.value };
      if (subject.value === "own") request.token = token();
      found = await api.post("lab/request", request, { patience: PATIENCE });
    } catch (error) {
      found = { error: error.message };
    }
    switchOff(submit, false);
    put(result, el("p", { class: "composer-line" }, outcome(found), el("span", { class: "muted nums", text: elapsed(found) })), resultBody(found, openTrace));
    announce(found.error ?? `Answered: ${found.got}`);
  }

  return el("section", { class: "card", "aria-labelledby": "composer-title" }, el("h2", { id: "composer-title", text: "A request of your own" }), form, result);
}
