"""The folder source: Kubernetes manifests in files, watched, for machines without a cluster."""
