"""``exchanger status``: what the service would see in a cluster, told to people and tools."""
