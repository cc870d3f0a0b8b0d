// The WebSocket that brings decisions: opened, watched, and opened again with patience after it ends.
// Must not know: what the messages mean.

const FIRST_DELAY = 500; // ms; doubled with each attempt
const LONGEST_DELAY = 15_000; // ms: somebody who looks at the page should not wait longer than that for a service that is back
const SILENCE = 8_000; // ms: totals come each second, so this long a silence is a connection that is gone
const OFFLINE_AFTER = 3; // attempts that failed; before, it is likely a restart

/** Return how long to wait before attempt `n` (from 0): exponential, with jitter over its upper half, so that pages do not come all at once. */
export function delay(n, random = Math.random) {
  const most = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** n);
  return most / 2 + (most / 2) * random();
}

export class Stream {
  #url;
  #onMessage;
  #onState;
  #why;
  #socket = null;
  #timer = null;
  #watchdog = null;
  #failures = 0;
  #running = false;

  /** `why` is asked after a connection that never opened; it returns a sentence, or null to stop trying (somebody has to sign in). */
  constructor({ url, onMessage, onState, why }) {
    this.#url = url;
    this.#onMessage = onMessage;
    this.#onState = onState;
    this.#why = why;
    addEventListener("online", () => this.retry());
    document.addEventListener("visibilitychange", () => document.hidden || this.retry());
  }

  start() {
    this.#running = true;
    this.#failures = 0;
    this.#open();
  }

  stop() {
    this.#running = false;
    clearTimeout(this.#timer);
    this.#drop();
    this.#onState({ name: "stopped" });
  }

  /** Try now, if it is waiting. */
  retry() {
    if (this.#running && !this.#socket) this.#open();
  }

  #open() {
    clearTimeout(this.#timer);
    this.#drop();
    const socket = new WebSocket(this.#url);
    let opened = false;
    this.#socket = socket;
    this.#onState({ name: this.#failures ? "reconnecting" : "connecting", attempt: this.#failures });
    socket.addEventListener("message", (event) => {
      if (socket !== this.#socket) return;
      if (!opened) {
        opened = true;
        this.#failures = 0;
        this.#onState({ name: "connected" });
      }
      this.#watch(socket);
      this.#read(event.data);
    });
    socket.addEventListener("close", () => socket === this.#socket && this.#ended(opened));
    this.#watch(socket);
  }

  #read(data) {
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return; // not what this page speaks
    }
    if (message && typeof message.type === "string") this.#onMessage(message);
  }

  #watch(socket) {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => {
      if (socket !== this.#socket) return;
      this.#drop();
      this.#ended(true);
    }, SILENCE);
  }

  /** Leave the connection without hearing of its end: a peer that is gone would let `close` take long. */
  #drop() {
    clearTimeout(this.#watchdog);
    const socket = this.#socket;
    this.#socket = null;
    if (socket) socket.close();
  }

  async #ended(opened) {
    clearTimeout(this.#watchdog);
    this.#socket = null;
    if (!this.#running) return;
    const attempt = this.#failures;
    this.#failures += 1;
    const wait = delay(attempt);
    const name = attempt < OFFLINE_AFTER ? "reconnecting" : "offline";
    this.#onState({ name, attempt: this.#failures, wait });
    this.#timer = setTimeout(() => this.retry(), wait);
    if (opened) return;
    const why = await this.#why();
    if (why === null) this.stop();
    else if (this.#running && !this.#socket) this.#onState({ name, attempt: this.#failures, wait, why });
  }
}
