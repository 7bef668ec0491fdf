"""What can be set: every setting with its meaning and its one default. `config` reads them from YAML files."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class ModelSettings:
    """What the model is made of. MiniGPT-4's keys keep names and meanings; paths are relative to the working folder."""

    arch: str = "skingpt4"  # MiniGPT-4's own names `mini_gpt4`, `minigpt4`, `skin_gpt4` mean the same model
    image_size: int = 224  # pixels, a square
    precision: str = "auto"  # of the decoder: auto = bf16 where the device has it, else fp16 on a GPU, fp32 on a CPU
    vit_precision: str = "auto"  # of the vision transformer's matrices: auto = as `precision`

    vit_model: str = "eva_clip_g"  # or the name of any timm vision transformer
    vit_weights: str = "weights/eva_vit_g.pth"
    vit_patch_size: int = 14  # the sizes below describe `eva_clip_g`; a timm name brings its own
    vit_width: int = 1408
    vit_depth: int = 39  # the file has 40 blocks; BLIP-2 reads the output of the 39th
    vit_heads: int = 16
    vit_mlp_ratio: float = 4.3637
    freeze_vit: bool = True

    q_former_model: str = "weights/blip2_pretrained_flant5xxl.pth"
    num_query_token: int = 32
    qformer_width: int = 768
    qformer_layers: int = 12
    qformer_heads: int = 12
    qformer_intermediate_width: int = 3072
    qformer_cross_attention_frequency: int = 2
    freeze_qformer: bool = True

    llama_model: str = "weights/vicuna-13b"  # a Hugging Face directory; `llm_model` is the same key
    low_resource: bool = False  # upstream's word for `decoder_quantization: int8`
    decoder_quantization: str = ""  # of the frozen decoder: int8 (torchao) | nf4 (bitsandbytes); empty = none
    engine: str = "transformers"  # who runs the decoder when it speaks: transformers | llamacpp | vllm
    gguf: str = ""  # llamacpp: the decoder as a GGUF file; `llama_model` then needs its tokenizer and config.json only
    engine_url: str = ""  # vllm: the address of a server, e.g. http://localhost:8000; empty = in this process
    compile: bool = False  # torch.compile the decoder: minutes at the start, faster after them
    device_map: str = ""  # auto: one process spreads the decoder over all GPUs of the machine; empty = one device
    ckpt: str = ""  # the projection to start from: a file, a checkpoint or a run's folder; empty = a random one
    photo_check: str = ""  # asks for better pictures; empty = photo_check.safetensors beside `ckpt`; none = silent

    # What training shows; `{}` is `<Img>…</Img> question`. auto = the decoder's own chat template.
    prompt_template: str = "###Human: {} ###Assistant: "
    prompt_path: str = ""  # a text file of questions, one per line; empty = those that each record brings
    end_sym: str = "###"  # closes every answer; auto = the end mark of the decoder's own chat template
    max_txt_len: int = 160  # tokens of an answer, end symbol included
    chat_template: str = "minigpt4"  # a name of `prompts.TEMPLATES`; auto = the decoder's own


@dataclass
class SourceSettings:
    """One source of training pairs."""

    source: str  # skincon | folder | table | minigpt4 | manifest
    # skincon: annotation CSV · folder: of one folder per disease · table: CSV, JSONL · minigpt4: folder
    # · manifest: what `data build`, `data split` or `data pack` wrote, a folder or file
    path: str
    images: str = ""  # folder that the image names are relative to; empty = as built (manifest), else beside the file
    task: str = "diagnosis"  # table: which answer to train, concepts | diagnosis; a manifest's records bring their own
    split: str = ""  # manifest: train | validation | test; empty = all rows
    limit: int = 0  # at most so many records, drawn by `run.seed`; 0 = all


@dataclass
class DataSettings:
    """What to train on."""

    train: list[SourceSettings] = field(default_factory=list)
    validation: list[SourceSettings] = field(default_factory=list)
    validation_fraction: float = 0.0  # of `train`, held out by `run.seed` when `validation` is empty
    allow_leaks: bool = False  # train although validation images are in the training set too, by content or as a copy
    on_bad_image: str = "error"  # error | skip (skipped ones are counted and reported)
    random_crop: bool = True  # the original's training view, a random crop of 0.5-1.0 of the area; off = evaluation's
    cached_views: int = 4  # random crops per image with features on disk; 0 = encode every image at every step
    feature_cache: str = ""  # the folder of cached features; empty = `features` in the run's folder


@dataclass
class RunSettings:
    """How to train."""

    output_dir: str = "output"
    seed: int = 42
    device: str = "auto"  # auto | cpu | cuda | cuda:N
    init_lr: float = 1e-4  # peak learning rate
    min_lr: float = 1e-5
    warmup_lr: float = 1e-6
    warmup_steps: int = 0
    weight_decay: float = 0.05  # not on biases and norms
    max_epoch: int = 1
    iters_per_epoch: int = 0  # optimizer steps per epoch; 0 = one pass over the data
    batch_size_train: int = 2  # per process
    batch_size_eval: int = 8
    accum_grad_iters: int = 1
    max_grad_norm: float = 0.0  # 0 = no clipping (the original's)
    on_nonfinite_loss: str = "stop"  # stop | skip (the step is left out and counted)
    early_stopping_epochs: int = 0  # stop after so many epochs without a lower validation loss; 0 = never
    num_workers: int = 2  # that decode images while features are not cached
    threads: int = 0  # CPU threads; 0 = torch's own choice
    log_every_steps: int = 10
    save_every_steps: int = 0  # a checkpoint to resume from, besides that of every epoch; 0 = epochs only
    keep_checkpoints: int = 3  # the newest so many stay, and the best; 0 = all
    show_every_steps: int = 0  # the page of validation photographs with the answer given now; 0 = after every epoch
    shown_images: int = 8  # photographs on that page; 0 = no page
    trackers: list[str] = field(default_factory=lambda: ["tensorboard"])  # and wandb, mlflow …: names of `accelerate`
    shard_decoder: bool = False  # FSDP2: every process keeps a part of the frozen decoder
    resume_ckpt_path: str = ""  # a run's folder or one of its checkpoints; `--resume` = the run in `output_dir`


@dataclass
class Settings:
    """Everything a run needs; saved beside its checkpoints."""

    model: ModelSettings = field(default_factory=ModelSettings)
    data: DataSettings = field(default_factory=DataSettings)
    run: RunSettings = field(default_factory=RunSettings)
