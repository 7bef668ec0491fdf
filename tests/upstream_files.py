"""Equivalents of the YAML files that MiniGPT-4 and the first SkinGPT-4 published: the same keys, values alike."""

from __future__ import annotations

_EVALUATION_DATA = """
datasets:
  cc_sbu_align:
    vis_processor:
      train:
        name: "blip2_image_eval"
        image_size: 224
    text_processor:
      train:
        name: "blip_caption"

run:
  task: image_text_pretrain
"""

MINIGPT4_FINETUNE = """
model:
  arch: mini_gpt4
  model_type: pretrain_vicuna0
  freeze_vit: True
  freeze_qformer: True
  max_txt_len: 160
  end_sym: "###"
  prompt_path: "prompts/alignment.txt"
  prompt_template: '###Human: {} ###Assistant: '
  ckpt: '/path/to/stage1/checkpoint/'

datasets:
  cc_sbu_align:
    vis_processor:
      train:
        name: "blip2_image_train"
        image_size: 224
    text_processor:
      train:
        name: "blip_caption"

run:
  task: image_text_pretrain
  lr_sched: "linear_warmup_cosine_lr"
  init_lr: 3e-5
  min_lr: 1e-5
  warmup_lr: 1e-6
  weight_decay: 0.05
  max_epoch: 5
  iters_per_epoch: 200
  batch_size_train: 12
  batch_size_eval: 12
  num_workers: 4
  warmup_steps: 200
  seed: 42
  output_dir: "output/minigpt4_stage2_finetune"
  amp: True
  resume_ckpt_path: null
  evaluate: False
  train_splits: ["train"]
  device: "cuda"
  world_size: 1
  dist_url: "env://"
  distributed: True
"""

MINIGPT4_EVAL = (
    """
model:
  arch: mini_gpt4
  model_type: pretrain_vicuna0
  max_txt_len: 160
  end_sym: "###"
  low_resource: True
  prompt_template: '###Human: {} ###Assistant: '
  ckpt: '/path/to/prerained_minigpt4_7b.pth'
  llama_model: "/path/to/vicuna-7b"
"""
    + _EVALUATION_DATA
)

SKINGPT4_VICUNA = (
    """
model:
  arch: skin_gpt4
  model_type: pretrain_vicuna
  freeze_vit: True
  freeze_qformer: True
  max_txt_len: 160
  end_sym: "###"
  low_resource: False
  prompt_path: "prompts/alignment_skin.txt"
  prompt_template: '### Instruction: {} ### Response: '
  ckpt: '/path/to/skingpt4_vicuna_v1.pth'
"""
    + _EVALUATION_DATA
)

SKINGPT4_LLAMA2 = (
    """
model:
  arch: skin_gpt4
  model_type: pretrain_llama2_13bchat
  freeze_vit: True
  freeze_qformer: True
  max_txt_len: 160
  end_sym: "###"
  prompt_path: "prompts/alignment_skin.txt"
  prompt_template: '###Human: {} ###Assistant: '
  llm_model: "/path/to/Llama-2-13b-chat-hf"
  ckpt: '/path/to/skingpt4_llama2_13bchat.pth'
"""
    + _EVALUATION_DATA
)

# The defaults that upstream keeps beside its code (`configs/models/…`, `configs/datasets/…`), in one file.
UPSTREAM_DEFAULTS = """
model:
  arch: mini_gpt4
  image_size: 224
  drop_path_rate: 0
  use_grad_checkpoint: False
  vit_precision: "fp16"
  freeze_vit: True
  freeze_qformer: True
  num_query_token: 32
  llama_model: "/path/to/vicuna-13b"
  prompt: ""

preprocess:
  vis_processor:
    train:
      name: "blip2_image_train"
      image_size: 224
  text_processor:
    train:
      name: "blip_caption"

datasets:
  cc_sbu_align:
    data_type: images
    build_info:
      storage: /path/to/cc_sbu_align/
"""
