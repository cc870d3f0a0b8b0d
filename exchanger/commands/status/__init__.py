"""``exchanger status``: what the service would see in a cluster, for people and tools."""
