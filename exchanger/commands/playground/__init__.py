"""The playground in the demo's console: run scenarios, send requests, edit policy. It can be reached only from this machine."""
