"""Leaf helpers that every room may use. They know nothing of the rooms."""
