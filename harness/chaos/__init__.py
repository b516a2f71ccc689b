"""
Fault injection, `make chaos`: is anything lost, duplicated or out of order?

It runs real servers, Redis, PostgreSQL, clients and producers on the loopback
interface, and kills, freezes, restarts and disconnects them.
"""
