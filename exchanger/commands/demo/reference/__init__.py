"""The demo with scenarios, hosts and policies by the names of the Go project."""
