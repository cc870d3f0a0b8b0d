"""Policy documents: from text to entries and problems, by YAML nodes, tables of fields, and the JSON Schema that follows from these."""
