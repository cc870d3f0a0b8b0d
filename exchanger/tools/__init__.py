"""Tools for authors of policies and for platforms: they judge documents by the engine that the service decides with."""
