// What the totals of each second say about the last two minutes: rates, errors, percentiles, and the share of exchanges that were saved. Pure.

import { byFamily } from "./decisions.js";

export const SECONDS = 120;
const WINDOW = 10; // seconds over which a percentile is taken: in one second there are often too few requests

/**
 * Estimate the `q` quantile of a histogram: linear within the bucket, as Prometheus does. Null without observations; `open` says that it
 * lies in the last bucket, of which only the lower bound is known.
 */
export function quantile(bounds, counts, q) {
  const total = counts.reduce((sum, n) => sum + n, 0);
  if (total <= 0) return null;
  const rank = q * total;
  let below = 0;
  for (let i = 0; i < bounds.length; i++) {
    if (below + counts[i] >= rank && counts[i] > 0) {
      const lower = i === 0 ? 0 : bounds[i - 1];
      return { value: lower + (bounds[i] - lower) * ((rank - below) / counts[i]), open: false };
    }
    below += counts[i];
  }
  return { value: bounds.at(-1), open: true };
}

/** Return the counts that came between two histograms with the same bounds. */
export function between(before, after) {
  return after.counts.map((n, i) => Math.max(0, n - (before.counts[i] ?? 0)));
}

export class Series {
  #samples = []; // totals, oldest first, one more than there are rates

  /** Take the totals of now. A service that started again counts from nothing, so what was before is forgotten. */
  push(totals) {
    const last = this.#samples.at(-1);
    if (totals.time === last?.time) return; // the newest of the history, which may come once more
    if (last && (totals.time < last.time || sum(totals.decisions) < sum(last.decisions))) this.#samples = [];
    this.#samples.push(totals);
    const oldest = totals.time - SECONDS * 1000;
    while (this.#samples.length > 1 && this.#samples[1].time <= oldest) this.#samples.shift();
  }

  /** Take what the service knows of the last minutes in place of what is known here. */
  fill(history) {
    this.#samples = [];
    for (const totals of history) this.push(totals);
  }

  get size() {
    return Math.max(0, this.#samples.length - 1);
  }

  /** Return for each second `{time, total, families}` with decisions a second. */
  rates() {
    return this.#steps(1, (before, after, seconds) => {
      const [old, now] = [byFamily(before.decisions), byFamily(after.decisions)];
      const families = Object.fromEntries(Object.keys(now).map((id) => [id, Math.max(0, now[id] - old[id]) / seconds]));
      return { time: after.time, total: sum(families), families };
    });
  }

  /** Return for each second `{time, p50, p99}` in milliseconds, each null or `{value, open}`. */
  latency() {
    return this.#steps(WINDOW, (before, after) => {
      const counts = between(before.latency, after.latency);
      const of = (q) => {
        const found = quantile(after.latency.bounds, counts, q);
        return found && { value: found.value * 1000, open: found.open };
      };
      return { time: after.time, p50: of(0.5), p99: of(0.99) };
    });
  }

  /** Return for each second `{time, share}`: which part of the decisions in the window before were errors, null without any. */
  errors() {
    return this.#steps(WINDOW, (before, after) => {
      const decided = sum(after.decisions) - sum(before.decisions);
      return { time: after.time, share: decided > 0 ? Math.max(0, errorsOf(after) - errorsOf(before)) / decided : null };
    });
  }

  /** Return for each second `{time, share}`: which part of the exchanges in the window before shared another one's call, null without any. */
  saved() {
    return this.#steps(WINDOW, (before, after) => {
      const exchanges = after.exchanges - before.exchanges;
      return { time: after.time, share: exchanges > 0 ? (after.coalesced - before.coalesced) / exchanges : null };
    });
  }

  /** Return the sums over all that is kept: decisions, by family too, errors, exchanges, and how many were saved. */
  sums() {
    if (!this.size) return { families: byFamily({}), decided: 0, errors: 0, exchanges: 0, coalesced: 0 };
    const [first, last] = [this.#samples[0], this.#samples.at(-1)];
    const [old, now] = [byFamily(first.decisions), byFamily(last.decisions)];
    return {
      families: Object.fromEntries(Object.keys(now).map((id) => [id, now[id] - old[id]])),
      decided: sum(last.decisions) - sum(first.decisions),
      errors: errorsOf(last) - errorsOf(first),
      exchanges: last.exchanges - first.exchanges,
      coalesced: last.coalesced - first.coalesced,
    };
  }

  #steps(back, make) {
    return this.#samples.slice(1).map((after, i) => {
      const before = this.#samples[Math.max(0, i + 1 - back)];
      return make(before, after, (after.time - before.time) / 1000);
    });
  }
}

/** Return how many clients got a 5xx: a service before this one does not say, and then it is about as many as these. */
function errorsOf(totals) {
  const { failed, broken } = byFamily(totals.decisions);
  return totals.errors ?? failed + broken;
}

function sum(mapping) {
  return Object.values(mapping).reduce((total, n) => total + n, 0);
}
