"""
The demo site's settings for servers and producers, with a faulty channel layer.

Each process may have more in its environment: CHAOS_POOLED, if DATABASE_URL is PgBouncer's;
CHAOS_REPLICA_URL, to which reads are sent; CHAOS_SERIALIZABLE, the isolation of transactions.
"""

import os

import dj_database_url
from psycopg import IsolationLevel

import harness.debugging  # noqa: F401
from notify_site.settings import *  # noqa: F403
from notify_site.settings import CHANNEL_LAYERS, DATABASES

DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
CHANNEL_LAYERS["default"]["BACKEND"] = "harness.chaos.layer.FaultyLayer"

if "CHAOS_POOLED" in os.environ:
    DATABASES["default"]["DISABLE_SERVER_SIDE_CURSORS"] = True
if "CHAOS_SERIALIZABLE" in os.environ:
    DATABASES["default"]["OPTIONS"]["isolation_level"] = IsolationLevel.SERIALIZABLE
if replica_url := os.environ.get("CHAOS_REPLICA_URL"):
    DATABASES["replica"] = dj_database_url.parse(replica_url)
    DATABASE_ROUTERS = ["harness.chaos.router.ReplicaRouter"]

# Short, so that a run has many checks, leases and lost heartbeats. Clients read them in `register`.
NOTIFICATIONS_HEARTBEAT_INTERVAL = 2
NOTIFICATIONS_HEARTBEAT_TIMEOUT = 6
NOTIFICATIONS_DRAIN_SECONDS = 2
