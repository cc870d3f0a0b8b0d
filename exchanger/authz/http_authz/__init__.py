"""Authorization over HTTP, for gateways that do not ask by gRPC: NGINX, Caddy, Traefik, and Envoy's HTTP service."""
