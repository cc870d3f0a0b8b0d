"""The event loop inside the event loop: sockets, timers and flushes of all connections, served in rounds by one task."""
