"""Other people's tables: listed, understood as far as possible, and never changed."""
