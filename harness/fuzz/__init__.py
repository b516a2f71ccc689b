"""
Does any client input break anything? `make fuzz`.

A coverage-guided fuzzer (atheris, libFuzzer) sends frames, handshakes, and requests for pages and
marks to the real application, on a real PostgreSQL.
"""
