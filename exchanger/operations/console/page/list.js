// The list of requests: a grid whose rows are kept as long as they are shown, with one tab stop (WAI-ARIA grid pattern).
// Must not know: where items come from, or what a click opens.

import { badge, clientStatus, describe } from "./decisions.js";
import { byId, el, icon, put } from "./dom.js";
import { clock, policyName, took } from "./format.js";
import { isNewer } from "./store.js";

export class List {
  #rows = new Map(); // key → element
  #body = byId("rows");
  #grid = byId("list");
  #onOpen;
  #current = null; // key of the row that has the tab stop
  #opened = null;

  /** `onOpen(key)` is called when a row is chosen. */
  constructor(onOpen) {
    this.#onOpen = onOpen;
    this.#body.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row && !getSelection().toString()) this.#choose(row);
    });
    this.#body.addEventListener("keydown", (event) => this.#keydown(event));
    this.#body.addEventListener("focusin", (event) => this.#rove(event.target.closest(".row")));
  }

  /** Show `items`, newest first. Rows that stay keep their element, so that focus, selection and scroll position do. */
  show(items) {
    const wanted = new Set(items.map((item) => item.key));
    const hadFocus = this.#body.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    for (const [key, row] of this.#rows) {
      if (wanted.has(key)) continue;
      row.remove();
      this.#rows.delete(key);
    }
    let next = this.#body.firstElementChild;
    let epoch = items[0]?.epoch;
    for (const item of items) {
      let row = this.#rows.get(item.key);
      if (!row) {
        row = makeRow(item, item.key === this.#opened);
        this.#rows.set(item.key, row);
      }
      row.classList.toggle("restarted", item.epoch !== epoch);
      epoch = item.epoch;
      if (row === next) next = next.nextElementSibling;
      else this.#body.insertBefore(row, next);
    }
    this.#grid.setAttribute("aria-rowcount", String(items.length + 1));
    if (!this.#rows.has(this.#current)) this.#rove(this.#body.firstElementChild);
    if (hadFocus && !this.#rows.has(hadFocus)) this.#body.lastElementChild?.focus({ preventScroll: true });
  }

  /** Mark the row of the item that is open; null for none. */
  mark(key) {
    this.#rows.get(this.#opened)?.setAttribute("aria-selected", "false");
    this.#opened = key;
    this.#rows.get(key)?.setAttribute("aria-selected", "true");
  }

  /**
   * Go one row down (`steps` is 1) or up (-1) from the one that is open, else from the one with the tab stop; with `focus`, the focus goes
   * along. What is open follows.
   */
  step(steps, focus = true) {
    const row = this.#opened === null ? this.#following(this.#rows.get(this.#current), steps) : this.#beside(steps);
    if (!row) return;
    if (focus) row.focus();
    else row.scrollIntoView({ block: "nearest" });
    if (this.#opened !== null) this.#choose(row);
  }

  /** Return the row after the one with the tab stop, or that one when the focus is elsewhere. */
  #following(from, steps) {
    if (!this.#body.contains(document.activeElement)) return from;
    return steps > 0 ? from?.nextElementSibling : from?.previousElementSibling;
  }

  /** Return the row beside the item that is open. That may have none, filtered out or too old: then the nearest row on that side, or at all. */
  #beside(steps) {
    const open = this.#rows.get(this.#opened);
    if (open) return steps > 0 ? open.nextElementSibling : open.previousElementSibling;
    const rows = [...this.#body.children];
    const older = rows.findIndex((row) => isNewer(this.#opened, row.dataset.key));
    const below = older < 0 ? rows.length : older;
    const at = steps > 0 ? below : below - 1;
    return rows[Math.min(rows.length - 1, Math.max(0, at))];
  }

  /** Give the focus back to the row of `key`, or to the one with the tab stop; returns whether there is one. */
  focus(key) {
    const row = this.#rows.get(key) ?? this.#rows.get(this.#current);
    row?.focus();
    return Boolean(row);
  }

  #choose(row) {
    this.#rove(row);
    this.#onOpen(row.dataset.key);
  }

  #rove(row) {
    if (!row) return;
    const before = this.#rows.get(this.#current);
    if (before) before.tabIndex = -1;
    this.#current = row.dataset.key;
    row.tabIndex = 0;
  }

  #keydown(event) {
    const row = event.target.closest(".row");
    if (!row || event.ctrlKey || event.altKey || event.metaKey) return;
    const rows = [...this.#body.children];
    const at = rows.indexOf(row);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1, PageDown: at + 10, PageUp: at - 10 }[event.key];
    if (event.key === "Enter" || event.key === " ") this.#choose(row);
    else if (to === undefined) return;
    else rows[Math.min(rows.length - 1, Math.max(0, to))].focus();
    event.preventDefault();
  }
}

function makeRow(item, opened) {
  const { family } = describe(item.decision);
  const row = el("div", { role: "row", class: `row f-${family}`, tabindex: "-1", "aria-selected": String(opened), data: { key: item.key } });
  const cell = (name, ...children) => el("span", { role: "gridcell", class: `c-${name}` }, children);
  return put(row,
    cell("time", el("time", { datetime: item.time, title: item.time, text: clock(item.at) })),
    cell("decision", badge(item.decision)),
    el("span", { role: "gridcell", class: "c-request", title: `${item.method ?? ""} ${item.host ?? ""}${item.path ?? ""}`.trim() || null },
      el("span", { class: "method", text: item.method || "–" }), " ", el("span", { class: "host", text: item.host }), el("span", { class: "path", text: item.path })),
    cell("policy", item.policy ? policyName(item.policy) : el("span", { class: "muted", text: "–" })),
    cell("client", clientCell(item)),
    cell("exchange", exchangeCell(item)),
    cell("duration", took(item.duration_ms)));
}

/** Return what the client got: the status of a refusal with its code, or whatever the upstream answers, which is not known here. */
function clientCell(item) {
  const status = clientStatus(item);
  if (status === null) return el("span", { class: "muted", title: "The request was passed on, and the upstream responds.", text: "upstream" });
  return [el("span", { class: "nums", text: String(status) }), item.diagnostic && el("span", { class: "code-mark", text: item.diagnostic })];
}

/** Return what the token endpoint answered, and whether the call was shared. */
function exchangeCell(item) {
  if (!item.exchange) return el("span", { class: "muted", text: "–" });
  const { status, coalesced } = item.exchange;
  return [
    el("span", { class: "nums", text: status ? String(status) : "no answer" }),
    coalesced && el("span", { class: "shared" }, icon("shared"), el("span", { text: "shared" })),
  ];
}
