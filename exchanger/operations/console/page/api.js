// Requests to the service: JSON in and out, bounded in time, and errors as sentences for people.
// Must not know: what is asked, or tokens beyond passing one on.

const PATIENCE = 15_000; // ms; what is asked here is answered from memory

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export class Api {
  #onUnauthorized;

  /** `onUnauthorized` is called when a session is missing or has ended. */
  constructor(onUnauthorized) {
    this.#onUnauthorized = onUnauthorized;
  }

  get(path, query = {}, options = {}) {
    const text = new URLSearchParams(query).toString();
    return this.#ask("GET", text ? `${path}?${text}` : path, undefined, options);
  }

  post(path, body, options = {}) {
    return this.#ask("POST", path, body, options);
  }

  put(path, body, options = {}) {
    return this.#ask("PUT", path, body, options);
  }

  delete(path) {
    return this.#ask("DELETE", path, undefined, {});
  }

  async #ask(method, path, body, { signal, patience = PATIENCE, quietly = false }) {
    const ends = AbortSignal.timeout(patience);
    let response;
    let answer = null;
    try {
      response = await fetch(path, {
        method,
        headers: body === undefined ? {} : { "Content-Type": "application/json" },
        body: body === undefined ? undefined : JSON.stringify(body),
        credentials: "same-origin",
        cache: "no-store",
        redirect: "error",
        signal: signal ? AbortSignal.any([signal, ends]) : ends,
      });
      const text = await response.text();
      if (text) answer = JSON.parse(text);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      if (error.name === "TimeoutError") throw new ApiError(0, "The service did not answer in time.");
      if (error instanceof SyntaxError) throw new ApiError(response.status, `The answer (${response.status}) is not JSON.`);
      throw new ApiError(0, "The service cannot be reached.");
    }
    if (response.ok) return answer;
    if (response.status === 401 && !quietly) this.#onUnauthorized();
    throw new ApiError(response.status, typeof answer?.error === "string" ? answer.error : `The service answered ${response.status}.`);
  }
}
