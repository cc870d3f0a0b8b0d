"""How issuers are spared: a breaker that callers cannot open, and a bound on calls under way. Knows nothing of connections."""
