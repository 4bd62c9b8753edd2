"""Parts of `docs/results.md` about programs and devices: kills, hostile inputs, weeks of unattended work, meshes."""

from benchmarks.common import Document
from tools.docs.tables_readme import rows_table

UNATTENDED = """What `tools/chaos/kill.py`, `tools/chaos/journal.py`, `tools/fuzz` and `tools/chaos/soak.py` found;
their first lines say how each of them searches.
"""
MESH = """Read from the training step that is compiled for a graph of 1.2 million entities (`benchmarks/mesh.py`): the
peak of memory of one device, and what it sends to others in a step. Nothing here was timed.
"""


def unattended(records: list[Document]) -> str:
    """Kills, fuzzed inputs and soaks, a line each."""
    parts = []
    for record in records:
        kind, result = record["benchmark"].partition("-")[0], record["result"]
        if kind == "kill":
            where = ", ".join(f"{place} {number}" for place, number in sorted(result["where"].items()))
            parts.append(
                f"- **{result['kills']} kills of trainings** ({', '.join(sorted(result['forms']))}; {where}): "
                f"after {result['ended_identical']} the end was bit for bit that of an undisturbed one; "
                f"{result['unreadable']} unreadable files.\n"
            )
        elif kind == "journal":
            where = ", ".join(f"{place} {number}" for place, number in sorted(result["where"].items()))
            parts.append(
                f"- **{result['kills']} kills of writers of a journal of forecasts** ({where}; a line cut off "
                f"{result['left_a_line_cut_off']}): {result['forecasts']:,} forecasts, "
                f"{len(result['faults'])} lost, doubled or broken.\n"
            )
        elif kind == "soak":
            kills = ", ".join(f"{name} {number}" for name, number in sorted(result["kills"].items()))
            lost = "nothing lost" if result["nothing_lost"] else f"{len(result['faults'])} faults"
            kept = result["growth"]["process"]
            grown = kept["rss"]["per_cycle_second_half"] / 2**20
            handles = kept["handles"]
            parts.append(
                f"- **{result['cycles']} weeks in {result['minutes']:.0f} minutes** (seed {record['seed']}; "
                f"kills: {kills}): {lost}; {result['reads_of_the_checkpoint']:,} reads of the checkpoint meanwhile. "
                f"A process that lives on: {kept['rss']['last'] / 2**20:.0f} MiB, {grown:+.1f} MiB a week in the "
                f"second half, {handles['first']} open files at the beginning and {handles['last']} at the end.\n"
            )
        elif kind == "fuzz":
            total = result["total"]
            readers = result["readers"]
            read = sum(told["outcomes"].get("read", 0) for told in readers.values())
            parts.append(
                f"- **{total['inputs']:,} hostile inputs** over {len(readers)} readers: {total['faults']} faults, "
                f"{read:,} read, the others refused in one line.\n"
            )
    return "".join(parts)


def meshes(records: list[Document]) -> str:
    """Memory and traffic of a device by mesh."""
    rows = []
    for record in records:
        if record["benchmark"].partition("-")[0] != "mesh":
            continue
        one = record["result"]["points"][0]["memory"]["peak"]
        for point in record["result"]["points"]:
            peak, purposes = point["memory"]["peak"], point["sent_by_purpose"]
            most = ", ".join(
                f"{name} {found['bytes'] / 1e6:,.0f}"
                for name, found in sorted(purposes.items())
                if found["bytes"] >= 5e5
            )
            rows.append(
                [
                    record["setting"]["loss"],
                    f"{record['dataset']['entities']:,}",
                    record["setting"]["batch_size"] or "all",
                    f"`{point['mesh']}`",
                    f"{peak / 1e6:,.0f}",
                    f"{peak / one:.2f}",
                    f"{point['sent_bytes'] / 1e6:,.0f}",
                    most,
                ]
            )
    columns = ["loss", "entities", "queries a micro-batch", "mesh", "peak MB", "of one device", "sent MB", "for what"]
    return rows_table(columns, rows) + "".join(map(_prediction, records))


def _prediction(record: Document) -> str:
    """Seconds of a step by mesh, foretold from one device's; nothing where they were not."""
    result = record["result"]
    if record["benchmark"].partition("-")[0] != "mesh" or "prediction" not in result:
        return ""
    source = result["prediction_from"]
    link = f"{source['link_bytes_per_second'] / 1e9:.0f} GB/s between devices, nothing hidden behind the other"
    if source["step_seconds"]:
        device = (source["measured"] or {}).get("device", "one device")
        told = f"from {source['step_seconds']:.3f} s measured on {device} and {link}"
    else:
        told = (
            f"the least of H200s, from the rates measured on one card: dense products at "
            f"{source['matrix_flops_per_second'] / 1e12:.0f} TFLOP/s (half of what bf16 reached) and memory at "
            f"{source['memory_bytes_per_second'] / 1e12:.1f} TB/s; {link}"
        )
    size = record["setting"]["batch_size"]
    queries = f"{size} queries a micro-batch" if size else "all queries in one"
    told = (
        f"\n**Predicted, not measured** ({record['setting']['loss']} loss, {queries}): "
        f"milliseconds of a step, {told}.\n\n"
    )
    rows = [
        [f"`{row['mesh']}`", *(f"{row[f'{part}_seconds'] * 1e3:.1f}" for part in ("work", "link", "step"))]
        for row in result["prediction"]
    ]
    return told + rows_table(["mesh", "work", "link", "step"], rows)
