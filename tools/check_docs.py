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
# A row of a table of flags or settings.
SETTING = re.compile(r'\.(name|flag|path) = "([A-Za-z][A-Za-z0-9.-]*)"')


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
    """Flags of Fairlead's own in operations.md; kube-proxy's, with their fields, in kube-proxy.md."""
    found = []
    for source, manual in (("options.cc", "operations.md"), ("kube_proxy_settings.cc", "kube-proxy.md")):
        code, text = ROOT / "agent" / source, (ROOT / "docs" / manual).read_text()
        words = {("--" if kind != "path" else "") + word for kind, word in SETTING.findall(code.read_text())}
        found += [f"docs/{manual}: does not name {word} of agent/{source}" for word in sorted(words)
                  if f"`{word}`" not in text]
    return found


def main() -> int:
    found = missing_paths() + undocumented_flags()
    print("\n".join(found) if found else "docs: in order")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
