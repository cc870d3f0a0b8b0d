"""Readers of text from outside: YAML, JSON Web Tokens, and JSON without duplicate or unknown members."""
