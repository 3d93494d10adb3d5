"""One measurement of llama.cpp, as a process of its own: prints prompt and generation in tokens/s as JSON."""

import argparse
import ctypes
import json
import pathlib
import sys
import time

import llama_cpp as c
import numpy as np

UBATCH, SEQUENCE = 512, 0


def decode(context, tokens, at):
    n = len(tokens)
    batch = c.llama_batch_init(n, 0, 1)
    batch.n_tokens = n
    for i, token in enumerate(tokens):
        batch.token[i], batch.pos[i], batch.n_seq_id[i] = token, at + i, 1
        batch.seq_id[i][0] = SEQUENCE
        batch.logits[i] = i == n - 1
    if c.llama_decode(context, batch):
        sys.exit("llama_decode failed")
    c.llama_synchronize(context)
    c.llama_batch_free(batch)


def prompt(context, tokens, begin=0):
    for at in range(0, len(tokens), UBATCH):
        decode(context, tokens[at : at + UBATCH], begin + at)


def fill(context, tokens, state):
    """Computes the depth, or reads what an earlier process kept of it."""
    if not tokens:
        return
    list_of = c.llama_token * len(tokens)
    count = ctypes.c_size_t()
    if pathlib.Path(state).exists():
        if not c.llama_state_seq_load_file(context, state.encode(), SEQUENCE, list_of(), len(tokens), count):
            sys.exit(f"{state} can't be read")
        return
    prompt(context, tokens)
    c.llama_state_seq_save_file(context, state.encode(), SEQUENCE, list_of(*tokens), len(tokens))


def measure(a, context, vocab):
    tokens = [(i * 2654435761 >> 8) % vocab for i in range(a.n_depth + a.n_prompt + a.n_gen)]
    depth, asked, rest = (tokens[: a.n_depth], tokens[a.n_depth : a.n_depth + a.n_prompt],
                          tokens[a.n_depth + a.n_prompt :])
    memory, out = c.llama_get_memory(context), {}
    fill(context, depth, a.state)
    for repetition in range(2):  # the first warms up
        c.llama_memory_seq_rm(memory, SEQUENCE, a.n_depth, -1)
        begin = time.perf_counter()
        prompt(context, asked, a.n_depth)
        out["prefill"] = a.n_prompt / (time.perf_counter() - begin)
        c.llama_memory_seq_rm(memory, SEQUENCE, a.n_depth, -1)
        begin = time.perf_counter()
        for i, token in enumerate(rest if repetition else rest[:2]):
            decode(context, [token], a.n_depth + i)
        out["decode"] = a.n_gen / (time.perf_counter() - begin)
    print(json.dumps(out))


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("model")
    p.add_argument("-p", "--n-prompt", type=int, default=512)
    p.add_argument("-n", "--n-gen", type=int, default=32)
    p.add_argument("-d", "--n-depth", type=int, default=0)
    p.add_argument("--state", default="", help="a file that keeps the keys and values of the depth")
    p.add_argument("--threads", type=int, required=True)
    p.add_argument("--logits", metavar="OUT.npy", help="write the logits after --ids, measure nothing")
    p.add_argument("--ids", type=lambda text: [int(i) for i in text.split()])
    a = p.parse_args()
    silent = c.llama_log_callback(lambda level, text, data: None)
    c.llama_log_set(silent, ctypes.c_void_p(0))
    c.llama_backend_init()
    options = c.llama_model_default_params()
    options.use_mmap = False
    model = c.llama_model_load_from_file(a.model.encode(), options)
    if not model:
        sys.exit(f"{a.model} can't be loaded")
    settings = c.llama_context_default_params()
    settings.n_ctx = a.n_depth + max(a.n_prompt, a.n_gen, UBATCH)
    settings.n_batch = settings.n_ubatch = UBATCH
    settings.n_threads = settings.n_threads_batch = a.threads
    context = c.llama_init_from_model(model, settings)
    vocab = c.llama_vocab_n_tokens(c.llama_model_get_vocab(model))
    if a.logits:
        prompt(context, a.ids)
        np.save(a.logits, np.ctypeslib.as_array(c.llama_get_logits_ith(context, -1), (vocab,)))
    else:
        measure(a, context, vocab)


main()
