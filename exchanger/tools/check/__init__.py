"""``exchanger check``: everything that is wrong with policies in manifests, at its place in the author's file."""
