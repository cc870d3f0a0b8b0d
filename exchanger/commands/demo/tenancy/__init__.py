"""Teams that make mistakes, and the grants that keep these mistakes from affecting others: separate policy files."""
