// The live view: filters, pause, counts, and the list that follows the store.
// Must not know: the network, or the detail panel beyond opening it.

import { announce, announcer } from "./a11y.js";
import { FAMILIES, LABELS, describe } from "./decisions.js";
import { byId, el, icon, onFrame, put, say } from "./dom.js";
import { noRequests, noneFits } from "./empty.js";
import { ERRORS, NOTHING, active, isActive, matcher } from "./filter.js";
import { count, plural, policyName } from "./format.js";
import { List } from "./list.js";
import { SHOWN } from "./store.js";

export class Live {
  #store;
  #list;
  #filter = { ...NOTHING };
  #onFilter;
  #edited = null; // the field that somebody is writing in
  #held = false; // whether the rows wait only because a request is open
  #lab = false;
  #limit = SHOWN;
  #draw = onFrame(() => this.#drawNow());
  #tell = announcer((news) => sentence(news.flat()));

  /** `open(item)` opens the detail. `onFilter(fresh)` learns that the filter has changed; not `fresh` is one more letter of the same change. */
  constructor(store, { open, onFilter }) {
    this.#store = store;
    this.#onFilter = onFilter;
    this.#list = new List((key) => {
      const item = store.find((one) => one.key === key);
      if (item) open(item);
    });
    this.#setUpFilters();
    byId("pause").addEventListener("click", () => this.togglePause());
    byId("lost-done").addEventListener("click", () => {
      store.forgetLost();
      byId("pause").focus();
    });
    byId("list-more").addEventListener("click", () => {
      this.#limit += SHOWN;
      this.#drawNow();
      if (byId("list-more").hidden) this.#list.focus(null);
    });
  }

  get list() {
    return this.#list;
  }

  get filter() {
    return this.#filter;
  }

  /** Show what `filter` lets through: the address says so. */
  use(filter) {
    for (const [name, value] of Object.entries(filter)) byId(`filter-${name}`).value = value;
    this.#edited = null;
    this.#read();
  }

  /** There is a lab that makes requests, or none. */
  set lab(lab) {
    if (this.#lab !== lab) byId("list-empty").dataset.kind = "";
    this.#lab = lab;
    this.#draw();
  }

  /** Go to the field that searches, which a phone may have folded away. */
  search() {
    this.#fold(false);
    byId("filter-text").focus();
  }

  #fold(folded) {
    byId("filters").classList.toggle("unfolded", !folded);
    byId("filter-fold").setAttribute("aria-expanded", String(!folded));
  }

  /** The store has changed. */
  changed = () => this.#draw();

  /** New items came by the stream: tell those who listen, now and then. */
  news(items) {
    if (!this.#store.paused && !byId("view-live").hidden) this.#tell(items.map((item) => item.result));
  }

  togglePause() {
    this.#held = false;
    if (this.#store.paused) this.#store.resume();
    else this.#store.pause();
    announce(this.#store.paused ? "Paused. New requests wait." : "Resumed.");
  }

  /** Let new rows wait while a request is open, so that its own stays where it is. Who pauses or resumes meanwhile has the last word. */
  hold(open) {
    if (open && !this.#store.paused) {
      this.#held = true;
      this.#store.pause();
    } else if (!open && this.#held) {
      this.#held = false;
      this.#store.resume();
    }
  }

  /** Show only the decisions of the select's option `value`, or all again; the charts' legends do that. */
  onlyDecision(value, word) {
    const select = byId("filter-decision");
    select.value = select.value === value ? "" : value;
    this.#change(true);
    announce(select.value ? `Only: ${word}` : "All decisions");
  }

  #setUpFilters() {
    const form = byId("filters");
    const option = (value, text) => el("option", { value, text });
    put(byId("filter-decision"),
      option("", "all"),
      option("result:auth_denied|system_error", "did not reach the upstream"),
      option(ERRORS, "client got 5xx"),
      el("optgroup", { label: "Kinds" }, FAMILIES.map(({ id, word }) => option(`family:${id}`, word))),
      el("optgroup", { label: "Decisions" }, LABELS.map((label) => option(label, `${describe(label).word} (${label})`))));
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", ({ target }) => {
      const fresh = target !== this.#edited;
      this.#edited = target;
      this.#change(fresh);
    });
    form.addEventListener("change", () => (this.#edited = null));
    form.addEventListener("reset", () => setTimeout(() => this.#change(true)));
    byId("filter-fold").addEventListener("click", ({ currentTarget }) => this.#fold(currentTarget.getAttribute("aria-expanded") === "true"));
    byId("filter-clear").addEventListener("click", () => {
      const text = byId("filter-text");
      (text.checkVisibility() ? text : byId("filter-fold")).focus();
    });
    const suggest = (id, read) => put(byId(id), this.#store.values(read).map((value) => el("option", { value })));
    byId("filter-host").addEventListener("focus", () => suggest("hosts", (item) => item.host));
    byId("filter-policy").addEventListener("focus", () => suggest("policies", (item) => policyName(item.policy)));
  }

  #change(fresh) {
    this.#read();
    this.#onFilter(fresh);
  }

  #read() {
    this.#filter = { ...NOTHING, ...Object.fromEntries(new FormData(byId("filters"))) };
    this.#limit = SHOWN;
    byId("filter-clear").hidden = !isActive(this.#filter);
    say(byId("filter-fold"), isActive(this.#filter) ? `Filters (${active(this.#filter)})` : "Filters");
    this.#draw();
  }

  #drawNow() {
    const store = this.#store;
    const { found, total } = store.newest(matcher(this.#filter), this.#limit);
    this.#list.show(found);
    const of = isActive(this.#filter) ? `${count(total)} of ${plural(store.size, "request")}` : plural(store.size, "request");
    say(byId("count"), store.size ? of : "");
    this.#drawPause();
    byId("lost").hidden = !store.lost;
    say(byId("lost-text"), `${count(store.lost)} not shown: more arrived than a page can follow. `);
    byId("list").hidden = !found.length;
    this.#drawEmpty(found.length > 0 ? "" : store.size ? "none fits" : "no requests");
    const more = byId("list-more");
    more.hidden = total <= found.length;
    say(more, `Show ${count(Math.min(SHOWN, total - found.length))} of ${plural(total - found.length, "older request")}`);
  }

  #drawEmpty(kind) {
    const empty = byId("list-empty");
    empty.hidden = !kind;
    if (empty.dataset.kind === kind) return;
    empty.dataset.kind = kind;
    put(empty, kind === "none fits" && noneFits(), kind === "no requests" && noRequests(this.#lab));
  }

  #drawPause() {
    const { paused, waiting } = this.#store;
    const button = byId("pause");
    button.setAttribute("aria-pressed", String(paused));
    byId("held").hidden = !this.#held;
    say(byId("held"), `The list waits while a request is open${waiting ? `: ${plural(waiting, "new one")}` : ""}.`);
    if (button.dataset.paused !== String(paused)) {
      button.dataset.paused = String(paused);
      button.querySelector(".icon").replaceWith(icon(paused ? "play" : "pause"));
    }
    say(byId("pause-text"), paused ? (waiting ? `Resume (${count(waiting)} waiting)` : "Resume") : "Pause");
  }
}

function sentence(results) {
  const refused = results.filter((result) => result !== "allowed").length;
  if (!results.length) return "";
  return `${plural(results.length, "new request")}${refused ? `, ${count(refused)} refused or failed` : ""}.`;
}
