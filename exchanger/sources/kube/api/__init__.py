"""The API server's side: the service's identity there, kept connections, requests in threads, and decoding of answers."""
