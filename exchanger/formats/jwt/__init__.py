"""Signed tokens: assertions by which this client authenticates, and callers' tokens, verified by the keys of their issuers."""
