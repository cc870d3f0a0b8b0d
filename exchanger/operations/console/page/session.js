// Signing in and out. The token is read from the field, sent once, and wiped; the service's cookie is out of reach of scripts.

import { byId, say } from "./dom.js";

export class Session {
  #api;
  #onSignedIn;
  #needed = false;

  constructor(api, onSignedIn) {
    this.#api = api;
    this.#onSignedIn = onSignedIn;
    byId("sign-in-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#signIn();
    });
    // Without a session there is nothing to go back to.
    byId("sign-in").addEventListener("cancel", (event) => event.preventDefault());
    // Browsers let a page refuse that only once; the second time, the dialog is shown again.
    byId("sign-in").addEventListener("close", () => this.#needed && this.#show());
    // The cookie belongs to all pages of this console: somebody who comes back to this one may have signed in on another.
    document.addEventListener("visibilitychange", () => document.hidden || this.#look());
    addEventListener("focus", () => this.#look());
  }

  /** Ask for the token, unless that is being done. */
  require() {
    this.#needed = true;
    if (byId("sign-in").open) return;
    say(byId("sign-in-error"), "");
    this.#show();
  }

  #show() {
    const dialog = byId("sign-in");
    if (!dialog.open) dialog.showModal();
    byId("sign-in-token").focus();
  }

  /** Forget the session and, with the page, whatever it shows and knows. */
  async signOut() {
    try {
      await this.#api.delete("session");
    } catch {
      // The service is away, and its cookie stays until it is back.
    }
    location.reload();
  }

  async #signIn() {
    const field = byId("sign-in-token");
    const token = field.value.trim();
    field.value = "";
    if (!token) return;
    say(byId("sign-in-error"), "");
    try {
      await this.#api.post("session", { token }, { quietly: true });
    } catch (error) {
      say(byId("sign-in-error"), error.status === 401 ? "This is not the console's token." : error.message);
      field.focus();
      return;
    }
    this.#signedIn();
  }

  /** Look whether there is a session by now, while one is asked for. */
  async #look() {
    if (!this.#needed) return;
    try {
      const about = await this.#api.get("api/about", {}, { quietly: true });
      if (about.version && this.#needed) this.#signedIn();
    } catch {
      // The token is still asked for, and signing in says what is wrong.
    }
  }

  #signedIn() {
    this.#needed = false;
    byId("sign-in-token").value = "";
    const dialog = byId("sign-in");
    dialog.close();
    // The focus is where it was before; without a place there, it would be nowhere.
    if (document.activeElement === document.body || dialog.contains(document.activeElement)) byId("main").focus();
    this.#onSignedIn();
  }
}
