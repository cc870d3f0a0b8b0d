"""The commands of ``exchanger`` other than ``serve`` and ``admission``, the offline tools for authors, and the demo."""
