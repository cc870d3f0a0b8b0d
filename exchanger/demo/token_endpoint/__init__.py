"""Fake token endpoints: one that answers by rules of its own, and one that answers by the routes of a file."""
