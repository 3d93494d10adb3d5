"""One measurement of llama.cpp, as a process of its own: prints prompt and generation in tokens/s as JSON.

llama.py MODEL.gguf N_PROMPT N_GEN THREADS [LOGITS.npy IDS]  (the latter: the logits after these ids instead)
"""

import ctypes
import json
import sys
import time

import llama_cpp as c
import numpy as np

UBATCH = 512


def decode(context, tokens, at):
    n = len(tokens)
    batch = c.llama_batch_init(n, 0, 1)
    batch.n_tokens = n
    for i, token in enumerate(tokens):
        batch.token[i], batch.pos[i], batch.n_seq_id[i] = token, at + i, 1
        batch.seq_id[i][0] = 0
        batch.logits[i] = i == n - 1
    if c.llama_decode(context, batch):
        sys.exit("llama_decode failed")
    c.llama_synchronize(context)
    c.llama_batch_free(batch)


def prompt(context, tokens):
    for at in range(0, len(tokens), UBATCH):
        decode(context, tokens[at : at + UBATCH], at)


def main():
    path, n_prompt, n_gen, threads = sys.argv[1], *map(int, sys.argv[2:5])
    ids = [int(i) for i in sys.argv[6].split()] if len(sys.argv) > 6 else None
    silent = c.llama_log_callback(lambda level, text, data: None)
    c.llama_log_set(silent, ctypes.c_void_p(0))
    c.llama_backend_init()
    options = c.llama_model_default_params()
    options.use_mmap = False
    model = c.llama_model_load_from_file(path.encode(), options)
    if not model:
        sys.exit(f"{path} can't be loaded")
    settings = c.llama_context_default_params()
    settings.n_ctx = max(n_prompt + n_gen, UBATCH)
    settings.n_batch = settings.n_ubatch = UBATCH
    settings.n_threads = settings.n_threads_batch = threads
    context = c.llama_init_from_model(model, settings)
    vocab = c.llama_vocab_n_tokens(c.llama_model_get_vocab(model))
    if ids:
        prompt(context, ids)
        np.save(sys.argv[5], np.ctypeslib.as_array(c.llama_get_logits_ith(context, -1), (vocab,)))
        return
    tokens = [(i * 2654435761 >> 8) % vocab for i in range(n_prompt + n_gen)]
    memory, out = c.llama_get_memory(context), {}
    for repetition in range(2):  # the first warms up
        c.llama_memory_clear(memory, True)
        begin = time.perf_counter()
        prompt(context, tokens[:n_prompt])
        out["prefill"] = n_prompt / (time.perf_counter() - begin)
        c.llama_memory_clear(memory, True)
        begin = time.perf_counter()
        for i in range(n_gen if repetition else min(n_gen, 2)):
            decode(context, tokens[n_prompt + i : n_prompt + i + 1], i)
        out["decode"] = n_gen / (time.perf_counter() - begin)
    print(json.dumps(out))


main()
