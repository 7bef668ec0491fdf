"""What a training costs, computed: matrix operations per sample, hours by data, decoder and devices, traffic of several
devices. Nothing here was measured; every assumption is a line of the first table or an option.

Command: python benchmarks/cost_model.py [--tokens N] [--answer-tokens N] [--page docs/hardware.md]
--page writes the tables between the page's two markers, so that page and script cannot differ.

One matrix of P parameters costs 2 P operations per token forward, and 2 P backward for the gradient of its input, which
must reach the projection. The other 2 P of an ordinary training, for the matrix's own gradient, fall away: the decoder
is frozen. Scores and sums of attention are below 1 % at these lengths and left out.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

BEGIN, END = "<!-- computed: python benchmarks/cost_model.py -->\n", "<!-- end of computed -->\n"
QUERIES, FEATURE_WIDTH, VIEWS = 32, 768, 4
FEATURE_BYTES = QUERIES * FEATURE_WIDTH * 2  # of one view, in 16 bits
PAPER_SAMPLES, PAPER_HOURS = 2 * 20 * 5000 * 2 * 2, 9  # two steps, epochs, iterations, batch, GPUs
PAIRS = (10_000, 100_000, 1_000_000, 10_000_000)
COUNTS = (1, 2, 8, 64)
TERA = 1e12


@dataclass(frozen=True)
class Decoder:
    """A LLaMA. Widths, layers, and the width of keys and values (that of the embedding, or of the shared heads)."""

    name: str
    width: int
    layers: int
    intermediate: int
    keys: int
    vocabulary: int = 32_000

    @property
    def layer_parameters(self) -> int:
        """Of all layers."""
        attention = 2 * self.width * (self.width + self.keys)
        return self.layers * (attention + 3 * self.width * self.intermediate)

    @property
    def parameters(self) -> int:
        """With embedding and vocabulary matrix."""
        return self.layer_parameters + 2 * self.vocabulary * self.width

    def step_operations(self, tokens: int, answer_tokens: int) -> float:
        """Of one sample, forward and backward; the vocabulary matrix sees the answer only."""
        return 4.0 * (self.layer_parameters * tokens + self.vocabulary * self.width * answer_tokens)


@dataclass(frozen=True)
class Device:
    """A GPU by its data sheet. peak: dense 16-bit matrix operations per second; share: of the peak that a training is
    assumed to reach; link: bytes per second to the other devices, one way.
    """

    name: str
    peak: float
    share: float
    memory_gb: int
    link: float
    link_name: str

    @property
    def speed(self) -> float:
        """Operations per second that are counted on."""
        return self.peak * self.share


DECODERS = (
    Decoder("Vicuna-7B", 4096, 32, 11008, 4096),
    Decoder("Vicuna-13B", 5120, 40, 13824, 5120),
    Decoder("LLaMA-2 70B", 8192, 80, 28672, 1024),
)
V100 = Device("V100", 125 * TERA, 0.4, 32, 13e9, "PCIe 3 x16")
H100 = Device("H100", 989 * TERA, 0.5, 80, 450e9, "NVLink 4")
V100_NVLINK = Device("V100", 125 * TERA, 0.4, 32, 150e9, "NVLink 2")
H100_NODES = Device("H100", 989 * TERA, 0.5, 80, 50e9, "400 Gbit/s between nodes")


def encoder_operations() -> float:
    """EVA-CLIP-g (39 blocks, 257 tokens) and the Q-Former (12 layers, 32 queries, keys and values in 6) for a view."""
    vision = 39 * (4 * 1408**2 + 2 * 1408 * 6144) * 257
    qformer = 12 * (4 * 768**2 + 2 * 768 * 3072) * QUERIES + 6 * (2 * 768**2 * QUERIES + 2 * 1408 * 768 * 257)
    return 2.0 * (vision + qformer)


def hours(operations: float, device: Device, count: int = 1) -> float:
    """Time of so many operations on `count` devices."""
    return operations / (device.speed * count) / 3600


def table(head: list[str], rows: list[list[str]]) -> str:
    """Markdown; the first column is text, the others are numbers."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "".join("| " + " | ".join(row) + " |\n" for row in (head, rule, *rows))


def per_sample(tokens: int, answer_tokens: int) -> str:
    """Operations of a sample and of a view, and what two steps of the paper's length take."""
    rows = []
    for decoder in DECODERS:
        step = decoder.step_operations(tokens, answer_tokens)
        rates = [f"{device.speed / step:.1f}" for device in (V100, H100)]
        places = ((V100, 1), (V100, 2), (H100, 1), (H100, 8))
        paper = [f"{hours(PAPER_SAMPLES * step, device, count):.1f}" for device, count in places]
        sizes = [f"{decoder.layer_parameters / 1e9:.2f}", f"{2 * decoder.parameters / 1e9:.0f}"]
        rows.append([decoder.name, *sizes, f"{step / TERA:.2f}", *rates, *paper])
    head = ["decoder", "parameters of its layers, 10⁹", "all in 16 bits, GB", "TFLOP per sample", "samples/s, V100"]
    head += ["samples/s, H100", "the paper's two steps: h on 1 V100", "2 V100", "1 H100", "8 H100"]
    example = DECODERS[1]
    encoder = encoder_operations()
    implied = PAPER_SAMPLES * (example.step_operations(tokens, answer_tokens) + encoder) / (PAPER_HOURS * 3600)
    return (
        f"Assumed: {tokens} tokens per sample after the beginning that all have in common, {answer_tokens} of them the "
        f"answer's; {V100.share:.0%} of a V100's {V100.peak / TERA:.0f} and {H100.share:.0%} of an H100's "
        f"{H100.peak / TERA:.0f} TFLOP/s; features cached.\n"
        f"{example.name}: 4 × {example.layer_parameters / 1e9:.2f}·10⁹ × {tokens} + "
        f"4 × {example.vocabulary:,} × {example.width:,} × {answer_tokens} "
        f"= {example.step_operations(tokens, answer_tokens) / TERA:.2f} TFLOP.\n\n"
        + table(head, rows)
        + "\nA decoder that is larger than the device must be sharded or quantised. The paper's two steps are 2 × 20 "
        f"epochs × 5,000 iterations × batch 2 ×\n2 GPUs = {PAPER_SAMPLES:,} samples. Its {PAPER_HOURS} hours on two "
        f"V100s, images encoded at every step, would be {implied / (2 * V100.peak):.0%} of their peak at {tokens}\n"
        "tokens per sample: its answers were shorter, or more of the peak was reached than is assumed here.\n"
    )


def by_pairs(tokens: int, answer_tokens: int) -> str:
    """What a pass over more and more pairs takes, and the features of their photographs."""
    encoder = encoder_operations() * VIEWS
    rows = []
    for pairs in PAIRS:
        disk = f"{pairs * VIEWS * FEATURE_BYTES / 1e9:,.0f}"
        encoding = [f"{hours(pairs * encoder, H100, count):.2f}" for count in (1, 8)]
        steps = [
            f"{hours(pairs * decoder.step_operations(tokens, answer_tokens), H100, count):.2f}"
            for decoder, count in ((DECODERS[0], 1), *((DECODERS[1], n) for n in COUNTS), (DECODERS[2], 8))
        ]
        rows.append([f"{pairs:,}", disk, *encoding, *steps])
    head = ["pairs, each with its photograph", f"features of {VIEWS} views, GB", "encoding once, h on 1 H100", "on 8"]
    head += ["a pass, 7B, 1 H100", *(f"13B, {count}" for count in COUNTS), "70B, 8, sharded"]
    return (
        f"Encoding: {encoder_operations() / TERA:.2f} TFLOP per view, {VIEWS} views; a view's features are {QUERIES} × "
        f"{FEATURE_WIDTH} × 2 bytes = {FEATURE_BYTES / 1e3:.0f} kB.\n\n" + table(head, rows)
    )


def by_devices(tokens: int, answer_tokens: int, batch: int) -> str:
    """What devices send each other, against what they compute."""
    rows = []
    for device in (V100, V100_NVLINK, H100, H100_NODES):
        for decoder in DECODERS[1:]:
            computing = batch * decoder.step_operations(tokens, answer_tokens) / device.speed
            gradient = 2 * 4 * FEATURE_WIDTH * decoder.width / device.link
            layers = 2 * 2 * decoder.layer_parameters / device.link
            hidden = layers * device.speed / decoder.step_operations(tokens, answer_tokens)
            sharded = ["in the node", "–"] if device is H100_NODES else [f"{layers * 1e3:,.0f}", f"{hidden:,.0f}"]
            rows.append(
                [f"{device.name}, {device.link_name}", decoder.name, f"{computing * 1e3:,.0f}", f"{gradient * 1e3:.2f}",
                 f"{gradient / (computing + gradient):.2%}", *sharded]
            )  # fmt: skip
    head = ["devices", "decoder", f"a step of {batch}, ms", "gradient of the projection, ms", "share of the step"]
    head += ["layers, sharded, ms", "samples per device that hide it"]
    return (
        "A gradient is 768 × width × 4 bytes and crosses the link twice (all-reduce); a sharded decoder's layers cross "
        "it twice a step, 2 bytes a parameter,\nonce forward and once backward.\n\n" + table(head, rows)
    )


def report(tokens: int, answer_tokens: int, batch: int) -> str:
    """All tables, as they stand in the page."""
    return (
        "### One sample\n\n" + per_sample(tokens, answer_tokens)
        + "\n### More images, larger decoders, more devices\n\n" + by_pairs(tokens, answer_tokens)
        + "\n### Between devices\n\n" + by_devices(tokens, answer_tokens, batch)
    )  # fmt: skip


def with_report(page: str, tables: str) -> str:
    """The page with new tables between its markers."""
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise SystemExit(f"The page lacks its markers {BEGIN.strip()} and {END.strip()}.")
    return f"{before}{BEGIN}\n{tables}\n{END}{after}"


def main() -> None:
    """Print the tables, or write them into a page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=120, help="of a sample, without the beginning all have in common")
    parser.add_argument("--answer-tokens", type=int, default=60)
    parser.add_argument("--batch", type=int, default=16, help="samples per device and step, for the traffic")
    parser.add_argument("--page", type=Path)
    arguments = parser.parse_args()
    tables = report(arguments.tokens, arguments.answer_tokens, arguments.batch)
    if arguments.page is None:
        print(tables, end="")
    else:
        arguments.page.write_text(with_report(arguments.page.read_text(encoding="utf-8"), tables), encoding="utf-8")


if __name__ == "__main__":
    main()
