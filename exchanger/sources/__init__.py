"""Where policy comes from: the Kubernetes API server or a folder, and the machine that turns what these report into versions."""
