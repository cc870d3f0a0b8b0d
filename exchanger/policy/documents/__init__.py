"""From the text of a document to its entries and its problems: YAML nodes, fields by their tables, and the JSON Schema that these make."""
