// The items that the page knows: bounded, in order, each once, also across reconnects and restarts of the service.
// Must not know: the network, or how items are shown.

export const KEPT = 1000;
/** Rows that are drawn at first; more on demand. */
export const SHOWN = 200;

export class Store {
  #items = []; // oldest first
  #waiting = []; // came while paused
  #waitingTotal = 0;
  #lastSeq = null;
  #epoch = 0;
  #paused = false;
  #changed;
  lost = 0;

  /** `changed` is called whenever something is new. */
  constructor(changed = () => {}) {
    this.#changed = changed;
  }

  get paused() {
    return this.#paused;
  }

  /** How many items came while paused; those beyond what is kept are counted, too. */
  get waiting() {
    return this.#waitingTotal;
  }

  get size() {
    return this.#items.length;
  }

  get epoch() {
    return this.#epoch;
  }

  /** Take the first message of a connection: what the service still knows. Returns how many items are new. */
  hello(message) {
    const items = message.items ?? [];
    if (this.#lastSeq !== null && this.#restarted(items)) {
      this.#epoch += 1;
      this.#lastSeq = null;
    }
    // What the service keeps has gaps: under load it keeps a part of what it decides.
    if (this.#lastSeq !== null && items.length) {
      const later = items.filter(({ seq }) => seq > this.#lastSeq).length;
      this.lost += items.at(-1).seq - this.#lastSeq - later;
    }
    return this.#take(items);
  }

  /** Take new items. Returns how many of them were not known. */
  decisions(message) {
    this.lost += message.lost ?? 0;
    return this.#take(message.items ?? []);
  }

  /** A service that starts again counts from the beginning: its numbers are smaller, or stand for other items. */
  #restarted(items) {
    if (!items.length || items.at(-1).seq < this.#lastSeq) return true;
    const times = new Map();
    for (const known of this.#known()) if (known.epoch === this.#epoch) times.set(known.seq, known.time);
    return items.some((item) => times.has(item.seq) && times.get(item.seq) !== item.time);
  }

  *#known() {
    yield* this.#items;
    yield* this.#waiting;
  }

  #take(items) {
    const fresh = [];
    for (const item of items) {
      if (this.#lastSeq !== null && item.seq <= this.#lastSeq) continue;
      this.#lastSeq = item.seq;
      fresh.push({ ...item, key: `${this.#epoch}:${item.seq}`, epoch: this.#epoch, at: Date.parse(item.time) });
    }
    const into = this.#paused ? this.#waiting : this.#items;
    into.push(...fresh);
    if (this.#paused) this.#waitingTotal += fresh.length;
    bound(into);
    this.#changed();
    return fresh.length;
  }

  pause() {
    this.#paused = true;
    this.#changed();
  }

  resume() {
    this.#paused = false;
    this.lost += this.#waitingTotal - this.#waiting.length;
    this.#items.push(...this.#waiting);
    bound(this.#items);
    this.#waiting = [];
    this.#waitingTotal = 0;
    this.#changed();
  }

  forgetLost() {
    this.lost = 0;
    this.#changed();
  }

  /** Return the newest `limit` items that `accepts` lets through, newest first, and how many there are in all. */
  newest(accepts, limit) {
    const found = [];
    let total = 0;
    for (let i = this.#items.length - 1; i >= 0; i--) {
      if (!accepts(this.#items[i])) continue;
      total += 1;
      if (found.length < limit) found.push(this.#items[i]);
    }
    return { found, total };
  }

  /** Return the newest item that `accepts` lets through, also among those that wait, or null. */
  find(accepts) {
    return this.#waiting.findLast(accepts) ?? this.#items.findLast(accepts) ?? null;
  }

  /** Return all items that `accepts` lets through, oldest first, also those that wait. */
  all(accepts) {
    return [...this.#known()].filter(accepts);
  }

  /** Return the different values that `read` finds, sorted, at most 200: suggestions for a filter. */
  values(read) {
    const values = new Set();
    for (const item of this.#items) {
      const value = read(item);
      if (value) values.add(value);
      if (values.size >= 200) break;
    }
    return [...values].sort();
  }
}

/** Return what names an item in an address, also after the page is loaded anew: numbers alone begin again with the service. */
export const idOf = ({ seq, at }) => `${seq}-${at}`;

/** Return whether the item with the key `a` is newer than the one with the key `b`. */
export function isNewer(a, b) {
  const [[epoch, seq], [otherEpoch, otherSeq]] = [a, b].map((key) => key.split(":").map(Number));
  return epoch > otherEpoch || (epoch === otherEpoch && seq > otherSeq);
}

function bound(items) {
  if (items.length > KEPT) items.splice(0, items.length - KEPT);
}
