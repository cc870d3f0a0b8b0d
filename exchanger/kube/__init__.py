"""Policy from a Kubernetes API server: list, watch, and what is made of it."""
