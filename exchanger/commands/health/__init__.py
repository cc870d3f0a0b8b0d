"""``exchanger health``: a health client in one command, for probes that are commands and for tests after an installation."""
