from __future__ import annotations

import signal
import threading
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from notifications.conf import conf
from notifications.maintenance import Maintenance, begin_epoch


class Command(BaseCommand):
    help = "Run the periodic task of notifications: once, or at an interval until SIGTERM."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="Run one full pass and exit.")
        parser.add_argument(
            "--new-epoch",
            action="store_true",
            help="Make all clients reload after a database was restored from a backup, and exit.",
        )
        parser.add_argument(
            "--interval",
            type=float,
            default=conf.HEARTBEAT_INTERVAL,
            help="Seconds between two passes (NOTIFICATIONS_HEARTBEAT_INTERVAL: %(default)g).",
        )

    def handle(self, *, once: bool, new_epoch: bool, interval: float, **options: Any) -> None:
        if new_epoch:
            self.stdout.write(
                f"Epoch {begin_epoch()} has begun: clients discard their positions and reload, "
                f"open tabs within {conf.HEARTBEAT_INTERVAL:g} s."
            )
            return
        if not 0 < interval < threading.TIMEOUT_MAX:
            raise CommandError(f"--interval must be a number of seconds, not {interval:g}.")
        maintenance = Maintenance()
        if once:
            self.stdout.write(f"Maintenance: {maintenance.run(full=True)}.")
            return
        stopped = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopped.set())
        self.stdout.write(f"Maintenance every {interval:g} s.")
        while not stopped.is_set():
            try:
                if report := maintenance.run_in_turn():
                    self.stdout.write(f"Maintenance: {report}.")
            except DatabaseError as error:
                self.stderr.write(f"Maintenance failed, will retry: {error}")
            stopped.wait(interval)
        self.stdout.write("Maintenance stopped.")
