"""The API server's side: who the service is there, connections that are kept, requests in threads, and what their answers say."""
