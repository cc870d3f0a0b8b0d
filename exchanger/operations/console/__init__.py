"""The live console: a page that shows each decision as it happens, the policy in force, and why a request gets its verdict."""
