"""Adapters for ASGI servers, and for the process that they run in."""
