"""The demo with a real Keycloak: its realm's tokens are exchanged by the realm itself, and verified by the realm's keys.

``realm.json`` is the realm, that of the demo's chart and a little more; ``policy.yaml`` is the policy of the team that uses it.
"""
