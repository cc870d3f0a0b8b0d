"""Bytes: sockets and timers served in rounds by one task, TLS, dialling, and an HTTP client with its pool. Knows no tokens or decisions."""
