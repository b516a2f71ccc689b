"""
Whether bytes that a client makes up break anything: `make fuzz`.

A coverage-guided fuzzer (atheris, libFuzzer) against what reads them in the real application, on
a real PostgreSQL: the frames of a socket, its handshake, requests for pages and marks.
"""
