"""The registry of codes."""
