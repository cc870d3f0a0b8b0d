// The policy view: every document by namespace with its health, and one document with its problems at their lines.

import { announce } from "./a11y.js";
import { codeBox, problemList, problemText } from "./code.js";
import { documentHash } from "./detail/policy.js";
import { byId, el, icon, put, say, table } from "./dom.js";
import { count, entryName, plural, policyName, targetText, unhealthy } from "./format.js";
import { showProfiles } from "./profiles.js";

const HEALTH = { ok: ["ok", "ok"], problems: ["broken", "problems"], conflicts: ["changed", "conflicts"], refused: ["refused", "refused"] };
const ENTRIES = 1000; // of a document that are listed; a megabyte holds 20,000
const LISTED = 20; // problems of a document that the list of documents has; the document has all
const PATIENCE = 1000; // ms between a new version and asking for it: many come at once when many documents change

export class PolicyView {
  #api;
  #overview = null;
  #shown = null; // {namespace, name, entry} of the open document; the entry is the one that is marked, null for none
  #later = null;
  #asked = 0;

  constructor(api) {
    this.#api = api;
    byId("policy-filter").addEventListener("input", () => this.#drawTree());
    byId("policy-refresh").addEventListener("click", async () => {
      await this.#load();
      announce("The policy is up to date.");
    });
  }

  /** The view is shown; `path` is empty, or namespace and name of a document, and an entry of it. */
  show([namespace, name, entry]) {
    if (namespace && name) this.#open({ namespace, name, entry: /^\d{1,7}$/.test(entry ?? "") ? Number(entry) : null });
    return this.#load();
  }

  /** Another version is active. Only what is on screen is asked for, and not more than once a second. */
  published(revision) {
    if (byId("view-policy").hidden || this.#overview?.revision === revision) return;
    this.#later ??= setTimeout(() => {
      this.#later = null;
      this.#load();
    }, PATIENCE);
  }

  async #load() {
    const asked = ++this.#asked;
    const profiles = showProfiles(this.#api);
    try {
      const overview = await this.#api.get("api/policy");
      if (asked !== this.#asked) return; // a newer question is under way
      const news = this.#overview?.revision !== overview.revision;
      this.#overview = overview;
      this.#drawTree();
      if (!this.#shown) await this.#openWorst();
      else if (news) await this.#open(this.#shown);
    } catch (error) {
      if (asked === this.#asked) say(byId("policy-summary"), error.message);
    }
    await profiles;
  }

  #drawTree() {
    const overview = this.#overview;
    if (!overview) return;
    const wanted = byId("policy-filter").value.trim().toLowerCase();
    const listed = documentsOf(overview);
    const ill = unhealthy(overview.invalid_documents, listed.filter(({ health }) => health === "conflicts").length);
    say(byId("policy-summary"),
      `Version ${count(overview.revision)}${overview.ready ? "" : ", not ready yet: everything is refused"}: ${plural(listed.length + overview.more, "document")}, ` +
      `${[plural(overview.entries, "entry", "entries"), ...ill].join(", ")}.`);
    this.#drawNotices(overview.notices ?? { listed: [], more: 0 });
    const namespaces = overview.namespaces
      .map((namespace) => ({ ...namespace, documents: namespace.documents.filter(({ name }) => !wanted || `${namespace.name}/${name}`.toLowerCase().includes(wanted)) }))
      .filter((namespace) => namespace.documents.length);
    put(byId("policy-tree"),
      namespaces.length ? namespaces.map((namespace) => this.#namespace(namespace)) : el("p", { class: "empty", text: wanted ? "Nothing has that name." : "There is no policy." }),
      overview.more > 0 && el("p", { class: "note", text: `${plural(overview.more, "healthy document")} more are not listed.` }));
  }

  /** What looks as if it protected, and has no effect. */
  #drawNotices({ listed, more }) {
    const place = byId("policy-notices");
    place.hidden = !listed.length;
    put(place,
      el("h2", { id: "policy-notices-title", text: plural(listed.length + more, "probable mistake") }),
      el("ul", { class: "problems" }, listed.map(({ code, subject, text, remedy }) =>
        el("li", {}, icon("broken"), el("span", {}, el("strong", { text: subject }), ` ${text} (${remedy})`, code && ` ${code}`)))),
      more > 0 && el("p", { class: "muted", text: `${count(more)} more are not listed.` }));
  }

  #namespace({ name, documents }) {
    return el("section", { class: "namespace" }, el("h2", { text: name }), el("ul", {}, documents.map((document) => this.#documentLink(name, document))));
  }

  #documentLink(namespace, { name, entries, health, problems }) {
    const [symbol, word] = HEALTH[health] ?? ["broken", health];
    const current = this.#shown?.namespace === namespace && this.#shown?.name === name;
    return el("li", {}, el("a", { href: documentHash({ namespace, name }), class: `document h-${health}`, "aria-current": current ? "true" : null },
      el("span", { class: "document-name", text: name }),
      el("span", { class: "health" }, icon(symbol), problems.length ? `${count(problems.length)}${problems.length < LISTED ? "" : " or more"} ${problems.length === 1 ? "problem" : "problems"}` : word),
      el("span", { class: "muted nums", text: plural(entries, "entry", "entries") })));
  }

  /** Nobody has chosen a document: show the first one with a problem, else one with anything to look at, else the first. */
  #openWorst() {
    const listed = documentsOf(this.#overview);
    const first = listed.find(({ health }) => health === "problems") ?? listed.find(({ health }) => health !== "ok") ?? listed[0];
    if (first) return this.#open({ ...first, entry: null }, { chosen: false });
    return put(byId("policy-document"), el("p", { class: "empty", text: "There is no document to read." }));
  }

  /** `chosen`: somebody asked for it. */
  async #open({ namespace, name, entry }, { chosen = true } = {}) {
    const other = !this.#isShown(namespace, name);
    const moved = other || this.#shown.entry !== entry;
    this.#shown = { namespace, name, entry };
    this.#drawTree();
    const place = byId("policy-document");
    if (other) put(place, el("p", { class: "muted loading", text: "Loading the document …" }));
    let found;
    try {
      found = await this.#api.get("api/policy/document", { namespace, name });
    } catch (error) {
      if (this.#isShown(namespace, name)) put(place, el("h2", { text: `${namespace}/${name}` }), el("p", { class: "note bad", text: error.status === 404 ? "This document does not exist (any more)." : error.message }));
      return;
    }
    if (!this.#isShown(namespace, name)) return;
    this.#drawDocument(place, found, moved);
    // Where the document is below the list, it would not be seen.
    if (other && chosen && matchMedia("(max-width: 760px)").matches) place.scrollIntoView({ block: "start" });
    if (other && chosen) announce(`${namespace}/${name}, ${plural(found.problems.length, "problem")}.`);
  }

  #isShown(namespace, name) {
    return this.#shown?.namespace === namespace && this.#shown?.name === name;
  }

  /** `moved`: somebody came here to see the entry; otherwise the text stays where they have scrolled it. */
  #drawDocument(place, found, moved) {
    const notes = found.problems.filter(({ line }) => line).map((problem) => ({ ...problem, text: problemText(problem) }));
    const before = place.querySelector(".code")?.scrollTop ?? 0;
    const code = found.text === null ? null : codeBox(found.text, { marks: this.#marks(found), notes, label: `${policyName(found)}, its text` });
    const go = (problem) => {
      const row = code?.box.querySelector(`[data-line="${Number(problem.line)}"]`);
      if (!row) return;
      code.box.scrollTop = row.offsetTop - code.box.clientHeight / 3;
      code.box.focus();
    };
    const more = found.entries.length - ENTRIES;
    put(place,
      el("h2", { text: policyName(found) }),
      found.problems.length > 0 && [el("h3", { text: plural(found.problems.length, "problem") }), problemList(found.problems, go)],
      found.refused?.length > 0 && [el("h3", { text: `${count(found.refused.length)} not granted` }), problemList(found.refused)],
      code ? code.box : el("p", { class: "note", text: "The document's text cannot be shown." }),
      found.entries.length > 0 && table("Entries", ["line", "host and prefix", "methods", "action", "token for"], found.entries.slice(0, ENTRIES).map((entry) => entryRow(entry, entry.entry === this.#shown.entry)), { showCaption: true, stacks: true }),
      more > 0 && el("p", { class: "muted", text: `${plural(more, "more entry", "more entries")} of this document are not listed.` }));
    if (moved) code?.reveal();
    else if (code) code.box.scrollTop = before;
  }

  /** Return the lines to mark: the entry that somebody asked for, first, and those in conflict. */
  #marks({ entries }) {
    const lined = entries.filter(({ line }) => line);
    const lines = ({ line, end_line: end }) => ({ from: line, to: end ?? line });
    const asked = lined.filter(({ entry }) => entry === this.#shown.entry);
    return [...asked.map((entry) => ({ ...lines(entry), label: entryName(entry.entry) })),
      ...lined.filter(({ conflicts }) => conflicts.length).map((entry) => ({ ...lines(entry), label: `conflict, ${entryName(entry.entry)}`, tag: "conflict", kind: "warn" }))];
  }
}

/** Return the documents of `overview` with their namespaces. */
function documentsOf({ namespaces }) {
  return namespaces.flatMap(({ name: namespace, documents }) => documents.map((document) => ({ namespace, ...document })));
}

function entryRow(entry, chosen) {
  const classes = [entry.action === "invalid" && "invalid", chosen && "chosen"].filter(Boolean).join(" ");
  return el("tr", { class: classes || null },
    el("th", { scope: "row", class: "nums" }, entry.line ? String(entry.line) : "–", el("a", { href: documentHash(entry), class: "sub", "aria-current": chosen ? "true" : null, text: entryName(entry.entry) })),
    el("td", { class: "mono" }, `${entry.host ?? "any host"} ${entry.path_prefix}${entry.case_insensitive ? " (any case)" : ""}`, narrowed(entry), entry.conflicts.length > 0 && conflicts(entry.conflicts)),
    el("td", { text: entry.methods ? entry.methods.join(", ") : "all" }),
    el("td", {}, el("span", { class: `action a-${entry.action}` }, icon({ exchange: "exchanged", deny: "refused", allow: "passed" }[entry.action] ?? "broken"), entry.action)),
    el("td", {}, targetText(entry) || "–", entry.issuer && el("span", { class: "muted sub", text: `issuer ${entry.issuer}` })));
}

/** Return how an entry's path is compared, and the headers that it asks for, where that is not the usual. */
function narrowed({ path_type: type, headers = [] }) {
  const words = [type === "Segment" && "whole segments", type === "Exact" && "exactly", ...headers.map(({ name, value }) => `${name}: ${value}`)].filter(Boolean);
  return words.length > 0 && el("span", { class: "muted sub", text: words.join(", ") });
}

function conflicts(rivals) {
  return el("span", { class: "sub conflict" }, icon("changed"), "conflict with ",
    rivals.map((rival, i) => [i > 0 && ", ", el("a", { href: documentHash(rival), text: `${policyName(rival)} ${entryName(rival.entry)}` })]));
}
