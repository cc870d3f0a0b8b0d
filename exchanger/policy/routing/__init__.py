"""The routes of each host, built whole from entries and regions, and how one request is looked up in them."""
