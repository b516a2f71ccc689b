"""
Whether anything is lost, told twice or out of order while things fail: `make chaos`.

Real servers, Redis, PostgreSQL, clients and processes that notify, all on the
loopback interface; they are killed, frozen, restarted and cut off meanwhile.
"""
