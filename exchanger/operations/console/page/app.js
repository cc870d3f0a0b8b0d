// Where everything is joined: routes, the stream, the views and the detail panel.

import { Address, decode, filterOf, queryOf } from "./address.js";
import { Api } from "./api.js";
import { Banner } from "./banner.js";
import { Charts } from "./charts.js";
import { Panel } from "./detail/panel.js";
import { byId, say } from "./dom.js";
import { Edit } from "./edit/edit.js";
import { ExplainView } from "./explain.js";
import { count, unhealthy } from "./format.js";
import { Issuers } from "./issuers.js";
import { setUpKeys, showHelp } from "./keys.js";
import { Lab } from "./lab/lab.js";
import { Live } from "./live.js";
import { PolicyView } from "./policy.js";
import { Selection } from "./selection.js";
import { Session } from "./session.js";
import { Store } from "./store.js";
import { Stream } from "./stream.js";
import { setUpTheme } from "./theme.js";

const TITLES = { live: "Live", policy: "Policy", explain: "Explain", lab: "Lab", edit: "Edit" };
const STATES = { connecting: "connecting", connected: "connected", reconnecting: "reconnecting", offline: "offline", stopped: "not connected" };

let about = { version: null, shows_tokens: false, lab: false, token_required: false };
let known = false; // whether `about` is what the service at the other end of the stream says
let asking = null; // the question for it, while it is under way
let filled = false; // whether the page has got anything that needs a session

const store = new Store(() => live.changed());
const api = new Api(() => needSession());
const session = new Session(api, () => start());
const panel = new Panel({ api, store, about: () => about, open: (item) => selection.open(item) }, {
  onClose: () => selection.close(),
  onStep: (steps) => live.list.step(steps, false),
});
const live = new Live(store, { open: (item) => selection.open(item), onFilter: (fresh) => selection.filtered(fresh) });
const address = new Address();
const selection = new Selection({ store, live, panel, address });
const charts = new Charts((value, word) => live.onlyDecision(value, word));
const banner = new Banner();
const issuers = new Issuers();
const policy = new PolicyView(api);
const explain = new ExplainView(api);
const lab = new Lab(api, openTrace);
const edit = new Edit(api, lab, openTrace);
const stream = new Stream({
  url: new URL("stream", location.href.replace(/^http/, "ws").replace(/#.*/, "")),
  onMessage: receive,
  onState: showState,
  why: whyClosed,
});

function receive(message) {
  filled = true;
  if (message.type === "hello") {
    store.hello(message);
    known = false;
    if (message.history) charts.fill(message.history);
    if (message.history?.length) judge(message.history.at(-1));
    selection.greeted();
  } else if (message.type === "decisions") {
    store.decisions(message);
    live.news(message.items);
  } else if (message.type === "totals") {
    charts.push(message);
    judge(message);
  }
  // Another service may be at the other end by now. Totals come once a second, which is often enough to ask again when no answer came.
  if (!known && !asking && ["hello", "totals"].includes(message.type)) learnAnew();
  if (message.revision) for (const view of [policy, edit]) view.published(message.revision);
  selection.look();
}

function judge({ policy: health, issuers: spared, time }) {
  banner.take(health, time, spared);
  const ill = unhealthy(health?.problems ?? 0, health?.conflicts ?? 0);
  byId("policy-mark").hidden = !ill.length;
  say(byId("policy-mark-count"), count((health?.problems ?? 0) + (health?.conflicts ?? 0)));
  say(byId("policy-mark-text"), ill.length ? ` (${ill.join(", ")})` : "");
  issuers.take(spared);
}

/** Go to the live view, and show the item with this trace id there, now or when the stream brings it. */
function openTrace(id) {
  location.hash = `#/live?${new URLSearchParams({ trace: id })}`;
}

/** Ask what this console is, and redraw what depends on it. There is one question at a time. */
function learn() {
  asking ??= api.get("api/about", {}, { quietly: true }).then(drawAbout).finally(() => (asking = null));
  return asking;
}

function drawAbout(now) {
  const before = about;
  about = now;
  known = true;
  live.lab = about.lab;
  byId("warning").hidden = !about.shows_tokens;
  for (const view of ["lab", "edit"]) document.querySelector(`[data-view="${view}"]`).hidden = !offered(view);
  byId("sign-out").hidden = !about.token_required;
  say(byId("version"), about.version ?? "");
  if (before.shows_tokens !== about.shows_tokens) panel.redraw();
}

/** Whether this console has a view: lab and editor are a demo's, and only policy files within reach can be edited. */
function offered(view) {
  return view === "lab" ? about.lab : view !== "edit" || (about.lab && about.edit !== false);
}

/** Ask again while the page is in use: the view that the address names may be there only now, or no longer. */
async function learnAnew() {
  const before = about.lab;
  try {
    await learn();
  } catch {
    return; // what was known holds until there is an answer
  }
  if (before !== about.lab) route();
}

async function start() {
  try {
    await learn();
  } catch (error) {
    // The stream says so, too, and tries again.
    say(byId("state-text"), error.message);
  }
  route();
  if (about.token_required && !about.version) needSession();
  else if (about.stream === false) showState({ name: "stopped", wait: 0, why: "no console of the service was named (--console)" });
  else stream.start();
}

/** Ask for the token. What the page has got by a session that is over is forgotten, with the page. */
function needSession() {
  stream.stop();
  if (filled) location.reload();
  else session.require();
}

/** Return why a connection did not open; null when somebody has to sign in. */
async function whyClosed() {
  try {
    const now = await api.get("api/about", {}, { quietly: true });
    if (now.token_required && !now.version) {
      needSession();
      return null;
    }
    return "the service has no room for another viewer";
  } catch (error) {
    return error.status ? error.message : "the service cannot be reached";
  }
}

function showState({ name, wait, why }) {
  const box = byId("state");
  box.dataset.state = name;
  const text = [STATES[name], why].filter(Boolean).join(": ");
  say(byId("state-text"), text);
  byId("state-retry").hidden = !wait;
}

/** Show what the address names: somebody followed a link, went back, or opened it. */
function route() {
  address.forget();
  const query = queryOf(location.hash);
  if (showView() !== "live") {
    selection.leave();
    return;
  }
  live.use(filterOf(query));
  selection.follow(query);
}

function showView() {
  const [path] = location.hash.replace(/^#\/?/, "").split("?");
  const [first, ...rest] = path.split("/").map(decode);
  const view = Object.hasOwn(TITLES, first) && offered(first) ? first : "live";
  for (const id of Object.keys(TITLES)) {
    byId(`view-${id}`).hidden = id !== view;
    const link = document.querySelector(`[data-view="${id}"]`);
    if (id === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${TITLES[view]} · exchanger console`;
  if (view === "policy") policy.show(rest);
  else if (view === "explain") explain.show();
  else if (view === "lab") lab.show();
  else if (view === "edit") edit.show(rest);
  else live.changed();
  return view;
}

const within = () => byId("detail").contains(document.activeElement);
const onLive = (run) => () => (byId("view-live").hidden ? false : run());

setUpKeys([
  { keys: ["/"], text: "search the requests", run: onLive(() => live.search()) },
  { keys: ["p"], text: "pause or resume", run: onLive(() => live.togglePause()) },
  { keys: ["j"], text: "the next request", run: onLive(() => live.list.step(1, !within())) },
  { keys: ["k"], text: "the previous request", run: onLive(() => live.list.step(-1, !within())) },
  { keys: ["Enter"], text: "open the request", run: () => false },
  { keys: ["Escape"], text: "close the detail, or leave a field", run: escape },
  { keys: ["1", "2", "3", "4", "5"], text: "go to Live, Policy, Explain, Lab, Edit", run: ({ key }) => go(Object.keys(TITLES)[Number(key) - 1]) },
  { keys: ["?"], text: "this list", run: showHelp },
]);

function escape() {
  if (document.activeElement?.matches("input, textarea, select") && !within()) document.activeElement.blur();
  else if (panel.isOpen) selection.close();
  else return false;
  return true;
}

function go(view) {
  const link = document.querySelector(`[data-view="${view}"]`);
  if (!link.hidden) location.hash = link.hash;
}

setUpTheme(byId("theme"));
byId("help-open").addEventListener("click", showHelp);
byId("sign-out").addEventListener("click", () => {
  stream.stop();
  session.signOut();
});
byId("state-retry").addEventListener("click", () => stream.retry());
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("main").focus();
});
addEventListener("hashchange", route);
start();
