"""The values that every part of the service shares: entries, issuers, requests, tokens, codes and errors. Frozen, pure, without I/O."""
