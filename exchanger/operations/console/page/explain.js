// The explain view: what would happen to a request that was not made. No token is sent: the form says only which kind of credentials there are.

import { announce } from "./a11y.js";
import { candidateTable, documentHash } from "./detail/policy.js";
import { button, byId, el, icon, isOff, put, switchOff } from "./dom.js";
import { count, entryName, policyName, targetText } from "./format.js";

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"];
const CREDENTIALS = [["bearer", "a bearer token"], ["absent", "none"], ["not_bearer", "of another scheme"], ["invalid", "a malformed bearer token"]];
const FAMILIES = { exchange: "exchanged", allow: "passed", deny: "refused" };
// Headers that may hold a token, whose values are not sent: the same as in exchanger/authz/decision/withheld.py.
const TELLING_NAMES = /auth|token|jwt|assertion|cookie|secret|key|credential|session|passw|bearer|cert|sign/i;
const TELLING_VALUES = /eyJ|^\S+\s+\S{16}|\S{32}/;
const PUBLIC = new Set(["host", "origin", "access-control-request-method"]);
const SECRET_NAMES = new Set(["authorization", "proxy-authorization", "cookie"]);

/** Return host and path of a URL as they are written, since a server may see them so; throws an Error that says what is wrong. */
export function readUrl(text) {
  const [, scheme, host, path, fragment] = /^(?:([A-Za-z][A-Za-z0-9+.-]*):\/\/)?([^/?#]*)([^#]*)(#?)/s.exec(text);
  if (scheme && !/^(https?|wss?)$/i.test(scheme)) throw new Error("The URL has another scheme: write https://HOST/PATH.");
  if (host.includes("@")) throw new Error("The URL has user information: leave it out.");
  if (fragment) throw new Error("The URL has a fragment, which clients do not send: write %23 for the character.");
  if (!host) throw new Error("The URL has no host: write https://HOST/PATH.");
  return { host, path: path.startsWith("/") ? path : `/${path}` };
}

/**
 * Return the fields of a question for the headers in `text`, one a line: of what may hold a token only which headers hold the same one.
 * Throws an Error for a line that is none, or that holds credentials.
 */
export function readHeaders(text) {
  const numbers = new Map();
  return text.split("\n").map((line) => line.trim()).filter(Boolean).map((line, i) => {
    const colon = line.indexOf(":");
    if (colon < 1) throw new Error(`Header ${i + 1} has no name and value with a colon between them.`);
    const [name, value] = [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
    if (SECRET_NAMES.has(name.toLowerCase())) throw new Error(`Header ${i + 1} holds credentials, which are not sent: choose their kind instead.`);
    if (PUBLIC.has(name.toLowerCase()) || !(TELLING_NAMES.test(name) || TELLING_VALUES.test(value))) return ["header", line];
    if (!value || !/^[!#-+\x2d-[\]-~]+$/.test(value)) return ["token", `${name}: ${value ? "invalid" : "absent"}`];
    if (!numbers.has(value)) numbers.set(value, numbers.size + 1);
    return ["token", `${name}: ${numbers.get(value)}`];
  });
}

export class ExplainView {
  #api;
  #drawn = false;
  #asked = 0;
  #urls = el("datalist", { id: "explain-urls" });

  constructor(api) {
    this.#api = api;
  }

  show() {
    this.#suggest();
    if (this.#drawn) return;
    this.#drawn = true;
    const field = (label, control, extra = "") => el("label", { class: `field ${extra}`.trim() }, el("span", { text: label }), control);
    const method = el("input", { name: "method", required: true, value: "GET", list: "explain-methods", autocomplete: "off", spellcheck: "false", size: "8" });
    const url = el("input", { name: "url", required: true, autocomplete: "off", spellcheck: "false", placeholder: "https://orders.example.com/orders/1", list: "explain-urls" });
    const credentials = el("select", { name: "credentials" }, CREDENTIALS.map(([value, text]) => el("option", { value, text })));
    const headers = el("textarea", { name: "headers", rows: "2", spellcheck: "false", placeholder: "Mcp-Name: list_orders" });
    const submit = button("Explain", null, { kind: "primary", type: "submit" });
    const result = el("div", { id: "explain-result", role: "region", "aria-label": "What would happen" });
    const ask = async (event) => {
      event.preventDefault();
      if (isOff(submit)) return;
      switchOff(submit, true);
      await this.#ask(result, { method: method.value.trim(), url: url.value.trim(), credentials: credentials.value, headers: headers.value });
      switchOff(submit, false);
    };
    put(byId("explain-body"),
      el("form", { class: "composer explain-form", on: { submit: ask } },
        field("Method", method), field("URL", url, "grow"), field("Credentials", credentials), field("Headers, one a line", headers, "whole"), submit,
        el("datalist", { id: "explain-methods" }, METHODS.map((value) => el("option", { value }))), this.#urls),
      result);
  }

  /** Offer the hosts that the active policy names. */
  async #suggest() {
    try {
      const { listed } = await this.#api.get("api/hosts");
      put(this.#urls, listed.map((host) => el("option", { value: `https://${host}/` })));
    } catch {
      // A question needs no suggestions.
    }
  }

  async #ask(place, { method, url, credentials, headers }) {
    const asked = ++this.#asked;
    try {
      const { host, path } = readUrl(url);
      const fields = [["method", method], ["host", host], ["path", path], ["credentials", credentials], ["assumed", "true"], ...readHeaders(headers)];
      const found = await this.#api.get("api/explain", fields);
      if (asked !== this.#asked) return;
      put(place, decisionText(found), candidateTable(host, found));
      announce(`${found.decision.kind}: ${found.decision.reason}.`);
    } catch (error) {
      if (asked !== this.#asked) return;
      put(place, el("p", { class: "note bad", role: "alert", text: error.message }));
    }
  }
}

/** Return the kind in the live list of a request that is decided so. */
function familyOf({ kind, status }) {
  if (kind === "unmatched") return status ? "refused" : "passed";
  return FAMILIES[kind] ?? { 400: "refused", 401: "token" }[status] ?? "broken";
}

/** Return the decision in words, the entry that makes it, and what would be asked of which issuer. */
function decisionText({ decision, revision }) {
  const { kind, status, policy, reason, exchange } = decision;
  const family = familyOf(decision);
  return [
    el("h2", { class: `explain-decision badge f-${family}` }, icon(family), status ? `${kind} (${status})` : kind),
    el("p", {}, `${reason}.`, policy && [" ", policy.namespace ? el("a", { href: documentHash(policy), text: `${policyName(policy)} ${entryName(policy.entry)}` }) : `${policy.name} [${policy.entry}]`]),
    exchange && el("p", { class: "mono", text: `issuer ${exchange.issuer}${exchange.endpoint ? ` (${exchange.endpoint})` : ""} · ${targetText(exchange)}` }),
    exchange?.profile?.length > 0 && el("dl", { class: "explain-profile" }, exchange.profile.flatMap(({ name, text }) => [el("dt", { text: name }), el("dd", { text })])),
    el("p", { class: "muted", text: `Decided by version ${count(revision)} of the policy, which is active now.` }),
  ];
}
