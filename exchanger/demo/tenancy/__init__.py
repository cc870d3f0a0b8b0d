"""Teams that make mistakes, and the grants that keep these mistakes their own: policy files of their own, beside the sample policy."""
