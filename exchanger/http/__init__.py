"""HTTP/1.1 for whoever is asked for a page: connections that are bounded, heads that are measured, names that are judged."""
