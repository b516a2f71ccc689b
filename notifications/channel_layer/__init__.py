"""Sending and receiving over the channel layer, without making callers wait."""
