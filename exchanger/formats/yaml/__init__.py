"""YAML and JSON documents as nodes, and tables of the fields of their mappings, from which reading, mistakes and schemas follow."""
