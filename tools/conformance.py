#!/usr/bin/env python3
"""Runs the scenario table on every dataplane and family, and says for each item of the contract how it went.

A row is {scenario, contract_item, dataplane, family, result, why}; the result is pass, fail, differs (by design, and
checked to be so) or skipped. Items that no client can see are proven by other tests, which run here too. Exit 1 when
anything failed or an item has no row.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "conformance.md"
TIMEOUT_S = 1200
ORDER = ["fail", "differs", "skipped", "pass"]  # of several rows the first of these counts
MARKS = {"pass": "pass", "differs": "differs", "skipped": "skipped", "fail": "**FAIL**", "": "–"}


def run(build: pathlib.Path, program: str, test_filter: str, rows: pathlib.Path | None = None) -> bool:
    found = sorted((build / "tests").glob(f"*/{program}"))
    if not found:
        print(f"there is no test program {program}", file=sys.stderr)
        return False
    environment = {**os.environ, "FAIRLEAD_BUILD_DIR": str(build.resolve())}
    if rows:
        environment["FAIRLEAD_CONFORMANCE_ROWS"] = str(rows)
    done = subprocess.run([str(found[0].resolve()), f"--gtest_filter={test_filter}"], cwd=ROOT, env=environment,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S)
    ran = "[       OK ]" in done.stdout or "[  SKIPPED ]" in done.stdout
    if done.returncode != 0:
        print(done.stdout[-20000:])
    return done.returncode == 0 and ran


def run_in_vm(build: pathlib.Path, test_filter: str, rows: pathlib.Path) -> bool:
    """Where this kernel has no SCTP (tools/vm.py)."""
    out = rows.with_name(rows.name + ".vm")
    out.mkdir()
    program = (build / "tests/datapath/datapath_tests").resolve()
    done = subprocess.run(["tools/vm.py", "--modules", "sctp", "--out", str(out), "--", "env",
                           "FAIRLEAD_CONFORMANCE_ROWS=/.vm/rows", str(program), f"--gtest_filter={test_filter}"], cwd=ROOT,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S)
    if not (out / "rows").exists():
        print("no virtual machine: SCTP is not played", done.stdout[-2000:], done.stderr[-2000:], file=sys.stderr)
        return run(build, "datapath_tests", test_filter, rows)
    if done.returncode != 0:
        print(done.stdout[-20000:])
    (out / "rows").rename(rows)
    return done.returncode == 0


def has_sctp() -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP).close()
    except OSError:
        return False
    return True


def read(path: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def play(build: pathlib.Path, dataplanes: list[str], jobs: int) -> tuple[list[dict], list[dict], bool]:
    """The rows of the table, the items of the contract, and whether every test program ended well."""
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        work = {name: pathlib.Path(folder, name) for name in dataplanes}
        contract = pathlib.Path(folder, "contract")
        ends = [pool.submit(run, build, "datapath_tests", "Contract.*", contract)]
        local = "" if has_sctp() else "-*Sctp*"
        for name, rows in [*work.items()]:
            ends.append(pool.submit(run, build, "datapath_tests", f"Scenarios/{name}.*{local}", rows))
            if local:
                work[f"{name} sctp"] = pathlib.Path(folder, f"{name}-sctp")
                ends.append(pool.submit(run_in_vm, build, f"Scenarios/{name}.*Sctp*", work[f"{name} sctp"]))
        fine = all(end.result() for end in ends)
        rows = [row for path in work.values() for row in read(path)]
        items = read(contract)
        proofs = {proof for item in items for proof in item["proof"].split()}
        results = dict(zip(proofs, pool.map(lambda proof: run(build, *proof.split(":", 1)), proofs)))
    for item in items:
        for proof in item["proof"].split():
            rows.append({"scenario": proof, "contract_item": item["item"], "dataplane": "all", "family": "all",
                         "result": "pass" if results[proof] else "fail", "why": "" if results[proof] else "a test failed"})
        if item["why"]:
            rows.append({"scenario": "", "contract_item": item["item"], "dataplane": "all", "family": "all",
                         "result": "skipped", "why": item["why"]})
    return rows, items, fine


def worst(rows: list[dict]) -> str:
    return min((row["result"] for row in rows), key=ORDER.index, default="")


def cell(rows: list[dict], item: str, dataplane: str) -> str:
    mine = [row for row in rows if row["contract_item"] == item and row["dataplane"] in (dataplane, "all")]
    text = MARKS[worst(mine)]
    families = {worst([row for row in mine if row["family"] in (family, "all")]): family for family in ("IPv4", "IPv6")}
    if len(families) == 2 and worst(mine) in families and "" not in families:
        text += f" ({families[worst(mine)]})"
    return text


def reasons(rows: list[dict], result: str) -> list[str]:
    """One line per reason and where it holds, with the scenarios."""
    places: dict[tuple[str, str, str], set[str]] = {}
    for row in rows:
        if row["result"] == result:
            key = (row["scenario"] or row["contract_item"], row["why"], row["dataplane"])
            places.setdefault(key, set()).add(row["family"])
    where: dict[tuple[str, str], list[str]] = {}
    for (scenario, why, dataplane), families in sorted(places.items()):
        where.setdefault((scenario, why), []).append(
            dataplane if len(families) == 2 or families == {"all"} else f"{dataplane} {min(families)}")
    merged: dict[tuple[str, str], list[str]] = {}
    for (scenario, why), named in where.items():
        merged.setdefault((", ".join(named), why), []).append(scenario)
    return [f"- {named}: {why}. {', '.join(scenarios)}" for (named, why), scenarios in merged.items()]


def document(rows: list[dict], items: list[dict], dataplanes: list[str]) -> str:
    counts = {result: sum(row["result"] == result for row in rows) for result in ORDER}
    lines = ["# Conformance", "",
             "Generated by `./dev conformance --write-docs`; not edited by hand. Every rule of kube-proxy 1.36 that its unit",
             "tests and sig-network's service tests hold it to, played on real kernels: packets, sockets and agents in network",
             "namespaces. The rows are `tests/datapath/scenarios/table.cc` and what it includes, the items are",
             "`tests/datapath/contract.cc`.", "",
             f"{len(rows)} rows: {counts['pass']} pass, {counts['differs']} differ by design, {counts['skipped']} skipped, "
             f"{counts['fail']} fail. A row is one scenario, item, dataplane and family. **differs**: not what kube-proxy "
             "does, for the reason below, and checked to be just that. **skipped**: could not be played where this was "
             "generated.", "",
             f"| item | rule | {' | '.join(dataplanes)} |", "|---|---|" + "---|" * len(dataplanes)]
    for item in items:
        cells = [cell(rows, item["item"], name) for name in dataplanes]
        lines.append(f"| {item['item']} | {item['text']} | {' | '.join(cells)} |")
    for title, result in (("Differences", "differs"), ("Skipped", "skipped"), ("Failures", "fail")):
        found = reasons(rows, result)
        if found:
            lines += ["", f"## {title}", "", *found]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--json", type=pathlib.Path, help="write the rows to this file")
    parser.add_argument("--dataplane", action="append", help="only this one (may be repeated)")
    parser.add_argument("--write-docs", action="store_true", help=f"write {DOCUMENT.relative_to(ROOT)}")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 2)
    arguments = parser.parse_args()

    listed = subprocess.run([str((arguments.build / "tests/datapath/datapath_tests").resolve()), "--gtest_list_tests"],
                            capture_output=True, text=True, check=True).stdout
    known = [line[len("Scenarios/"):-1] for line in listed.splitlines() if line.startswith("Scenarios/")]
    dataplanes = arguments.dataplane or known
    if unknown := set(dataplanes) - set(known):
        print(f"no dataplane {', '.join(sorted(unknown))}: use {', '.join(known)}", file=sys.stderr)
        return 2

    rows, items, fine = play(arguments.build, dataplanes, arguments.jobs)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    if arguments.write_docs:
        DOCUMENT.write_text(document(rows, items, dataplanes))
    width = max(len(item["item"]) for item in items) if items else 0
    print(f"{'':{width}}  {'  '.join(f'{name:16}' for name in dataplanes)}")
    bare = []
    for item in items:
        cells = [cell(rows, item["item"], name).strip("*") for name in dataplanes]
        bare += [item["item"]] if MARKS[""] in cells else []
        print(f"{item['item']:{width}}  {'  '.join(f'{text:16}' for text in cells)}  {item['text']}")
    for result in ("differs", "skipped", "fail"):
        for line in reasons(rows, result):
            print(f"{result} {line[2:]}")
    for name in bare:
        print(f"no row: {name}")
    counts = {result: sum(row["result"] == result for row in rows) for result in ORDER}
    print(", ".join(f"{counts[result]} {result}" for result in reversed(ORDER)), flush=True)
    return 0 if fine and not bare and counts["fail"] == 0 and counts["pass"] > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
