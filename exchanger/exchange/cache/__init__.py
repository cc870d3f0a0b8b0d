"""The token cache: exchanged tokens that are kept in memory, and in a store that replicas share."""
