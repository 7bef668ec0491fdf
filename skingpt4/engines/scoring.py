"""How likely a decoder finds given answers: many candidates for one prompt, which is read once.

Candidates that begin alike share that beginning too: all of them stand in one row as a tree, each token once, and a
mask lets every token see the prompt and its own ancestors only (Cai et al. 2024, Medusa, "tree attention"). Decoders
that are more than plain causal attention read the candidates side by side instead, padded on the right.

    candidates  a b c        row      a b d        a sees prompt, a
                a b              (a last token     b sees prompt, a, b
                d e               is not read)     d sees prompt, d
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from skingpt4.engines.at_once import embed
from skingpt4.engines.seam import Segment
from skingpt4.model.packing import can_pack

ROW_TOKENS = 1024  # of one tree: bounds the logits, float[tokens, V], and the mask
COPIED_TOKENS = 4096  # keys and values of candidates side by side, which have a copy of the prompt's each


@torch.inference_mode()
def score(decoder: PreTrainedModel, prompt: Sequence[Segment], candidates: Sequence[Sequence[int]]) -> list[Tensor]:
    """Log-probabilities float32[T_i], on the CPU, of each candidate's tokens after the prompt (and its own before).

    Raises `ValueError` for a candidate without a token.
    """
    require_tokens(candidates)
    cache = DynamicCache(config=decoder.config)
    first = decoder(
        inputs_embeds=embed(decoder, prompt).unsqueeze(0), past_key_values=cache, use_cache=True, logits_to_keep=1
    ).logits[0]
    if not can_pack(decoder):
        return _side_by_side(decoder, cache, first, candidates)
    before = int(cache.get_seq_length())
    return score_in_trees(first, candidates, lambda tree, _: _read_tree(decoder, cache, tree, before), ROW_TOKENS)


def require_tokens(candidates: Sequence[Sequence[int]]) -> None:
    """Raise `ValueError` for a candidate without a token."""
    if not all(candidates):
        raise ValueError("A candidate has no token.")


@dataclass
class Tree:
    """The tokens of candidates that others follow, each after its parent. parents: -1 = the prompt's end."""

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    children: dict[tuple[int, int], int] = field(default_factory=dict)

    def add(self, candidate: Sequence[int]) -> list[int]:
        """Puts a candidate in; returns for each of its tokens which node predicts it."""
        path = [-1]
        for depth, token in enumerate(candidate[:-1]):
            edge = (path[-1], token)
            if edge not in self.children:
                self.children[edge] = len(self.tokens)
                self.tokens.append(token)
                self.parents.append(path[-1])
                self.depths.append(depth)
            path.append(self.children[edge])
        return path

    def visible(self, before: int) -> Tensor:
        """bool[tokens, before + tokens]: what each token sees, of `before` tokens of the prompt and of the tree."""
        count = len(self.tokens)
        sees = torch.zeros(count, before + count, dtype=torch.bool)
        sees[:, :before] = True
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                sees[node] = sees[parent]
            sees[node, before + node] = True
        return sees


def score_in_trees(
    first: Tensor,
    candidates: Sequence[Sequence[int]],
    read: Callable[[Tree, list[list[int]]], Tensor],
    most_tokens: int,
    most_candidates: int = sys.maxsize,
) -> list[Tensor]:
    """Log-probabilities float32[T_i], on the CPU, of each candidate's tokens.

    first: logits [1, V] at the prompt's end. read: logits [tokens, V] of a tree's tokens after the prompt; it is given
    the path of each candidate, too. most_tokens, most_candidates: of one tree, but for a longer candidate alone.
    """
    scores: list[Tensor] = [first.new_empty(0)] * len(candidates)
    for tree, paths in _trees(candidates, most_tokens, most_candidates):
        logits = torch.cat([read(tree, list(paths.values())), first]) if tree.tokens else first
        predictors = torch.tensor([node for path in paths.values() for node in path], device=logits.device)
        targets = torch.tensor([token for row in paths for token in candidates[row]], device=logits.device)
        found = _log_probabilities(logits, predictors, targets)  # predictor -1 is `first`
        for row, part in zip(paths, found.split([len(path) for path in paths.values()]), strict=True):
            scores[row] = part
    return scores


def _trees(
    candidates: Sequence[Sequence[int]], most_tokens: int, most_candidates: int
) -> Iterator[tuple[Tree, dict[int, list[int]]]]:
    """Trees that fit, and the path of each candidate by its row; those that begin alike stay together."""
    tree, paths = Tree(), dict[int, list[int]]()
    for row in sorted(range(len(candidates)), key=lambda row: list(candidates[row])):
        if paths and (len(tree.tokens) + len(candidates[row]) > most_tokens or len(paths) == most_candidates):
            yield tree, paths
            tree, paths = Tree(), {}
        paths[row] = tree.add(candidates[row])
    if paths:
        yield tree, paths


def _read_tree(decoder: PreTrainedModel, cache: DynamicCache, tree: Tree, before: int) -> Tensor:
    """Logits [tokens, V] of a tree after the prompt, which the cache holds, and holds alone afterwards."""
    device = decoder.get_input_embeddings().weight.device
    visible = tree.visible(before)
    mask = torch.zeros(visible.shape, dtype=decoder.dtype).masked_fill(~visible, torch.finfo(decoder.dtype).min)
    logits = decoder(
        input_ids=torch.tensor([tree.tokens], device=device),
        position_ids=torch.tensor([tree.depths], device=device) + before,
        attention_mask=mask[None, None].to(device),
        past_key_values=cache,
        use_cache=True,
    ).logits[0]
    cache.crop(-len(tree.tokens))
    return logits


def _side_by_side(
    decoder: PreTrainedModel, cache: DynamicCache, first: Tensor, candidates: Sequence[Sequence[int]]
) -> list[Tensor]:
    scores: list[Tensor] = [first.new_empty(0)] * len(candidates)
    before = int(cache.get_seq_length())
    device = decoder.get_input_embeddings().weight.device
    order = sorted(range(len(candidates)), key=lambda row: len(candidates[row]), reverse=True)
    while order:
        longest = len(candidates[order[0]])
        rows = order[: max(1, COPIED_TOKENS // (before + longest))]
        order = order[len(rows) :]
        ids = torch.zeros(len(rows), longest, dtype=torch.long)
        for place, row in enumerate(rows):
            ids[place, : len(candidates[row])] = torch.tensor(candidates[row])
        held = copy.deepcopy(cache)
        held.batch_repeat_interleave(len(rows))
        # Padding comes after all that counts, so causal attention needs no mask.
        logits = decoder(input_ids=ids.to(device), past_key_values=held, use_cache=True).logits
        for place, row in enumerate(rows):
            length = len(candidates[row])
            predicting = torch.cat([first, logits[place, : length - 1]])
            scores[row] = _log_probabilities(
                predicting, torch.arange(length, device=first.device), ids[place, :length].to(first.device)
            )
    return scores


def _log_probabilities(logits: Tensor, predictors: Tensor, targets: Tensor) -> Tensor:
    """float32[n], on the CPU, of the tokens `targets` after the positions `predictors` of logits [T, V]."""
    normaliser = torch.cat([part.float().logsumexp(-1) for part in logits.split(128)])  # bounds the float32 copy
    return (logits[predictors, targets].float() - normaliser[predictors]).cpu()
