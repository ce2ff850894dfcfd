"""Which backends are alive, how busy they are, and what follows from it for the table."""
