"""Train SkinGPT-4: `python train.py --cfg-path configs/….yaml [--resume] [--options key=value …]` (the same as
`skingpt4 train`).
"""

import sys

from skingpt4.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
