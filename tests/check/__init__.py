"""``exchanger check``."""
