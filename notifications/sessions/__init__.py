"""Which account a session belongs to, and when it ends."""
