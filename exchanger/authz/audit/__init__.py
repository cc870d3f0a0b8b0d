"""The audit log: who acted for whom, with which rights, by which policy."""
