"""Stable codes of everything that can be wrong with a document or a request: what each means, why it occurs, and what to do."""
