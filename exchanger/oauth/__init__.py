"""The token endpoint's side: one call for equal exchanges, over connections that are kept."""
