// The issuers that are spared at the moment: not called because they fail, or with exchanges that wait. No live region, since it changes each
// second; what keeps requests from being served is in the banner. Must not know: where the news comes from.

import { byId, el, icon, put, say } from "./dom.js";
import { count, plural } from "./format.js";

/** Return what is to be said of one issuer, as `totals` tell it. */
export function sentence({ breaker_open: open, retry_in_s: wait, queued, in_flight: calls, max_in_flight: limit }) {
  const parts = [];
  if (open) parts.push(`not called, because it is failing; ${wait > 0 ? `next probe in ${wait.toFixed(1)} s` : "a probe is due"}`);
  if (queued) parts.push(`${plural(queued, "exchange")} ${queued === 1 ? "waits" : "wait"}, ${count(calls)}${limit ? ` of ${count(limit)}` : ""} in progress`);
  return parts.join("; ");
}

/** Return the names of those that are not called, for the banner. */
export function failing(issuers) {
  return (issuers?.listed ?? []).filter((one) => one.breaker_open).map(({ name, endpoint }) => `${name} (${endpoint})`);
}

export class Issuers {
  #place = byId("issuers");
  #list = byId("issuers-list");
  #rows = new Map(); // by name and endpoint

  /** Take what `totals` tell of issuers. A service before this one tells nothing. */
  take(issuers) {
    const listed = issuers?.listed ?? [];
    this.#place.hidden = !listed.length;
    const rows = new Map(listed.map((issuer) => [key(issuer), this.#rows.get(key(issuer)) ?? row(issuer)]));
    if (rows.size !== this.#rows.size || [...rows.keys()].some((kept, n) => [...this.#rows.keys()][n] !== kept)) {
      put(this.#list, [...rows.values()]);
    }
    this.#rows = rows;
    for (const issuer of listed) {
      const item = rows.get(key(issuer));
      item.classList.toggle("open", issuer.breaker_open);
      say(item.querySelector(".issuer-says"), sentence(issuer));
    }
    const more = byId("issuers-more");
    more.hidden = !issuers?.more;
    say(more, `${count(issuers?.more ?? 0)} more`);
  }
}

function key({ name, endpoint }) {
  return `${name} ${endpoint}`;
}

function row({ name, endpoint }) {
  return el("li", {}, icon("broken"), el("strong", { text: name }), el("span", { class: "muted", text: endpoint }), el("span", { class: "issuer-says" }));
}
