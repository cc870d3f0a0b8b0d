"""Issuers that follow their profiles file and the Secrets that it refers to."""
