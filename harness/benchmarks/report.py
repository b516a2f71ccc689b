"""The report of a run: medians with their spread, ratios to the seed, and what was aimed at."""

from __future__ import annotations

import json
from pathlib import Path

from harness.benchmarks.figures import SEED, Results, readable, rows
from harness.benchmarks.measure import median


def as_text(results: Results) -> str:
    """The results as Markdown, which is readable as it is."""
    machine, versions = results["machine"], results["versions"]
    lines = [
        "# Benchmark",
        "",
        f"{results['date']}, {machine['cores']} cores of {machine['cpu']}, {machine['memory']}, "
        f"Linux {machine['kernel']}, "
        f"load average before {machine['load']}; "
        f"{', '.join(f'{name} {version}' for name, version in versions.items())}.",
        "",
        "Median (least–most) of the repetitions. CPU is that of all processes involved: servers, "
        "Redis, PostgreSQL. “× seed” compares repetition by repetition. What was aimed at stands "
        "in the last column.",
        "",
        "The load generator takes "
        + ", ".join(
            f"{value:,.0f} messages/s ({name})" for name, value in results["load generator"].items()
        )
        + ".",
    ]
    if results["left out"]:
        lines += ["", f"{results['left out']} turns were left out, the time being over."]
    for problem in results["problems"]:
        lines += ["", f"**Problem:** {problem}"]
    title = ""
    for row in rows(results):
        if row.figure.title != title:
            title = row.figure.title
            head = ["sockets", "server", "median", "least–most", "× seed", "n", "aim"]
            lines += ["", f"## {title}", "", _line(head), _line(["---"] * len(head))]
        place = f"{row.size:,}" + (f", {row.accounts:,} accounts" if row.accounts else "")
        lines.append(
            _line(
                [
                    place,
                    results["peers"][row.peer],
                    readable(median(row.values)),
                    f"{readable(min(row.values))}–{readable(max(row.values))}",
                    readable(median(row.ratios)) if row.ratios and row.peer != SEED else "",
                    str(len(row.values)),
                    row.verdict,
                ]
            )
        )
    return "\n".join(lines) + "\n"


def write(results: Results, directory: Path, pictures: Path) -> None:
    """Leave latest.json, latest.md and, if matplotlib is there, the plots."""
    directory.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=1, ensure_ascii=False)
    (directory / "latest.json").write_text(text + "\n")
    (directory / "latest.md").write_text(as_text(results))
    try:
        from harness.benchmarks import plots
    except ImportError:
        print("Without plots: there is no matplotlib")
        return
    plots.draw(list(rows(results)), results["peers"], pictures)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
