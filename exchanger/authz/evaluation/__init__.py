"""A question of a gateway, whichever protocol it is asked in, from the request to the answer and its record."""
