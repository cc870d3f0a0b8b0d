"""Policy from a Kubernetes API server: lists, watches, and the policy versions that follow from them."""
