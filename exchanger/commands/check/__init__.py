"""``exchanger check``: every problem of policies in manifests, at its place in the author's file."""
