// The lab: the demo's scenarios, run one by one or all, with what was expected beside what came.

import { announce } from "../a11y.js";
import { button, byId, el, icon, isOff, put, say, switchOff } from "../dom.js";
import { plural } from "../format.js";
import { bareToken, composer } from "./composer.js";
import { curlLine, elapsed, outcome, resultBody } from "./results.js";

const PATIENCE = 65_000; // ms: a scenario may wait for another one that edits, for a policy to come into force, and for timeouts

const failed = (result) => Boolean(result) && !result.running && (Boolean(result.error) || result.ok === false);

/** Return what failures have in common that are shown together. */
const cause = ({ error, got }) => error ?? `got: ${got}`;

export class Lab {
  #api;
  #openTrace;
  #scenarios = [];
  #rows = new Map(); // name → the row's parts
  #list = el("div", { class: "scenario-groups" });
  #results = new Map();
  #token = null;
  #running = false;
  #stopping = false;
  #all = button("Run all", () => (this.#running ? this.#stop() : this.#runAll()), { kind: "primary", symbol: "play" });

  /** `openTrace(id)` shows the stream's item with this trace id. */
  constructor(api, openTrace) {
    this.#api = api;
    this.#openTrace = openTrace;
    addEventListener("pagehide", () => this.#token && (this.#token.value = ""));
  }

  /** The view is shown. What was run before stays. */
  async show() {
    if (!this.#scenarios.length) await this.load();
  }

  /** Return the scenarios; they are asked for once. */
  async load() {
    if (this.#scenarios.length) return this.#scenarios;
    try {
      const found = await this.#api.get("lab/scenarios");
      this.#scenarios = found.scenarios;
      this.#draw(found);
    } catch (error) {
      put(byId("lab-body"), el("p", { class: "note bad", text: error.message }), button("Try again", () => this.load()));
    }
    return this.#scenarios;
  }

  /** Run one scenario and return its result; one that failed to run has `error`. */
  async run(name) {
    this.#set(name, { running: true });
    const request = { name };
    if (this.#own()) request.token = this.#own();
    let result;
    try {
      result = await this.#api.post("lab/run", request, { patience: PATIENCE });
    } catch (error) {
      result = { error: error.message };
    }
    this.#set(name, result);
    return result;
  }

  #own() {
    return bareToken(this.#token?.value ?? "");
  }

  #draw({ gateway, keycloak }) {
    say(byId("lab-summary"), `${plural(this.#scenarios.length, "scenario")} through the gateway at ${gateway}${keycloak ? ", with tokens of a real Keycloak" : ""}.`);
    this.#token = el("input", { type: "password", autocomplete: "off", spellcheck: "false", placeholder: "optional" });
    const hosts = [...new Set(this.#scenarios.map(({ request }) => request?.host).filter(Boolean))];
    put(byId("lab-body"),
      // A form, since browsers expect a password field in one; there is nothing to submit.
      el("form", { class: "lab-bar", on: { submit: (event) => event.preventDefault() } },
        this.#all, el("p", { id: "lab-progress", class: "muted" }),
        el("label", { class: "field" }, el("span", { text: "Own bearer token" }), this.#token),
        el("p", { class: "muted small", text: "Sent only with a run, and never kept." })),
      el("h2", { class: "vh", text: "Scenarios" }),
      this.#list,
      composer(this.#api, { hosts, token: () => this.#own(), openTrace: this.#openTrace }));
    for (const scenario of this.#scenarios) this.#addRow(scenario);
    this.#arrange();
  }

  /** List the scenarios: failures first, those that came to the same together and collapsed, since they usually have one cause. */
  #arrange() {
    const failures = Map.groupBy(this.#scenarios.filter(({ name }) => failed(this.#results.get(name))), ({ name }) => cause(this.#results.get(name)));
    const others = this.#scenarios.filter(({ name }) => !failed(this.#results.get(name)));
    const rows = (scenarios) => el("ul", { class: "scenarios" }, scenarios.map(({ name }) => this.#rows.get(name).item));
    const focused = document.activeElement;
    put(this.#list,
      [...failures].map(([text, scenarios]) => el("details", { class: "failures" },
        el("summary", {}, icon("no"), el("strong", { text: `${scenarios.length} not as expected` }), el("span", { class: "failures-cause", text }),
          el("span", { class: "muted failures-names", text: scenarios.map(({ name }) => name).join(", ") })),
        rows(scenarios))),
      others.length > 0 && rows(others));
    if (this.#list.contains(focused)) focused.focus();
  }

  #addRow(scenario) {
    const { name, watch, request, count, kind } = scenario;
    const state = el("span", { class: "scenario-state" }, outcome(null));
    const time = el("span", { class: "muted nums scenario-time" });
    const body = el("div", { class: "scenario-body" }, el("p", {}, el("span", { class: "muted", text: "Expected: " }), scenario.expected));
    const details = el("details", { class: "scenario" },
      el("summary", {}, el("span", { class: "scenario-name", text: name }), el("span", { class: "scenario-watch", text: watch }), state, time),
      el("div", { class: "scenario-open" },
        request && el("p", { class: "mono" }, `${count > 1 ? `${count} × ` : ""}${request.method} ${request.host}${request.path}`, el("span", { class: "muted", text: ` token: ${request.subject}${kind === "edit" ? ", and an edited policy" : ""}` })),
        body,
        scenario.curl && curlLine(scenario.curl)));
    const run = button("Run", () => this.#runOne(name), { label: `Run ${name}` });
    this.#rows.set(name, { state, time, body, details, run, item: el("li", {}, details, run) });
  }

  #set(name, result) {
    this.#results.set(name, result);
    const row = this.#rows.get(name);
    if (!row) return;
    switchOff(row.run, Boolean(result.running));
    put(row.state, outcome(result));
    say(row.time, elapsed(result));
    if (!result.running) put(row.body, resultBody(result, this.#openTrace));
  }

  async #runOne(name) {
    const row = this.#rows.get(name);
    if (isOff(row.run)) return;
    const result = await this.run(name);
    row.details.open = true;
    announce(result.error ?? `${name}: ${result.ok ? "as expected" : result.ok === null ? "no verdict" : "not as expected"}. ${result.got}`);
  }

  async #runAll() {
    this.#running = true;
    this.#stopping = false;
    this.#label("Stop", "pause");
    const progress = byId("lab-progress");
    let [good, skipped, done] = [0, 0, 0];
    for (const { name } of this.#scenarios) {
      if (this.#stopping) break;
      say(progress, `${done + 1} of ${this.#scenarios.length}: ${name}`);
      const result = await this.run(name);
      done += 1;
      if (result.ok) good += 1;
      else if (result.ok === null) skipped += 1;
      else this.#rows.get(name).details.open = false;
    }
    this.#arrange();
    this.#running = false;
    this.#label("Run all", "play");
    const text = `${good} of ${plural(done, "scenario")} as expected${skipped ? `, ${skipped} skipped` : ""}${this.#stopping ? "; stopped" : ""}.`;
    say(progress, text);
    announce(text);
  }

  #stop() {
    this.#stopping = true;
    say(byId("lab-progress"), "Stopping after this scenario …");
  }

  #label(text, symbol) {
    put(this.#all, icon(symbol), el("span", { text }));
  }
}
