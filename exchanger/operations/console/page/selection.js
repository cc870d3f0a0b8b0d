// Which request is open: the panel, the mark in the list, the rows that wait meanwhile and the address all follow it. It belongs to the live
// view alone. Must not know: what the panel shows, or the network.

import { liveHash } from "./address.js";
import { button, byId, el, icon, put } from "./dom.js";
import { idOf } from "./store.js";

const GONE = "This request is no longer here. A console keeps the newest decisions of its own pod until the pod restarts.";
const AWAITED = "This request has not arrived yet. It opens when it does.";

export class Selection {
  #store;
  #live;
  #panel;
  #address;
  #awaited = null; // {is(item), trace} of the request that the address names, by a trace id or as `idOf` does, while it is not there
  #greeted = false; // whether the service has told what it keeps

  constructor({ store, live, panel, address }) {
    this.#store = store;
    this.#live = live;
    this.#panel = panel;
    this.#address = address;
  }

  /** Show `item`, for somebody who chose it. The first one is an entry of the history, so that Back closes it. */
  open = (item) => {
    const first = !this.#panel.isOpen;
    this.#show(item);
    this.#write(first);
  };

  /** Close what is open, for somebody who asked for it. */
  close() {
    this.leave();
    this.#write(true);
  }

  /** Close what is open; the address says so already. */
  leave() {
    this.#forget();
    const { item } = this.#panel;
    if (!item) return;
    const lost = this.#panel.close();
    this.#live.list.mark(null);
    this.#live.hold(false);
    if (lost && (byId("view-live").hidden || !this.#live.list.focus(item.key))) byId("main").focus();
  }

  /** Show what the address asks for: `request` as `idOf` has it, or `trace`, which may still come. */
  follow(query) {
    const [request, trace] = [query.get("request"), query.get("trace")];
    const open = this.#panel.item;
    const is = request ? (item) => idOf(item) === request : (item) => item.trace_id === trace;
    if (!request && !trace) this.leave();
    else if (open && is(open)) this.#forget();
    else {
      this.#awaited = { is, trace: !request };
      if (!this.look()) this.#miss();
    }
  }

  /** The filter has changed. */
  filtered(push) {
    this.#write(push);
  }

  /** The service has told what it keeps: what is not among it is gone. */
  greeted() {
    this.#greeted = true;
    if (!this.look()) this.#miss();
  }

  /** Look for what the address asks for among the items that there are. Returns whether it is found, or nothing is asked for. */
  look() {
    if (!this.#awaited) return true;
    const item = this.#store.find(this.#awaited.is);
    if (!item) return false;
    this.#show(item);
    this.#write(false);
    return true;
  }

  #miss() {
    const awaited = this.#awaited;
    this.leave();
    if (awaited.trace || !this.#greeted) this.#awaited = awaited; // it may still come
    if (!this.#greeted && !awaited.trace) return;
    const done = () => {
      this.leave();
      this.#write(false);
      byId("main").focus();
    };
    put(byId("gone"), el("div", { class: "note warn" }, icon("broken"), el("span", { text: awaited.trace ? AWAITED : GONE }), button("OK", done, { kind: "link" })));
  }

  #show(item) {
    this.#forget();
    if (!this.#panel.isOpen) this.#live.hold(true);
    this.#panel.open(item);
    this.#live.list.mark(item.key);
  }

  #forget() {
    this.#awaited = null;
    put(byId("gone"));
  }

  #write(push) {
    const { item } = this.#panel;
    const { filter } = this.#live;
    const hash = liveHash(filter, item && idOf(item));
    document.querySelector('[data-view="live"]').setAttribute("href", liveHash(filter, null));
    if (push) this.#address.push(hash);
    else this.#address.replace(hash);
  }
}
