"""Fetch a public data set, check it, decode it once, and say where everything lies.

Example:
    RSPRUNE_MIRROR=/media/usb/archives python data_scripts/fetch_dataset.py eurosat ucmerced
"""

import argparse
import sys

from rsprune_lib.data import card_names, get_card, load_data, verify
from rsprune_lib.errors import RspruneError


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="NAME", help=f"one of: {', '.join(card_names())}")
    parser.add_argument("--root", help="cache folder (default: RSPRUNE_HOME, else the user's cache folder)")
    parser.add_argument("--mirror", help="folder or URL that holds the archives (default: RSPRUNE_MIRROR)")
    options = parser.parse_args()
    for name in options.names:
        data = load_data(get_card(name).name, root=options.root, mirror=options.mirror)
        checked = {} if data.synthetic else verify(name, options.root, options.mirror)
        parts = ", ".join(f"{len(data.part(part)):,} {part}" for part in ("train", "val", "test"))
        print(
            f"{data.title}: {len(data.labels):,} images of {data.image_size} px, {data.num_classes} classes ({parts})"
        )
        print(f"  archive  {checked.get('archive') or '-'}\n  images   {data.images.filename}")
        print(f"  content  {data.content_hash}, split {data.split.hash}")


if __name__ == "__main__":
    try:
        main()
    except RspruneError as error:
        sys.exit(str(error))
