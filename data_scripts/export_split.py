"""Write a data set's split as three lists of file names, for use with other tools.

Example:
    python data_scripts/export_split.py eurosat /tmp/lists        # train.txt, val.txt, test.txt, split.json
"""

import argparse
import sys
from pathlib import Path

from rsprune_lib.data import load_data
from rsprune_lib.errors import RspruneError


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="name of a data set, or a folder of class folders")
    parser.add_argument("out", type=Path, help="folder for the lists")
    parser.add_argument("--seed", type=int, default=66, help="seed of the split (default: 66)")
    options = parser.parse_args()
    data = load_data(options.data, split_seed=options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    for part in ("train", "val", "test"):
        (options.out / f"{part}.txt").write_text("".join(f"{data.files[i]}\n" for i in data.part(part)))
    data.split.save(options.out / "split.json", data.files)
    print(f"{data.title}: split {data.split.hash} in {options.out}")


if __name__ == "__main__":
    try:
        main()
    except RspruneError as error:
        sys.exit(str(error))
