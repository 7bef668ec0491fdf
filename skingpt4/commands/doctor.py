"""`skingpt4 doctor`: what is wrong with this installation or with the files that some settings name, and what to do."""

from __future__ import annotations

import argparse

from skingpt4.commands.arguments import add_settings, options_of

MARKS = {"good": "✓", "warning": "⚠", "fault": "✗"}


def add(parser: argparse.ArgumentParser) -> None:
    """The settings to examine, and the form of the answer."""
    add_settings(parser)
    parser.add_argument("--device-memory", default="", metavar="24GB", help="judge for a GPU of this size")
    parser.add_argument("--json", action="store_true", help="the findings as JSON, for programs")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print all findings; returns 0, or 1 where something will not work."""
    import json
    from dataclasses import asdict

    from skingpt4.doctor.examine import examine

    findings = list(examine(arguments.cfg_path, options_of(arguments), arguments.device_memory))
    faults = [finding for finding in findings if finding.status == "fault"]
    if arguments.json:
        print(json.dumps({"ok": not faults, "findings": [asdict(finding) for finding in findings]}, indent=2))
        return 1 if faults else 0
    rows = [
        (MARKS[finding.status], finding.check, "\n→ ".join(filter(None, (finding.found, finding.advice))))
        for finding in findings
    ]
    try:
        from skingpt4.commands.tables import print_table

        print_table(("", "what", "found → what to do"), rows, (0, 1, 2))
    except ImportError:  # even what draws the table may be missing
        print(*("  ".join(row) for row in rows), sep="\n")
    count = f"{len(faults)} fault{'s' * (len(faults) != 1)}"
    print(f"\n{count}: the first one is best mended first." if faults else "\nNothing stands in the way.")
    return 1 if faults else 0
