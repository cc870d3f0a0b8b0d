// The banner that says in every view what is wrong with the policy, and which issuers fail. It is a live region, so its text changes only with its meaning; and it
// neither comes for a moment nor goes for one. Must not know: where the news comes from.

import { byId, el, icon, put } from "./dom.js";
import { count, minute, unhealthy } from "./format.js";
import { failing } from "./issuers.js";

const RISE = 1_000; // ms that something has to be wrong before it is said: a service that starts or follows again is wrong for less
const REST = 5_000; // ms that all has to be well before the banner goes
const BEHIND = 120; // s without a sign of life: a watch that is closed in silence takes up to 75 s to be noticed, and follows again
const SAME = 30_000; // ms by which the time of one event may vary: ages are rounded
const NAMED = 3; // issuers that are named

/**
 * Return `{severity, text, policy}` of what is wrong with `policy` and `issuers`, as `totals` tell it, null if nothing is. `since` is when the
 * policy was last current, in ms since 1970. `severity` is "bad" when every request is refused, else "warn"; `policy`: the policy is at fault.
 */
export function warning(policy, since, issuers) {
  const { state, age_s: age, problems = 0, conflicts = 0, unreadable, unreadable_objects: objects } = policy;
  const forbidden = unreadable?.listed?.length ? ` The service may not read ${names("Namespace", unreadable)}.` : "";
  const broken = objects?.listed?.length ? ` ${names("File", objects)} cannot be read: the service would start without what was there.` : "";
  const refused = {
    loading: "No policy is loaded yet: every request is refused.",
    too_old: `The policy is too old to use, last current at ${minute(since)}: every request is refused.`,
    missing: "A policy is required, and no entry is active: every request is refused.",
  }[state];
  if (refused) return { severity: "bad", text: refused + forbidden + broken, policy: true };
  const parts = [
    age > BEHIND && `Policy changes have had no effect since ${minute(since)}: the policy of that time stays active.`,
    ...unhealthy(problems, conflicts).map((sentence) => `${sentence}.`),
    problems + conflicts > 0 && "Requests that they cover are refused.",
  ].filter(Boolean);
  const ill = (parts.join(" ") + forbidden + broken).trim();
  const text = `${ill} ${refusing(failing(issuers))}`.trim();
  return text ? { severity: "warn", text, policy: ill !== "" } : null;
}

function refusing(issuers) {
  if (!issuers.length) return "";
  const more = issuers.length - NAMED;
  const said = `${issuers.slice(0, NAMED).join(", ")}${more > 0 ? ` and ${count(more)} more` : ""}`;
  return issuers.length === 1
    ? `Issuer ${said} is failing and not called: its exchanges are refused.`
    : `Issuers ${said} are failing and not called: their exchanges are refused.`;
}

function names(kind, { listed, more }) {
  return `${kind}${listed.length + more === 1 ? "" : "s"} ${listed.join(", ")}${more ? ` and ${count(more)} more` : ""}`;
}

export class Banner {
  #place = byId("policy-banner");
  #since = 0;
  #shown = null; // texts; null for none
  #next = null;
  #timer = null;

  /** Take what `totals` tell of policy and issuers at `time`. A service before this one tells nothing. */
  take(policy, time, issuers) {
    const since = time - (policy?.age_s ?? 0) * 1000;
    if (Math.abs(since - this.#since) > SAME) this.#since = since;
    const next = policy ? warning(policy, this.#since, issuers) : null;
    if ((next?.text ?? null) === this.#shown) this.#stay();
    else if ((next?.text ?? null) !== this.#next || this.#timer === null) this.#wait(next);
  }

  #stay() {
    clearTimeout(this.#timer);
    this.#timer = null;
  }

  #wait(next) {
    this.#stay();
    this.#next = next?.text ?? null;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#shown = this.#next;
      put(this.#place, next && el("div", { class: `banner ${next.severity}` }, icon("broken"),
        el("p", {}, `${next.text} `, next.policy && el("a", { href: "#/policy", text: "Show the policy" }))));
    }, next ? RISE : REST);
  }
}
