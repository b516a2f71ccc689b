"""The report of a run: medians, their spread, ratios to the Go server, and targets."""

from __future__ import annotations

import json
from pathlib import Path

from harness.benchmarks.figures import GO, Results, readable, rows
from harness.benchmarks.measure import median


def as_text(results: Results) -> str:
    """Return the results as Markdown."""
    machine, versions = results["machine"], results["versions"]
    lines = [
        "# Benchmark",
        "",
        f"{results['date']}, {machine['cores']} cores of {machine['cpu']}, {machine['memory']}, "
        f"Linux {machine['kernel']}, "
        f"load average before {machine['load']}; "
        f"{', '.join(f'{name} {version}' for name, version in versions.items())}.",
        "",
        "Median and range of the repetitions. CPU is that of all processes involved: servers, "
        "Redis, PostgreSQL. “× Go” is the ratio to the Go server, repetition by repetition. The "
        "last column is the target.",
        "",
        "The load generator can take "
        + ", ".join(
            f"{value:,.0f} messages/s ({name})" for name, value in results["load generator"].items()
        )
        + ".",
    ]
    if results["skipped"]:
        lines += ["", f"{results['skipped']} turns were skipped, because time was up."]
    for problem in results["problems"]:
        lines += ["", f"**Problem:** {problem}"]
    title = ""
    for row in rows(results):
        if row.figure.title != title:
            title = row.figure.title
            head = ["connections", "server", "median", "range", "× Go", "n", "target"]
            lines += ["", f"## {title}", "", _line(head), _line(["---"] * len(head))]
        place = f"{row.size:,}" + (f", {row.accounts:,} accounts" if row.accounts else "")
        lines.append(
            _line(
                [
                    place,
                    results["peers"][row.peer],
                    readable(median(row.values)),
                    f"{readable(min(row.values))}–{readable(max(row.values))}",
                    readable(median(row.ratios)) if row.ratios and row.peer != GO else "",
                    str(len(row.values)),
                    row.verdict,
                ]
            )
        )
    return "\n".join(lines) + "\n"


def write(results: Results, directory: Path, pictures: Path) -> None:
    """Write latest.json, latest.md and, if matplotlib is installed, the plots."""
    directory.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=1, ensure_ascii=False)
    (directory / "latest.json").write_text(text + "\n")
    (directory / "latest.md").write_text(as_text(results))
    try:
        from harness.benchmarks import plots
    except ImportError:
        print("No plots: matplotlib is not installed")
        return
    plots.draw(list(rows(results)), results["peers"], pictures)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
