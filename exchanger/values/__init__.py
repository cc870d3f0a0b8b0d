"""What the service talks about: frozen values that every room may import, and that import no room."""
