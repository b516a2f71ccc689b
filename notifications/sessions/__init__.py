"""Who a session lets in, and when it ends."""
