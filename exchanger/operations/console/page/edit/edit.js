// The edit view: the demo's policy files, checked while somebody types, saved, put back, and tried out at once.

import { announce, ask, notify } from "../a11y.js";
import { problemList } from "../code.js";
import { button, byId, el, icon, isOff, put, say, switchOff } from "../dom.js";
import { plural } from "../format.js";
import { elapsed, outcome, resultBody } from "../lab/results.js";
import { changes } from "./changes.js";
import { Editor } from "./editor.js";

const PAUSE = 300; // ms without a key before the text is checked

export class Edit {
  #api;
  #lab;
  #openTrace;
  // name → {saved, text, version, added, saving, again, failed}: as it is in the folder, in the editor, and which one the folder's is; whether
  // the demo did not come with it; the text that is on its way to the folder, if one is, and whether a later one is to follow it; why the last
  // save of the text failed
  #files = new Map();
  #name = null;
  #editor = null;
  #timer = null;
  #asking = null; // AbortController of the check that is under way
  #revision = null; // of the policy when the folder was last looked at
  #parts = {};

  /** `lab` runs scenarios: the effect of an edit is seen by one. */
  constructor(api, lab, openTrace) {
    this.#api = api;
    this.#lab = lab;
    this.#openTrace = openTrace;
    // An author who has added a file elsewhere comes back to this page. A file that changes no policy makes no other sign.
    addEventListener("focus", () => this.#lookIfShown());
    addEventListener("beforeunload", (event) => this.unsaved && event.preventDefault());
    document.addEventListener("keydown", (event) => {
      if (event.key !== "s" || !(event.ctrlKey || event.metaKey) || event.altKey || byId("view-edit").hidden) return;
      event.preventDefault();
      if (!document.querySelector("dialog[open]")) this.#save(this.#name);
    });
  }

  get unsaved() {
    return [...this.#files.values()].some(({ saved, text }) => saved !== text);
  }

  /** The view is shown; `name` is a file, or nothing. What was typed before stays. */
  async show([name]) {
    if (this.#files.has(name)) this.#open(name);
    if (this.#files.size) await this.#look();
    else await this.#load();
    if (name && this.#files.has(name)) this.#open(name);
    else if (name && this.#files.size) notify(`There is no file ${name}.`);
  }

  /** A version of the policy is active: with another one, files may have come or gone. */
  published(revision) {
    if (this.#revision !== null && this.#revision !== revision) this.#lookIfShown();
    this.#revision = revision;
  }

  #lookIfShown() {
    if (this.#files.size && !byId("view-edit").hidden) this.#look();
  }

  async #load() {
    try {
      const { files } = await this.#api.get("lab/policy");
      this.#files = new Map(files.map(({ name, text, version, added }) => [name, { saved: text, text, version, added }]));
      this.#draw();
      if (files.length) this.#openFirst();
    } catch (error) {
      put(byId("edit-body"), el("p", { class: "note bad", text: error.message }), button("Try again", () => this.#load()));
    }
  }

  /** Look what the files are now: others may have added, changed or deleted some. What was typed here stays. */
  async #look() {
    const asked = new Map([...this.#files].map(([name, { version }]) => [name, version]));
    try {
      const { files } = await this.#api.get("lab/policy");
      this.#take(files, asked);
    } catch {
      // They are as they were here, then; saving tells when that is not so.
    }
  }

  /** Take what the files were when the versions here were `asked`; what was done here since is newer. */
  #take(files, asked) {
    const isUntouched = (name) => {
      const known = this.#files.get(name);
      return known?.version === asked.get(name) && (!known || (known.saving === undefined && known.saved === known.text));
    };
    const there = new Set(files.map(({ name }) => name));
    for (const name of asked.keys()) if (!there.has(name) && isUntouched(name)) this.#files.delete(name);
    for (const { name, text, version, added } of files) {
      if (!isUntouched(name) || asked.get(name) === version) continue;
      this.#files.set(name, { saved: text, text, version, added });
      if (name !== this.#name) continue;
      this.#editor.text = text;
      this.#lint();
    }
    const names = new Set([...there, ...this.#files.keys()].filter((name) => this.#files.has(name)));
    this.#files = new Map([...names].map((name) => [name, this.#files.get(name)]));
    if (this.#files.has(this.#name)) this.#drawFiles();
    else this.#openFirst();
  }

  #openFirst() {
    this.#open(this.#files.keys().next().value);
  }

  #draw() {
    this.#editor = new Editor({ label: "Policy file", describedBy: "edit-state", onInput: () => this.#typed() });
    const parts = this.#parts;
    parts.files = el("ul", { class: "files", role: "list" });
    parts.state = el("p", { id: "edit-state", class: "edit-state", role: "status" });
    parts.problems = el("div", { class: "edit-problems" });
    parts.save = button("Save", () => this.#save(this.#name), { kind: "primary", "aria-keyshortcuts": "Control+S" });
    parts.reset = button("Reset", () => this.#reset());
    parts.changes = el("div", { class: "edit-changes" });
    parts.effect = el("div", { class: "edit-effect" });
    parts.newName = el("input", { name: "name", required: true, placeholder: "green.yaml", autocomplete: "off", autocapitalize: "off", spellcheck: "false", maxlength: "100", "aria-describedby": "new-file-error" });
    parts.newError = el("p", { id: "new-file-error", class: "error", role: "alert" });
    parts.create = button("Create", null, { type: "submit" });
    put(byId("edit-body"), el("nav", { class: "edit-files", "aria-label": "Policy files" }, parts.files,
      el("form", { class: "new-file", on: { submit: (event) => this.#create(event) } }, el("label", { class: "field" }, el("span", { text: "New file" }), parts.newName), parts.create, parts.newError)),
      el("div", { class: "edit-bar" }, parts.save, parts.reset, parts.state), this.#editor.node,
      el("div", { class: "edit-side", role: "group", tabindex: "0", "aria-label": "Check, and what changes" }, el("h2", { text: "Check" }), parts.problems, el("h2", { text: "What changes" }), parts.changes, parts.effect));
  }

  #drawFiles() {
    put(this.#parts.files, [...this.#files].map(([name, { saved, text }]) =>
      el("li", {}, el("a", { href: `#/edit/${encodeURIComponent(name)}`, "aria-current": name === this.#name ? "true" : null },
        name, saved !== text && el("span", { class: "dirty" }, el("span", { class: "vh", text: " (not saved)" }))))));
    byId("edit-mark").hidden = !this.unsaved;
    const { saved, text, saving, added } = this.#files.get(this.#name);
    switchOff(this.#parts.save, (saving ?? saved) === text);
    switchOff(this.#parts.reset, saving !== undefined);
    say(this.#parts.reset, added ? "Delete" : "Reset");
  }

  #open(name) {
    if (name === this.#name) return;
    this.#name = name;
    this.#editor.text = this.#files.get(name).text;
    put(this.#parts.effect);
    this.#drawFiles();
    this.#lint();
  }

  #typed() {
    Object.assign(this.#files.get(this.#name), { text: this.#editor.text, failed: undefined });
    this.#drawFiles();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#lint(), PAUSE);
  }

  /** Check the text. An answer about an older text is dropped, and its question called back. */
  async #lint() {
    clearTimeout(this.#timer);
    this.#asking?.abort();
    const asking = (this.#asking = new AbortController());
    const { saved, text } = this.#files.get(this.#name);
    try {
      const found = await this.#api.post("lab/policy/lint", { name: this.#name, text, ...(saved !== text && { compare: "saved" }) }, { signal: asking.signal });
      if (asking !== this.#asking) return;
      this.#drawProblems(found.problems, found.documents);
      this.#drawChanges(found.compared ?? null);
    } catch (error) {
      if (asking === this.#asking && error.name !== "AbortError") this.#say(error.message, "bad");
    }
  }

  #drawProblems(problems, documents = null) {
    this.#editor.setProblems(problems);
    const { saved, text, saving, failed } = this.#files.get(this.#name);
    const unsaved = saved !== text ? "Not saved. " : "";
    if (saving !== undefined) this.#say("Saving …", "busy");
    else if (failed !== undefined) this.#say(`Not saved: ${failed}`, "bad");
    else if (problems.length) this.#say(`${unsaved}${plural(problems.length, "problem")}.`, "bad");
    else this.#say(`${unsaved}No problems${documents === null ? "" : ` in ${plural(documents, "document")}`}.`, "good");
    put(this.#parts.problems, problems.length
      ? problemList(problems, ({ line, column }) => this.#editor.go(line, column))
      : el("p", { class: "muted", text: "Problems are listed here while you type, with their lines." }));
  }

  #drawChanges(compared = null) {
    const { saved, text } = this.#files.get(this.#name);
    put(this.#parts.changes, changes(saved, text, compared));
  }

  #say(text, kind) {
    const { state } = this.#parts;
    if (state.textContent === text) return;
    state.dataset.kind = kind;
    put(state, kind !== "busy" && icon(kind === "bad" ? "broken" : "ok"), el("span", { text }));
  }

  /**
   * Save the text of `name`; with `over`, whatever is in the file now. One save of a file is under way at a time, since the next has to know
   * the version that the one before makes.
   */
  async #save(name, over = false) {
    const file = this.#files.get(name);
    if (!file) return;
    if (file.saving !== undefined) {
      file.again = file.text !== file.saving;
      return;
    }
    if (file.saved === file.text) return;
    const text = file.text;
    const known = !over && file.version ? { version: file.version } : {};
    Object.assign(file, { saving: text, again: false, failed: undefined });
    this.#drawFiles();
    if (name === this.#name) this.#say("Saving …", "busy");
    try {
      const answer = await this.#api.put("lab/policy", { name, text, ...known });
      file.saving = undefined;
      Object.assign(file, { saved: text, version: answer.version });
      notify(`${name} is saved.`);
      this.#drawSaved(name, file, answer);
    } catch (error) {
      Object.assign(file, { saving: undefined, failed: file.text === text ? error.message : undefined });
      this.#drawFiles();
      if (name === this.#name) this.#say(`Not saved: ${error.message}`, "bad");
      if (error.status !== 409) return;
      const sentence = "Another page or editor has saved it since it was opened here. Those changes would be lost.";
      if (!(await ask(`Overwrite ${name}?`, sentence, "Overwrite")) || name !== this.#name) return;
      file.again = true;
      over = true;
    }
    if (file.again) await this.#save(name, over);
  }

  /** Show what came of a save. Its problems are those of its text, and not of what was typed meanwhile. */
  #drawSaved(name, file, { problems, active: isActive }) {
    this.#drawFiles();
    if (name !== this.#name || this.#files.get(name) !== file) return;
    if (file.text === file.saved) {
      this.#drawProblems(problems);
      this.#drawChanges();
    } else this.#lint();
    this.#drawEffect(isActive);
  }

  /** Make a file in the folder. The service judges its name, and gives it its first text. */
  async #create(event) {
    event.preventDefault();
    const { newName, newError, create } = this.#parts;
    const name = newName.value.trim();
    if (isOff(create)) return;
    switchOff(create, true);
    say(newError, "");
    try {
      const { text, version, active: isActive } = await this.#api.post("lab/policy", { name });
      const known = this.#files.get(name); // deleted elsewhere; what was typed meanwhile is kept
      this.#files.set(name, { saved: text, text: known && known.saved !== known.text ? known.text : text, version, added: true });
      newName.value = "";
      notify(`${name} is created.`);
      location.hash = `#/edit/${encodeURIComponent(name)}`;
      if (name === this.#name) this.#drawFiles();
      else this.#open(name);
      this.#editor.focus();
      this.#drawEffect(isActive);
    } catch (error) {
      say(newError, error.message);
    } finally {
      switchOff(create, false);
    }
  }

  /** Give the file its first text; one that the demo did not come with has none, and is deleted. */
  async #reset() {
    const name = this.#name;
    if (isOff(this.#parts.reset)) return; // it could overtake the save
    const sure = this.#files.get(name).added
      ? ask(`Delete ${name}?`, "The demo did not come with this file. Its policy is removed, and its text is lost.", "Delete")
      : ask(`Reset ${name}?`, "The file gets the text that the demo came with. Your edits are lost.", "Reset");
    if (!(await sure)) return;
    try {
      const { text, version, removed } = await this.#api.post("lab/policy/reset", { name });
      if (removed) {
        this.#files.delete(name);
        notify(`${name} is deleted.`);
        if (name !== this.#name) return this.#drawFiles();
        location.hash = "#/edit";
        return this.#openFirst();
      }
      this.#files.set(name, { saved: text, text, version });
      if (name === this.#name) this.#editor.text = text;
      put(this.#parts.effect);
      this.#drawFiles();
      notify(`${name} is reset.`);
      return await this.#lint();
    } catch (error) {
      return this.#say(error.message, "bad");
    }
  }

  /** After saving: offer the scenarios whose host this file speaks of, so that the effect can be seen at once. */
  async #drawEffect(isActive) {
    const text = this.#files.get(this.#name).text;
    const note = isActive ? el("p", { class: "note good" }, icon("ok"), "Saved, and active.") : el("p", { class: "note" }, "Saved. The active policy has not changed.");
    const fitting = (await this.#lab.load()).filter(({ request }) => request && text.includes(request.host));
    if (!fitting.length) return put(this.#parts.effect, note, el("p", { class: "muted", text: "Send a request to see the effect." }));
    const choice = el("select", {}, fitting.map(({ name }) => el("option", { value: name, text: name })));
    const place = el("div", {});
    const run = button("Run it", async () => {
      put(place, outcome({ running: true }));
      const result = await this.#lab.run(choice.value);
      put(place, el("p", { class: "composer-line" }, outcome(result), el("span", { class: "muted nums", text: elapsed(result) })), resultBody(result, this.#openTrace));
      announce(result.error ?? `${choice.value}: ${result.got}`);
    }, { symbol: "play" });
    return put(this.#parts.effect, note, el("p", { class: "muted", text: "Run a scenario to see the effect:" }),
      el("div", { class: "effect-bar" }, el("label", { class: "field" }, el("span", { text: "Scenario" }), choice), run), place);
  }
}
