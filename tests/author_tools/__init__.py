"""Tests of explain, test and diff."""
