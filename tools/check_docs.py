#!/usr/bin/env python3
"""Holds the documents to the tree: every path they name exists, every flag of the agent is documented.

Exit 1 names each offence.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/**/layout.md")]
# `folder/file.ext` in backticks, or a relative markdown link.
PATH = re.compile(r"`([a-z_.\-]+/[A-Za-z0-9_./\-]+\.[a-z]+)`|\]\((?!https?:|#)([^)#\s]+)")
FLAG = re.compile(r'"(--[a-z][a-z0-9-]+)[",]')


def missing_paths() -> list[str]:
    found = []
    for document in sorted(set(DOCUMENTS)):
        if "build" in document.relative_to(ROOT).parts:
            continue
        for in_backticks, in_link in PATH.findall(document.read_text()):
            base = ROOT if in_backticks else document.parent
            if not (base / (in_backticks or in_link)).exists():
                found.append(f"{document.relative_to(ROOT)}: names {in_backticks or in_link}, which does not exist")
    return found


def undocumented_flags() -> list[str]:
    options = ROOT / "agent" / "options.cc"
    manual = ROOT / "docs" / "operations.md"
    if not options.exists() or not manual.exists():
        return []
    text = manual.read_text()
    return [f"docs/operations.md: does not name {flag} of agent/options.cc"
            for flag in sorted(set(FLAG.findall(options.read_text()))) if flag not in text]


def main() -> int:
    found = missing_paths() + undocumented_flags()
    print("\n".join(found) if found else "docs: in order")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
