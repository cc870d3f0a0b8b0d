"""Fake token endpoints: one that answers by its own rules, and one that answers by the routes of a file."""
