"""The live console: a page that shows each decision as it happens, the active policy, and why a request gets its decision."""
