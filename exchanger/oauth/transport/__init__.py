"""Calls to token endpoints as rows: connections over HTTP/1.1 and HTTP/2, dialled within bounds and used again. Knows nothing of tokens."""
