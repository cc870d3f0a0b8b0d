"""The playground in the demo's console: run scenarios, send requests, edit policy. Only whoever is on this machine reaches it."""
