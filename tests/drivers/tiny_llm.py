"""A small language model of the Hugging Face layout with random weights: what the llm family is tested on."""

from __future__ import annotations

import json
import os
from pathlib import Path

TEXTS = [
    '{"topic": "card", "opened": "2021-02-01", "amount": 12.50, "message": "please help me with my card, today"}',
    '{"age": 39, "job": "clerk", "city": "Zürich", "note": null}',
    "where is my loan, thank you\n" * 3,
]


def build_llm(folder: Path, kind: str = "bytes", context: int = 2_048, seed: int = 0) -> Path:
    """Writes a causal model of 2 layers and width 64. `kind`: bytes (byte-level BPE, as GPT-2 and Llama 3) or pieces (spaces
    as a mark, bytes to fall back on, as Llama 2)."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM

    folder.mkdir(parents=True)
    if kind == "bytes":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<s>"], initial_alphabet=alphabet, show_progress=False)
    else:
        tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
        special = ["<unk>", "<s>", *[f"<0x{b:02X}>" for b in range(256)]]
        trainer = trainers.BpeTrainer(vocab_size=450, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    if kind != "bytes":  # bytes are tokens like others in such files
        raw = json.loads((folder / "tokenizer.json").read_text("utf-8"))
        raw["added_tokens"] = [t for t in raw["added_tokens"] if not t["content"].startswith("<0x")]
        (folder / "tokenizer.json").write_text(json.dumps(raw), "utf-8")
    config = LlamaConfig(
        vocab_size=512,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        bos_token_id=0,
        eos_token_id=0,
    )
    torch.manual_seed(seed)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder
