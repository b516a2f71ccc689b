"""The plots of docs/performance.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402  after choosing the backend

from harness.benchmarks.figures import Row  # noqa: E402
from harness.benchmarks.measure import median  # noqa: E402

COLOURS: Final = {
    "daphne": "#1f6feb",
    "uvicorn": "#0a9396",
    "uvicorn2": "#6a4c93",
    "go": "#8a8f98",
    "node": "#b6bac2",
    "plain": "#d1495b",
}
# The same figures give the same file, so that git shows no changes.
matplotlib.rcParams.update(
    {
        "svg.hashsalt": "benchmark",
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
)


def draw(rows: Sequence[Row], titles: dict[str, str], directory: Path) -> None:
    """Write a bench-*.svg for each plot that there are figures for."""
    for name, figure, label in (
        ("broadcast", "broadcast CPU", "CPU seconds per 100,000 deliveries"),
        ("memory", "RSS per connection", "KB per idle connection"),
        ("sustained", "sustained deliveries", "deliveries per second"),
    ):
        _bars(
            [row for row in rows if row.figure.name == figure],
            titles,
            label,
            directory / f"bench-{name}.svg",
        )
    _lines(
        [row for row in rows if row.figure.name == "broadcast CPU"],
        lambda row: row.size,
        titles,
        "connections",
        "CPU µs per delivery",
        directory / "bench-connections.svg",
    )
    _lines(
        [row for row in rows if row.figure.name == "accounts: broadcast CPU"],
        lambda row: row.accounts,
        titles,
        "accounts in the database",
        "CPU µs per delivery",
        directory / "bench-accounts.svg",
    )


def _bars(rows: Sequence[Row], titles: dict[str, str], label: str, path: Path) -> None:
    """Draw a bar per server, at the size that most servers have; the line is the spread."""
    sizes = [row.size for row in rows]
    if not sizes:
        return
    size = max(sizes, key=lambda size: (sizes.count(size), -size))
    shown = [row for row in rows if row.size == size]
    shown.sort(key=lambda row: median(row.values), reverse=True)
    middle = [median(row.values) for row in shown]
    figure, axes = plt.subplots(figsize=(7, 0.45 * len(shown) + 1), layout="constrained")
    axes.barh(
        [titles[row.peer] for row in shown],
        middle,
        xerr=[
            [m - min(row.values) for m, row in zip(middle, shown, strict=True)],
            [max(row.values) - m for m, row in zip(middle, shown, strict=True)],
        ],
        color=[COLOURS[row.peer] for row in shown],
        error_kw={"elinewidth": 1, "ecolor": "#444"},
    )
    if max(middle) > 10 * min(middle) > 0:
        axes.set_xscale("log")
    axes.set_xlabel(f"{label}, {size:,} connections")
    _save(figure, path)


def _lines(
    rows: Sequence[Row], place: Any, titles: dict[str, str], xlabel: str, ylabel: str, path: Path
) -> None:
    """Draw a line per server that was measured at three places or more."""
    figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
    drawn = False
    for peer in dict.fromkeys(row.peer for row in rows):
        own = sorted((row for row in rows if row.peer == peer), key=place)
        if len(own) < 3:
            continue
        middle = [median(row.values) * 10 for row in own]  # s per 100k is 10 µs each
        axes.errorbar(
            [place(row) for row in own],
            middle,
            yerr=[
                [m - min(row.values) * 10 for m, row in zip(middle, own, strict=True)],
                [max(row.values) * 10 - m for m, row in zip(middle, own, strict=True)],
            ],
            marker="o",
            capsize=2,
            color=COLOURS[peer],
            label=titles[peer],
        )
        drawn = True
    if drawn:
        axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        axes.legend(frameon=False)
        _save(figure, path)
    plt.close(figure)


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
