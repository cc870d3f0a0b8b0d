// The active issuer profiles: how the client authenticates at each, and what of the profile is not as usual. Must not know: any secret.

import { byId, el, put, say, table } from "./dom.js";
import { count } from "./format.js";

/** Ask for the profiles and show them below the policy. A service before this one has none to tell, so the section stays hidden. */
export async function showProfiles(api) {
  const place = byId("profiles");
  let found;
  try {
    found = await api.get("api/issuers");
  } catch {
    place.hidden = true;
    return;
  }
  place.hidden = !found.listed.length;
  put(byId("profiles-table"), table("Issuer profiles", ["Issuer", "Client", "Metadata", "Non-default settings"], found.listed.map(row), { stacks: true }));
  const more = byId("profiles-more");
  more.hidden = !found.more;
  say(more, `${count(found.more)} more`);
}

/** Return what is to be said of an issuer's metadata. */
export function metadata(discovery) {
  if (!discovery) return "none needed";
  return `${discovery.known ? "known" : "not known yet"}: ${discovery.issuer}`;
}

function row({ name, endpoint, client, discovery, profile }) {
  return el("tr", {},
    el("th", { scope: "row" }, el("strong", { text: name }), " ", el("span", { class: "muted", text: endpoint })),
    el("td", { text: client }),
    el("td", { text: metadata(discovery) }),
    el("td", {}, profile.map((line) => el("div", { text: `${line.name}: ${line.text}` }))));
}
