"""Authorization over HTTP, for gateways that do not ask over gRPC: NGINX, Caddy, Traefik, and Envoy's HTTP service."""
