#!/usr/bin/env python3
"""A model of random weights in published form, for measuring: random_model.py OUT [LAYERS]

The shape of Qwen3-0.6B with 4 layers unless asked otherwise, BF16, and the demonstration model's tokenizer (ids beyond its
1024 have no text). Weights are about 0.01 large with random signs: finite, and never the same row twice."""
import json
import os
import shutil
import struct
import sys

HIDDEN, FFN, HEADS, KV_HEADS, HEAD_DIM, VOCAB = 1024, 3072, 16, 8, 128, 151936


def shapes(layers):
    yield "model.embed_tokens.weight", (VOCAB, HIDDEN)
    yield "model.norm.weight", (HIDDEN,)
    for i in range(layers):
        p = f"model.layers.{i}."
        yield p + "input_layernorm.weight", (HIDDEN,)
        yield p + "post_attention_layernorm.weight", (HIDDEN,)
        yield p + "self_attn.q_proj.weight", (HEADS * HEAD_DIM, HIDDEN)
        yield p + "self_attn.k_proj.weight", (KV_HEADS * HEAD_DIM, HIDDEN)
        yield p + "self_attn.v_proj.weight", (KV_HEADS * HEAD_DIM, HIDDEN)
        yield p + "self_attn.o_proj.weight", (HIDDEN, HEADS * HEAD_DIM)
        yield p + "self_attn.q_norm.weight", (HEAD_DIM,)
        yield p + "self_attn.k_norm.weight", (HEAD_DIM,)
        yield p + "mlp.gate_proj.weight", (FFN, HIDDEN)
        yield p + "mlp.up_proj.weight", (FFN, HIDDEN)
        yield p + "mlp.down_proj.weight", (HIDDEN, FFN)


SIGN = bytes(0xBC if b & 1 else 0x3C for b in range(256))  # the high byte of +-0.0078 to 0.0156
ONE = struct.pack("<H", 0x3F80)


def write_tensor(f, shape):
    count = 1
    for n in shape:
        count *= n
    if len(shape) == 1:
        f.write(ONE * count)
        return
    while count:
        n = min(count, 1 << 22)
        piece = bytearray(2 * n)
        piece[0::2] = os.urandom(n)
        piece[1::2] = os.urandom(n).translate(SIGN)
        f.write(piece)
        count -= n


def main():
    out, layers = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 4
    demo = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../data/demo")
    os.makedirs(out, exist_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(os.path.join(demo, name), out)
    config = {
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": VOCAB, "hidden_size": HIDDEN,
        "intermediate_size": FFN, "num_hidden_layers": layers, "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS, "head_dim": HEAD_DIM, "max_position_embeddings": 40960,
        "rms_norm_eps": 1e-6, "rope_theta": 1000000, "tie_word_embeddings": True, "hidden_act": "silu",
        "attention_bias": False, "torch_dtype": "bfloat16",
    }
    with open(os.path.join(out, "config.json"), "w") as f:
        json.dump(config, f, indent=1)
    header, at = {}, 0
    for name, shape in shapes(layers):
        size = 2
        for n in shape:
            size *= n
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(out, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)))
        f.write(text)
        for _, shape in shapes(layers):
            write_tensor(f, shape)


main()
