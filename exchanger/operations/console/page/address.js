// The address of the page: which view, and in the live view which filter and which request. It can be shared, so nothing secret goes into it.
// Must not know: what is drawn for it.

import { NOTHING } from "./filter.js";

const APART = 400; // ms between changes that stay in one entry of the history: browsers refuse more than some hundred in half a minute

// What people paste into a search by mistake: credentials with their scheme, JWTs, `secret=…`, and runs that no name, trace id or UUID has.
const SECRET = [
  /\b(bearer|basic)\s/i,
  /eyJ[\w-]{8}/,
  /(token|secret|password|passwd|api.?key|code|assertion|signature)["']?\s*[=:]/i,
  /(?=[\w+~=-]*\d)[\w+~=-]{40}/,
  /(?=\w*[a-z])(?=\w*[A-Z])(?=\w*\d)\w{20}/,
];

/** Return whether `text` may hold a credential. */
export const looksSecret = (text) => SECRET.some((pattern) => pattern.test(text));

/** Return the query of an address's fragment, `#/view/more?query`. */
export const queryOf = (hash) => new URLSearchParams(hash.split("?").slice(1).join("?"));

/** Return a part of an address's path; what cannot be decoded stays as it is. */
export function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Return the filter of an address's query. */
export const filterOf = (query) => Object.fromEntries(Object.keys(NOTHING).map((name) => [name, query.get(name) ?? ""]));

/** Return the fragment of the live view with this filter and request (null: none). A part that may be secret is left out. */
export function liveHash(filter, request) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(filter)) if (value && !looksSecret(value)) query.set(name, value);
  if (request) query.set("request", request);
  const text = query.toString();
  return text ? `#/live?${text}` : "#/live";
}

/** Writes the address: as a new entry of the history, or into the one that is there, now and then. */
export class Address {
  #late = null; // what is to be written into the entry that is there
  #timer = null;

  constructor() {
    addEventListener("pagehide", () => this.#flush());
  }

  push(hash) {
    this.#flush();
    if (hash !== location.hash) history.pushState(null, "", hash);
  }

  replace(hash) {
    this.#late = hash;
    this.#timer ??= setTimeout(() => this.#flush(), APART);
  }

  /** Another address was asked for, so what was to be written belongs to none. */
  forget() {
    clearTimeout(this.#timer);
    this.#timer = this.#late = null;
  }

  #flush() {
    const hash = this.#late;
    this.forget();
    if (hash !== null && hash !== location.hash) history.replaceState(null, "", hash);
  }
}
