"""The demo page: `python demo.py --cfg-path eval_configs/skingpt4_eval.yaml --gpu-id 0` (as `skingpt4 demo`)."""

import sys

from skingpt4.cli import main

if __name__ == "__main__":
    sys.exit(main(["demo", *sys.argv[1:]]))
