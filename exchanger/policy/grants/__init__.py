"""What each namespace may do: the operator's grants, and what they leave of a document."""
