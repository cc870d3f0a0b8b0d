"""The values of the service: frozen, importable by every room, and importing no room."""
