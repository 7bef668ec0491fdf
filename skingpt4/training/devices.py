"""On which devices a run computes, and how its processes share the work: `accelerate`'s and torch's own tools.

Every process trains a copy of the projection on its part of each batch (DDP). The frozen decoder is either whole on
every device, or spread: over the processes (`run.shard_decoder`) or over the GPUs of one process (`model.device_map`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
from accelerate import Accelerator
from accelerate.utils import AutocastKwargs, DistributedDataParallelKwargs, InitProcessGroupKwargs
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from transformers import PreTrainedModel

from skingpt4.device import resolve_device, resolve_dtype
from skingpt4.errors import DeviceError
from skingpt4.settings import Settings
from skingpt4.training.objective import Objective
from skingpt4.training.samples import Batch
from skingpt4.training.schedule import build_optimizer

# Longer than any wait for another process's features or checkpoint. A process that died is not found by this clock but
# by the launcher, which ends the others.
LONGEST_WAIT = timedelta(hours=2)


def build_accelerator(settings: Settings) -> Accelerator:
    """The processes, devices and loss scaler of this run, as the launcher set them up.

    Raises `DeviceError`, also where the decoder is to be spread in a way that the launched processes do not allow.
    """
    device = resolve_device(settings.run.device)
    fp16 = resolve_dtype(settings.model.precision, device) == torch.float16
    accelerator = Accelerator(
        cpu=device.type == "cpu",
        device_placement=False,  # the model is loaded where it belongs
        gradient_accumulation_steps=settings.run.accum_grad_iters,
        # fp16 for its loss scaler only: the modules choose their own precision (the projection stays float32)
        mixed_precision="fp16" if fp16 else "no",
        kwargs_handlers=[
            AutocastKwargs(enabled=False),
            DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True),
            InitProcessGroupKwargs(timeout=LONGEST_WAIT),
        ],
    )
    _check_spread(settings, accelerator.num_processes)
    return accelerator


def _check_spread(settings: Settings, processes: int) -> None:
    if settings.run.shard_decoder and processes == 1:
        raise DeviceError(
            "run.shard_decoder spreads the decoder over processes, and this is one. Start one per GPU "
            "(`accelerate launch --multi_gpu --num_processes N train.py …`), let one process use several GPUs "
            "(model.device_map=auto), or set run.shard_decoder=false."
        )
    if settings.model.device_map and processes > 1:
        raise DeviceError(
            f"model.device_map lets one process use all GPUs, and these are {processes} processes. Start one "
            "(`python train.py …`), or set run.shard_decoder=true in place of model.device_map."
        )


def prepare(
    accelerator: Accelerator, objective: Objective, settings: Settings
) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """The objective as every process runs it, and the optimizer of what is trained.

    With `run.shard_decoder` the decoder comes on the CPU and is sharded here.
    """
    if settings.run.shard_decoder:
        shard_decoder(objective.model.decoder, accelerator.device)
    optimizer = build_optimizer(objective.named_parameters(), settings.run.weight_decay)
    # Every process read the frozen parts from the same files: DDP need not send 26 GB of them at the start, and could
    # not send those that are sharded.
    trained = {name for name, parameter in objective.named_parameters() if parameter.requires_grad}
    frozen = [name for name, _ in (*objective.named_parameters(), *objective.named_buffers()) if name not in trained]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(objective, frozen)
    return accelerator.prepare(objective, optimizer)


def shard_decoder(decoder: PreTrainedModel, device: torch.device) -> None:
    """Take a decoder on the CPU and keep this process's part of every layer on `device`: FSDP2 fetches the other parts
    before a layer computes and drops them after.

    The processes of one machine share a decoder; nothing of it crosses the slower links between machines, as a frozen
    decoder has no gradients to agree on. Embedding, last norm and vocabulary matrix stay whole: they are a few percent
    of a large decoder, and are read outside of its forward pass. (`accelerate`'s own FSDP plugin would shard the
    trained projection too, with another kind of optimizer and of checkpoint.) Raises `DeviceError` for a decoder
    without known layers.
    """
    kinds = set(decoder._no_split_modules or ())
    layers = [module for module in decoder.modules() if type(module).__name__ in kinds]
    if not layers:
        raise DeviceError(
            f"{type(decoder).__name__} does not say which of its modules are layers, so it cannot be sharded; "
            "set run.shard_decoder=false."
        )
    mesh = _machine_mesh(device)
    for layer in layers:
        layer.to(device)  # whole for a moment, one after the other
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)
    sharded = {parameter for layer in layers for parameter in layer.parameters()}
    whole = {parameter for parameter in decoder.parameters() if parameter not in sharded}
    for module in decoder.modules():
        _move_own(module, whole, device)
    fully_shard(decoder, mesh=mesh, ignored_params=whole)  # the layers' root: it fetches the next while one computes


def _machine_mesh(device: torch.device) -> DeviceMesh:
    """The processes of this machine. Launchers say how many there are; where none does, all share one decoder."""
    processes = torch.distributed.get_world_size()
    here = int(os.environ.get("LOCAL_WORLD_SIZE", processes))
    if processes % here:
        raise DeviceError(
            f"run.shard_decoder needs as many processes on every machine; of these {processes} processes {here} are on "
            "this one."
        )
    return init_device_mesh(device.type, (processes // here, here), mesh_dim_names=("machine", "process"))["process"]


def _move_own(module: torch.nn.Module, parameters: set[torch.nn.Parameter], device: torch.device) -> None:
    for parameter in module.parameters(recurse=False):
        if parameter in parameters:
            parameter.data = parameter.data.to(device)
    for name, buffer in module.named_buffers(recurse=False):
        module._buffers[name] = buffer.to(device)


def loss_weights(accelerator: Accelerator, passes: Sequence[Batch]) -> Tensor:
    """float32[passes]: what the mean loss of each forward pass of a step counts, so that the step learns from the mean
    over all its answers' tokens, of all passes and processes.

    accelerator divides by the number of passes and DDP by that of processes: the plain mean of means that remains
    would make one process and two with half the batch differ, by how the answers' lengths fall. (The original, and
    with one process and one pass the weight is 1, took that mean of means.) The processes' counts meet on the device.
    """
    tokens = torch.tensor([float(batch.text.answer_tokens) for batch in passes])
    tokens = tokens.to(accelerator.device, non_blocking=True)
    total = accelerator.reduce(tokens.sum(), reduction="sum")
    return tokens * (len(passes) * accelerator.num_processes) / total


@dataclass(frozen=True)
class SharedChunks:
    """Positions 0 … count - 1 in chunks of `size`, one list per forward pass, shared by `ranks` processes: every
    position once, and the same number of passes on each, as sharded parts are fetched together.

    A process without a chunk in the last round gets one position past the end (the stream begins anew there), from its
    pass number `counted` on: results of those passes must be left out.
    """

    count: int
    size: int
    rank: int
    ranks: int

    @property
    def counted(self) -> int:
        """How many of this process's passes are of its own chunks."""
        return len(range(self.rank * self.size, self.count, self.ranks * self.size))

    def __len__(self) -> int:
        return -(-self.count // (self.ranks * self.size))

    def __iter__(self) -> Iterator[list[int]]:
        for round_number in range(len(self)):
            start = (round_number * self.ranks + self.rank) * self.size
            yield list(range(start, min(start + self.size, self.count))) or [self.count]
