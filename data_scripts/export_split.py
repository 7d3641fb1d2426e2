"""Write a data set's split as three lists of file names, for use with other tools.

Example:
    python data_scripts/export_split.py eurosat /tmp/lists        # train.txt, val.txt, test.txt, split.json
"""

import argparse
import sys
from pathlib import Path

from rsprune_lib.data import card_names, load_data
from rsprune_lib.errors import RspruneError
from rsprune_lib.run_folder import RunFolder


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="name of a data set, or a folder of class folders")
    parser.add_argument("out", type=Path, help="new folder for the lists")
    parser.add_argument("--seed", type=int, default=66, help="seed of the split (default: 66)")
    parser.add_argument("--force", action="store_true", help="replace the lists of an earlier run")
    options = parser.parse_args()
    inputs = [] if options.data in card_names() else [options.data]
    run = RunFolder(options.out, "lists of a split", force=options.force, inputs=inputs)
    data = load_data(options.data, split_seed=options.seed)
    with run.open(resumable=False), run.making("") as folder:
        for part in ("train", "val", "test"):
            (folder / f"{part}.txt").write_text("".join(f"{data.files[i]}\n" for i in data.part(part)))
        data.split.save(folder / "split.json", data.files)
    print(f"{data.title}: split {data.split.hash} in {options.out}")


if __name__ == "__main__":
    try:
        main()
    except RspruneError as error:
        sys.exit(str(error))
