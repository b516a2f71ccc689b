"""
Does a long-lived server leak? `make soak`.

A crowd of clients connects, is notified, reads, logs out, is cut off and falls
asleep, for as long as you like. Once all have left, nothing of them may remain.
"""

REPORT_PATH = "/soak"  # where a server reports what it holds
