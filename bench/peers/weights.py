"""Random BF16 weights of a Qwen3 shape, dense or of experts, twice: as a Hugging Face folder and as GGUF."""

import json
import pathlib
import struct

import gguf
import numpy as np

SHAPES = {  # hidden, intermediate, heads, kv heads, head_dim, layers, vocabulary
    "tiny": (256, 512, 4, 2, 64, 2, 1000),
    "qwen3-0.6b": (1024, 3072, 16, 8, 128, 28, 151936),
    "qwen3-4b": (2560, 9728, 32, 8, 128, 36, 151936),
    "tiny-moe": (256, 128, 4, 2, 64, 2, 1000),
    "qwen3-30b-a3b": (2048, 768, 32, 4, 128, 48, 151936),
}
EXPERTS = {"tiny-moe": (8, 2), "qwen3-30b-a3b": (128, 8)}  # experts, of which a token uses; inner sizes are of one
CONTEXT, EPS, THETA = 40960, 1e-6, 1e6
PERIOD = 1048573  # a prime
BF16 = gguf.GGMLQuantizationType.BF16


def tensors(shape, layers):
    """(Hugging Face names, GGUF name, dimensions): one name, or one for each of the first dimension; norms have one."""
    for names, name, dims in named(shape, layers):
        yield [names] if isinstance(names, str) else names, name, dims


def ffn(shape, h, g):
    hidden, inner = SHAPES[shape][:2]
    if shape not in EXPERTS:
        yield h + "gate_proj.weight", g + "ffn_gate.weight", (inner, hidden)
        yield h + "up_proj.weight", g + "ffn_up.weight", (inner, hidden)
        yield h + "down_proj.weight", g + "ffn_down.weight", (hidden, inner)
        return
    n = EXPERTS[shape][0]
    yield h + "gate.weight", g + "ffn_gate_inp.weight", (n, hidden)
    for part, dims in (("gate", (inner, hidden)), ("up", (inner, hidden)), ("down", (hidden, inner))):
        yield [f"{h}experts.{e}.{part}_proj.weight" for e in range(n)], f"{g}ffn_{part}_exps.weight", (n, *dims)


def named(shape, layers):
    hidden, _, heads, kv, dim, _, vocab = SHAPES[shape]
    yield "model.embed_tokens.weight", "token_embd.weight", (vocab, hidden)
    for i in range(layers):
        h, g = f"model.layers.{i}.", f"blk.{i}."
        yield h + "input_layernorm.weight", g + "attn_norm.weight", (hidden,)
        yield h + "self_attn.q_proj.weight", g + "attn_q.weight", (heads * dim, hidden)
        yield h + "self_attn.k_proj.weight", g + "attn_k.weight", (kv * dim, hidden)
        yield h + "self_attn.v_proj.weight", g + "attn_v.weight", (kv * dim, hidden)
        yield h + "self_attn.o_proj.weight", g + "attn_output.weight", (hidden, heads * dim)
        yield h + "self_attn.q_norm.weight", g + "attn_q_norm.weight", (dim,)
        yield h + "self_attn.k_norm.weight", g + "attn_k_norm.weight", (dim,)
        yield h + "post_attention_layernorm.weight", g + "ffn_norm.weight", (hidden,)
        yield from ffn(shape, h + "mlp.", g)
    yield "model.norm.weight", "output_norm.weight", (hidden,)
    yield "lm_head.weight", "output.weight", (vocab, hidden)


def values(index, dims):
    """BF16 as uint16, the same for the same index. They repeat, at another place of each row: generating them takes long."""
    random = np.random.default_rng(index)
    if len(dims) == 1:
        x = random.uniform(0.5, 1.5, dims).astype(np.float32)
    else:
        x = random.standard_normal(PERIOD, np.float32) / np.float32(dims[-1] ** 0.5)
    return np.resize((x.view(np.uint32) >> 16).astype(np.uint16), dims)


def write_folder(out, shape, layers):
    hidden, inner, heads, kv, dim, _, vocab = SHAPES[shape]
    out.mkdir(parents=True, exist_ok=True)
    config = {
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": hidden,
        "intermediate_size": inner, "num_attention_heads": heads, "num_key_value_heads": kv, "head_dim": dim,
        "num_hidden_layers": layers, "vocab_size": vocab, "max_position_embeddings": CONTEXT, "rms_norm_eps": EPS,
        "rope_theta": THETA, "hidden_act": "silu", "attention_bias": False, "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
    }
    if shape in EXPERTS:
        n, used = EXPERTS[shape]
        config.update(architectures=["Qwen3MoeForCausalLM"], model_type="qwen3_moe", moe_intermediate_size=inner,
                      num_experts=n, num_experts_per_tok=used, norm_topk_prob=True, decoder_sparse_step=1,
                      mlp_only_layers=[])
    (out / "config.json").write_text(json.dumps(config))
    header, at = {}, 0
    for names, _, dims in tensors(shape, layers):
        one = dims[1:] if len(names) > 1 else dims
        size = 2 * int(np.prod(one))
        for name in names:
            header[name] = {"dtype": "BF16", "shape": list(one), "data_offsets": [at, at + size]}
            at += size
    text = json.dumps(header).encode()
    with open(out / "model.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for i, (_, _, dims) in enumerate(tensors(shape, layers)):
            values(i, dims).tofile(f)


def write_gguf(path, shape, layers):
    hidden, inner, heads, kv, dim, _, vocab = SHAPES[shape]
    w = gguf.GGUFWriter(path, "qwen3moe" if shape in EXPERTS else "qwen3", use_temp_file=True)
    if shape in EXPERTS:
        w.add_expert_count(EXPERTS[shape][0])
        w.add_expert_used_count(EXPERTS[shape][1])
        w.add_expert_feed_forward_length(inner)
    w.add_context_length(CONTEXT)
    w.add_embedding_length(hidden)
    w.add_feed_forward_length(inner)
    w.add_block_count(layers)
    w.add_head_count(heads)
    w.add_head_count_kv(kv)
    w.add_key_length(dim)
    w.add_value_length(dim)
    w.add_layer_norm_rms_eps(EPS)
    w.add_rope_freq_base(THETA)
    w.add_vocab_size(vocab)
    w.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)
    w.add_tokenizer_model("no_vocab")
    for i, (_, name, dims) in enumerate(tensors(shape, layers)):
        bits = values(i, dims)
        if len(dims) == 1 or name.endswith("gate_inp.weight"):  # F32 in published GGUF files
            w.add_tensor(name, (bits.astype(np.uint32) << 16).view(np.float32))
        else:
            w.add_tensor(name, bits.view(np.uint8), raw_dtype=BF16)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def write(directory, shape, layers):
    """Both forms, kept from run to run."""
    directory = pathlib.Path(directory)
    folder, file = directory / f"{shape}-{layers}", directory / f"{shape}-{layers}.gguf"
    done = directory / f"{shape}-{layers}.done"
    if not done.exists():
        write_folder(folder, shape, layers)
        write_gguf(file, shape, layers)
        done.touch()
    return folder, file
