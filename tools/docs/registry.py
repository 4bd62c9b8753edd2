"""Writes `tirgn_eqx/data/published.json`: counts and checksums of the published data sets, from the files themselves.

Why: `tirgn data get` gives out nothing that is not byte for byte what was counted here. Sets of which some files are
not at hand are described by what is known of them from elsewhere (`KNOWN`), and are not counted.

    python -m tools.docs.registry ../datasets
"""

import argparse
import json
from pathlib import Path

from benchmarks import common

NAMES = ("ICEWS14s", "ICEWS18", "ICEWS05-15", "GDELT", "WIKI", "YAGO", "ICEWS14")
FILES = ("train.txt", "valid.txt", "test.txt", "entity2id.txt", "relation2id.txt", "e-w-graph.txt", "stat.txt")
STEPS = {name: "day" for name in NAMES if name.startswith("ICEWS")} | {
    "GDELT": "15 min",
    "WIKI": "year",
    "YAGO": "year",
}
# (size, digest) of files that are not at hand: as the repository that publishes them names their contents.
KNOWN: dict[str, dict[str, tuple[int | None, str | None]]] = {
    "GDELT": {
        "train.txt": (41_400_721, "sha256:85d64f4c4db6c0e280334af4a81d1b8ca518667d41e1a4c236e1dca82454863c"),
        "test.txt": (7_363_889, "sha256:8821082240448adbc4f718a2702fdff51a1c3f1264f14d1ff74883378063f851"),
    },
}


def described(folder: Path, name: str) -> common.Document:
    """The files of a set with sizes and checksums, and its counts where all of it is there."""
    from tirgn_eqx.data import graph_statistics, load_graph
    from tirgn_eqx.storage.download import digest_of

    files: common.Document = {}
    for file in FILES:
        path = folder / name / file
        if path.is_file():
            files[file] = {"bytes": path.stat().st_size, "digest": digest_of(path, "sha256")}
        elif file in KNOWN.get(name, {}):
            size, digest = KNOWN[name][file]
            files[file] = {"bytes": size, "digest": digest}
    found: common.Document = {"step": STEPS.get(name), "files": files}
    if all((folder / name / file).is_file() for file in FILES[:3]):
        counted = graph_statistics(load_graph(folder / name))
        found["facts"] = {split: counted["facts"][split] for split in ("train", "valid", "test")}
        found["snapshots"] = {split: counted["snapshots"][split] for split in ("train", "valid", "test")}
        found |= {"entities": counted["entities"]["vocabulary"], "relations": counted["relations"]["vocabulary"]}
        found["sha256"] = counted["sha256"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of the data sets, each in a folder of its name")
    args = parser.parse_args()
    sets = {name: described(args.folder, name) for name in NAMES}
    path = common.ROOT / "tirgn_eqx" / "data" / "published.json"
    path.write_text(json.dumps(sets, indent=1) + "\n", encoding="utf-8")
    print(f"{path.name}: {len(sets)} sets")


if __name__ == "__main__":
    main()
