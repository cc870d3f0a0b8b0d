"""The policy that a service would have, for commands that start none."""
