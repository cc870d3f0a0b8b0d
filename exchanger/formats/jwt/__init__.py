"""Signed tokens: assertions by which this client authenticates, and callers' tokens, judged by the keys of their issuers."""
