"""Scenario files of the Go project: how its YAML libraries read fields, its templates, and the file's content."""
