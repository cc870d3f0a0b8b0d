// The live view: filters, pause, counts, and the list that follows the store.
// Must not know: the network, or the detail panel beyond opening it.

import { announce, announcer } from "./a11y.js";
import { FAMILIES, LABELS, describe } from "./decisions.js";
import { byId, el, icon, onFrame, put, say } from "./dom.js";
import { NOTHING, isActive, matcher } from "./filter.js";
import { count, plural, policyName } from "./format.js";
import { List } from "./list.js";
import { SHOWN } from "./store.js";

export class Live {
  #store;
  #list;
  #filter = { ...NOTHING };
  #limit = SHOWN;
  #draw = onFrame(() => this.#drawNow());
  #tell = announcer((news) => sentence(news.flat()));

  /** `open(item)` opens the detail. */
  constructor(store, open) {
    this.#store = store;
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

  /** The store has changed. */
  changed = () => this.#draw();

  /** New items came by the stream: tell those who listen, now and then. */
  news(items) {
    if (!this.#store.paused && !byId("view-live").hidden) this.#tell(items.map((item) => item.result));
  }

  togglePause() {
    const button = byId("pause");
    if (this.#store.paused) this.#store.resume();
    else this.#store.pause();
    button.setAttribute("aria-pressed", String(this.#store.paused));
    announce(this.#store.paused ? "Paused. New requests wait." : "Going on.");
  }

  /** Clear the filters. */
  clear() {
    byId("filters").reset();
    this.#read();
  }

  /** Show only one family of decisions; the charts' legends do that. */
  onlyFamily(id) {
    const select = byId("filter-decision");
    select.value = select.value === `family:${id}` ? "" : `family:${id}`;
    this.#read();
    const word = FAMILIES.find((family) => family.id === id).word;
    announce(select.value ? `Only: ${word}` : "All decisions");
    return select.value !== "";
  }

  #setUpFilters() {
    const form = byId("filters");
    const option = (value, text) => el("option", { value, text });
    put(byId("filter-decision"),
      option("", "all"),
      option("result:auth_denied|system_error", "anything refused or failed"),
      option("result:system_error", "answered with 5xx"),
      el("optgroup", { label: "Kinds" }, FAMILIES.map(({ id, word }) => option(`family:${id}`, word))),
      el("optgroup", { label: "Decisions" }, LABELS.map((label) => option(label, `${describe(label).word} (${label})`))));
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", () => this.#read());
    form.addEventListener("reset", () => setTimeout(() => this.#read()));
    byId("filter-clear").addEventListener("click", () => byId("filter-text").focus());
    const suggest = (id, read) => put(byId(id), this.#store.values(read).map((value) => el("option", { value })));
    byId("filter-host").addEventListener("focus", () => suggest("hosts", (item) => item.host));
    byId("filter-policy").addEventListener("focus", () => suggest("policies", (item) => policyName(item.policy)));
  }

  #read() {
    this.#filter = { ...NOTHING, ...Object.fromEntries(new FormData(byId("filters"))) };
    this.#limit = SHOWN;
    byId("filter-clear").hidden = !isActive(this.#filter);
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
    say(byId("lost-text"), `${count(store.lost)} not shown: more came than a page can follow. `);
    byId("list").hidden = !found.length;
    const empty = byId("list-empty");
    empty.hidden = found.length > 0;
    say(empty, store.size ? "No request fits the filters." : "No requests yet. They appear here as the gateway asks.");
    const more = byId("list-more");
    more.hidden = total <= found.length;
    say(more, `Show ${count(Math.min(SHOWN, total - found.length))} of ${plural(total - found.length, "older request")}`);
  }

  #drawPause() {
    const { paused, waiting } = this.#store;
    const button = byId("pause");
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
