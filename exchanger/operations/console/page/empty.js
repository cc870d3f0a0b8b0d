// What the list says while it is empty: how a gateway is made to ask, or that the filter leaves everything out.

import { announce, copy } from "./a11y.js";
import { button, el } from "./dom.js";

const FILTER = `- name: envoy.filters.http.ext_authz
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz
    transport_api_version: V3
    failure_mode_allow: false
    encode_raw_headers: true
    grpc_service:
      envoy_grpc: {cluster_name: exchanger}
      timeout: 1s
`;

/** Return nodes for a page that knows no request yet. With `lab`, the gateway of the demo asks already. */
export function noRequests(lab) {
  return [
    el("h2", { text: "No requests yet" }),
    el("p", { text: "Each request that a gateway checks appears here, whether or not a policy matches it." }),
    lab && el("p", {}, "The demo's gateway is wired: ", el("a", { href: "#/lab", text: "run a scenario in the lab" }), "."),
    el("h3", { text: "Wire a gateway" }),
    el("ol", {},
      el("li", {}, "Make this service a cluster of your Envoy, named ", code("exchanger"), ": gRPC over HTTP/2, at ", code("GRPC_PORT"), " (3001 by default)."),
      el("li", {}, "Add this filter before the router, on each listener whose requests have policies:",
        el("pre", { class: "block", tabindex: "0", role: "group", "aria-label": "Filter for Envoy", text: FILTER }),
        button("Copy the filter", copyFilter, { symbol: "copy" })),
      el("li", { text: "Send a request through the gateway." })),
    el("p", {}, "For Istio, Envoy Gateway, GKE Gateway and a complete Envoy, follow the guides in ", code("docs/how-to/install"), "."),
    el("h3", { text: "Wired, but still nothing here?" }),
    el("ul", {},
      el("li", { text: "A console shows the decisions of its own pod. If there are several, look at each." }),
      el("li", {}, "A gateway that cannot reach the service refuses requests itself: look for ", code("ext_authz"), " in its statistics and access log."),
      el("li", { text: "A listener or route without the filter lets requests pass." })),
  ];
}

/** Return nodes for a filter that leaves out everything. */
export const noneFits = () => [el("p", { text: "No request matches the filters." })];

const code = (text) => el("code", { text });

async function copyFilter() {
  announce((await copy(FILTER)) ? "Copied." : "The browser does not allow this page to copy.");
}
