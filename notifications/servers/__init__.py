"""The private parts of ASGI servers, and the process that they run in."""
