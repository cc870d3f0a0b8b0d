"""A connection over HTTP/2 to a token endpoint: many requests at a time, within limits. Knows nothing of sockets or tokens."""
