"""The page of the console: its files, and the module that serves them."""
